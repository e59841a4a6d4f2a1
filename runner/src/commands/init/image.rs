//! What the team's image is called.

/// What the image of a project is called, as far as its remote tells: beside the sources, where the forge has a
/// registry; else under `localhost/`, which names no registry, so that nobody's image is pulled by mistake.
pub(super) fn name(remote: Option<&str>, directory: &str) -> String {
    remote.and_then(beside).unwrap_or_else(|| format!("localhost/{}-dcd:latest", part(directory)))
}

fn beside(remote: &str) -> Option<String> {
    let remote = remote.trim_end_matches('/');
    let remote = remote.strip_suffix(".git").unwrap_or(remote);
    // `https://host/path`, `ssh://git@host:port/path` or `git@host:path`.
    let (authority, path) = match remote.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        None => remote.split_once(':')?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    let path: Vec<_> = path.split('/').filter(|part| !part.is_empty()).map(part).collect();
    let path = if path.len() < 2 { return None } else { path.join("/") };
    match host {
        "github.com" => Some(format!("ghcr.io/{path}-dcd:latest")),
        "gitlab.com" => Some(format!("registry.gitlab.com/{path}/dcd:latest")),
        _ => None,
    }
}

/// As registries allow it: lower case letters and digits, with single marks between.
fn part(text: &str) -> String {
    let mut name = String::new();
    for letter in text.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && name.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            name.push(if matches!(letter, '.' | '_') { letter } else { '-' });
        }
    }
    let name = name.trim_end_matches(['-', '.', '_']);
    if name.is_empty() { "project".to_owned() } else { name.to_owned() }
}

/// Whether it can be an image's name: nothing else may get into the script and the Dockerfile.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_the_sources() {
        for (remote, image) in [
            ("https://github.com/Org/Shop.git", "ghcr.io/org/shop-dcd:latest"),
            ("git@github.com:org/shop.git", "ghcr.io/org/shop-dcd:latest"),
            ("ssh://git@github.com:22/org/shop", "ghcr.io/org/shop-dcd:latest"),
            ("https://gitlab.com/org/team/my_shop/", "registry.gitlab.com/org/team/my_shop/dcd:latest"),
        ] {
            assert_eq!(name(Some(remote), "x"), image);
        }
    }

    #[test]
    fn of_the_directory_where_no_registry_is_known() {
        for remote in
            [None, Some("/srv/git/shop.git"), Some("https://git.example.org/a/b"), Some("github.com:x")]
        {
            assert_eq!(name(remote, "My Shop!"), "localhost/my-shop-dcd:latest", "{remote:?}");
        }
        assert_eq!(name(None, "___"), "localhost/project-dcd:latest");
    }

    #[test]
    fn names() {
        for good in ["debian:12", "127.0.0.1:5000/a/b_c:latest", "a/b@sha256:0123"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-v", "a b", "a\nRUN x", "$(reboot)", "a'b", "https://x y"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
