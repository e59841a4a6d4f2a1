//! Where a redirect leads.

use dcd_plugin_sdk::http::{Error, Request, Response, Url};

/// Headers that are meant for the server that they were given for.
const PRIVATE: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The request that a redirect asks for; none when the answer is no redirect. `secret` are the names of the
/// headers that hold secrets: they go to no other origin.
pub(crate) fn next(
    request: &Request,
    base: &Url,
    answer: &Response,
    secret: &[String],
) -> Option<Result<(Request, Url), Error>> {
    let status = answer.status();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.header_value("location")?;
    let url = match Url::parse(&resolve(base, location)) {
        Ok(url) => url,
        Err(error) => return Some(Err(Error::Protocol(format!("the redirect leads nowhere: {error}")))),
    };
    // As browsers and curl do it (RFC 9110, 15.4).
    let keeps = match status {
        303 => matches!(request.method(), "GET" | "HEAD"),
        301 | 302 => request.method() != "POST",
        _ => true,
    };
    let method = if keeps { request.method() } else { "GET" };
    let mut next = Request::new(method, format!("{}{}", url.origin(), url.path_and_query()));
    let is_elsewhere = url.origin() != base.origin();
    for (name, value) in request.headers() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let is_private = PRIVATE.iter().any(|private| is(private)) || secret.iter().any(|secret| is(secret));
        if !((is_elsewhere && is_private) || (!keeps && is("content-type"))) {
            next = next.header(name, value);
        }
    }
    if keeps {
        next = next.body(request.body_bytes());
    }
    Some(Ok((next, url)))
}

/// RFC 3986, 5.2, as far as a `location` needs it.
fn resolve(base: &Url, location: &str) -> String {
    let scheme = if base.is_https() { "https" } else { "http" };
    let path = base.path();
    let is_absolute = location.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':'));
    match location {
        _ if is_absolute => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{}{location}", base.origin()),
        _ if location.starts_with('?') => format!("{}{path}{location}", base.origin()),
        _ => {
            let directory = &path[..=path.rfind('/').unwrap_or(0)];
            format!("{}{}", base.origin(), plain(&format!("{directory}{location}")))
        }
    }
}

/// Without `.` and `..`.
fn plain(path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let mut parts: Vec<&str> = Vec::new();
    for part in path[..end].split('/').skip(1) {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}{}", parts.join("/"), &path[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(method: &str, status: u16, location: &str) -> Option<Result<Request, Error>> {
        let base = Url::parse("https://a.example/x/y?q").ok()?;
        let request = Request::new(method, "https://a.example/x/y?q")
            .header("authorization", "Bearer s")
            .header("x-key", "k")
            .header("content-type", "text/plain")
            .header("accept", "*/*")
            .body("b");
        let answer = Response::new(status).header("Location", location);
        Some(next(&request, &base, &answer, &["X-Key".to_owned()])?.map(|(request, _)| request))
    }

    fn leads(location: &str) -> Option<String> {
        follow("GET", 302, location)?.ok().map(|request| request.url().to_owned())
    }

    #[test]
    fn locations_are_resolved() {
        for (location, wanted) in [
            ("https://b.example/z#f", "https://b.example/z"),
            ("//b.example/z", "https://b.example/z"),
            ("/z?w", "https://a.example/z?w"),
            ("z", "https://a.example/x/z"),
            ("../z/./w?../r", "https://a.example/z/w?../r"),
            ("?w", "https://a.example/x/y?w"),
            ("z?u=http://c", "https://a.example/x/z?u=http://c"),
        ] {
            assert_eq!(leads(location).as_deref(), Some(wanted), "{location}");
        }
        assert!(follow("GET", 304, "/z").is_none());
        assert!(follow("GET", 302, "javascript:alert(1)").is_some_and(|next| next.is_err()));
    }

    #[test]
    fn what_is_private_goes_to_no_other_origin() {
        let names = |location| -> Option<Vec<String>> {
            let next = follow("GET", 307, location)?.ok()?;
            Some(next.headers().iter().map(|(name, _)| name.clone()).collect())
        };
        let all = ["authorization", "x-key", "content-type", "accept"].map(str::to_owned);
        assert_eq!(names("/z"), Some(all.into()));
        let some = ["content-type", "accept"].map(str::to_owned);
        assert_eq!(names("https://b.example/"), Some(some.to_vec()));
        assert_eq!(names("http://a.example/"), Some(some.to_vec()));
        assert_eq!(names("https://a.example:8443/"), Some(some.into()));
    }

    #[test]
    fn a_method_is_kept_or_becomes_get() {
        let method = |method: &str, status| {
            let next = follow(method, status, "/z")?.ok()?;
            Some((next.method().to_owned(), next.body_bytes().len()))
        };
        assert_eq!(method("POST", 303), Some(("GET".into(), 0)));
        assert_eq!(method("POST", 302), Some(("GET".into(), 0)));
        assert_eq!(method("PUT", 302), Some(("PUT".into(), 1)));
        assert_eq!(method("POST", 308), Some(("POST".into(), 1)));
        assert_eq!(method("HEAD", 303), Some(("HEAD".into(), 1)));
    }
}
