//! The image of the container: by the id that the container has, as a tag may have moved since.

use bollard::errors::Error;
use bollard::models::ImageInspect;

use super::client::Engine;
use crate::facts::{Fact, Image};

/// `id` is what the container says, `reference` what it was started with.
pub(super) async fn find(engine: &Engine, id: Option<String>, reference: String) -> Fact<Image> {
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Fact::Absent(format!(
            "The engine at {} does not say which image the container has.",
            engine.endpoint
        ));
    };
    match engine.api.inspect_image(&id).await {
        Ok(image) => Fact::Known(describe(image, &id, reference)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Fact::Absent(format!(
            "The image {id} was removed from the engine while its container runs: pull or build it again for the next build."
        )),
        Err(error) => Fact::Absent(engine.explain("GET /images/ID/json", &error)),
    }
}

fn describe(image: ImageInspect, id: &str, reference: String) -> Image {
    // Podman gives bare digits.
    let id = image.id.unwrap_or_else(|| id.to_owned());
    let id = if id.contains(':') { id } else { format!("sha256:{id}") };
    let mut repo_digests = image.repo_digests.unwrap_or_default();
    // With containerd's image store entries occur twice.
    repo_digests.sort();
    repo_digests.dedup();
    let parts =
        [image.os, image.architecture, image.variant].into_iter().flatten().filter(|part| !part.is_empty());
    Image {
        digest: choose_digest(&reference, &id, &repo_digests),
        reference,
        repo_digests,
        tags: image.repo_tags.unwrap_or_default(),
        created: match image.created {
            // The year 1 is how the engine writes that there is no time.
            Some(time) if !time.is_empty() && !time.starts_with("0001-") => Fact::Known(time),
            _ => Fact::absent("The image does not say when it was made."),
        },
        labels: image.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect(),
        platform: parts.collect::<Vec<_>>().join("/"),
        id,
    }
}

/// The digest under which the image that was asked for can be pulled: `repository@sha256:…`.
///
/// With containerd's image store an image that was only built has one too, so it is no proof of a push.
fn choose_digest(reference: &str, id: &str, digests: &[String]) -> Fact<String> {
    let parsed = Reference::parse(reference);
    if let Some(digest) = parsed.digest {
        // Pulled by digest. The entry goes when somebody removes that name; the digest stays true.
        let asked = digests.iter().find(|entry| {
            let entry = Reference::parse(entry);
            entry.digest == Some(digest) && entry.same_repository(&parsed)
        });
        return Fact::Known(asked.cloned().unwrap_or_else(|| format!("{}@{digest}", parsed.repository)));
    }
    // Podman gives what it builds a digest under this host, which is no registry.
    let mut pushed = digests.iter().filter(|entry| !entry.starts_with("localhost/")).peekable();
    let first = pushed.peek().copied();
    if let Some(entry) = pushed.find(|entry| Reference::parse(entry).same_repository(&parsed)) {
        return Fact::Known(entry.clone());
    }
    match first {
        None => Fact::absent(
            "The image was not pushed, so it has no repository digest: push it, so that others can run the same one.",
        ),
        Some(first) if is_id(reference, id) => Fact::Known(first.clone()),
        Some(first) => Fact::Absent(format!(
            "The image was not pushed as {}, which the container was started with; it is known as {first}: \
             start the container with that name.",
            parsed.repository
        )),
    }
}

/// Whether the container was started by the image's id, or by the beginning of it.
fn is_id(reference: &str, id: &str) -> bool {
    let digits = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
    let typed = digits(reference);
    typed.len() >= 4 && digits(id).starts_with(&typed)
}

/// An image's name: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    repository: &'a str,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        // A colon before a slash is a registry's port.
        let repository = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        };
        Self { repository, digest }
    }

    fn same_repository(&self, other: &Reference<'_>) -> bool {
        full_name(self.repository) == full_name(other.repository)
    }
}

/// `alpine` is `docker.io/library/alpine`; Docker gives the short form, Podman the long one.
fn full_name(repository: &str) -> String {
    let (host, path) = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("docker.io", repository),
    };
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    let library = if host == "docker.io" && !path.contains('/') { "library/" } else { "" };
    format!("{host}/{library}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const M: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const N: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

    #[test]
    fn references() {
        for (text, repository, digest) in [
            ("demo", "demo", None),
            ("demo:latest", "demo", None),
            ("127.0.0.1:5000/demo", "127.0.0.1:5000/demo", None),
            ("127.0.0.1:5000/demo:1", "127.0.0.1:5000/demo", None),
            ("ghcr.io/a/b@sha256:1", "ghcr.io/a/b", Some("sha256:1")),
            ("localhost:5000/demo:latest@sha256:1", "localhost:5000/demo", Some("sha256:1")),
            ("", "", None),
        ] {
            assert_eq!(Reference::parse(text), Reference { repository, digest }, "{text}");
        }
    }

    #[test]
    fn names_in_full() {
        for (short, full) in [
            ("alpine", "docker.io/library/alpine"),
            ("docker.io/library/alpine", "docker.io/library/alpine"),
            ("index.docker.io/a/b", "docker.io/a/b"),
            ("a/b", "docker.io/a/b"),
            ("localhost/a", "localhost/a"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }

    #[test]
    fn digests() {
        let demo = format!("127.0.0.1:5000/demo@{M}");
        let other = format!("127.0.0.1:5000/other@{N}");
        let both = [demo.clone(), other.clone()];
        for (reference, digests, expected) in [
            ("127.0.0.1:5000/demo:latest", &both[..], Some(demo.as_str())),
            ("127.0.0.1:5000/other:1", &both[..], Some(other.as_str())),
            ("demo:latest", &both[..], None),
            ("demo:latest", &[], None),
            // By id, in all its forms.
            (ID, &both[..], Some(demo.as_str())),
            ("0123456789ab", &both[..], Some(demo.as_str())),
            (ID, &[], None),
        ] {
            assert_eq!(
                choose_digest(reference, ID, digests).known().map(String::as_str),
                expected,
                "{reference}"
            );
        }
        // By digest: the digest wins over the tag, and stays when the name was removed.
        for typed in [format!("127.0.0.1:5000/demo@{M}"), format!("127.0.0.1:5000/demo:latest@{M}")] {
            assert_eq!(choose_digest(&typed, ID, &both), Fact::Known(demo.clone()));
            assert_eq!(choose_digest(&typed, ID, &[]), Fact::Known(demo.clone()));
        }
        assert!(choose_digest("localhost/demo:1", ID, &[format!("localhost/demo@{M}")]).known().is_none());
        // Podman's long form.
        let long = [format!("docker.io/library/alpine@{M}")];
        assert_eq!(choose_digest("alpine:3", ID, &long), Fact::Known(long[0].clone()));
    }
}
