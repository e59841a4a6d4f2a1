//! As much of a URL as a client needs.

use super::Error;

/// An absolute `http` or `https` URL, split where a client needs it (RFC 3986).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    https: bool,
    authority: String,
    path: String,
    query: Option<String>,
}

impl Url {
    /// Reads a URL. A fragment is dropped, as it is never sent. A user name or password is refused, as it
    /// would end up in logs: send the header `authorization`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // No message repeats the URL: it may hold a token.
        let wrong = |why: &str| Error::InvalidRequest(format!("the URL {why}"));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("must be printable ASCII without spaces; write other characters as %XX"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("must start with http:// or https://"))?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("must start with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong(
                "must not hold a user name or a password; send the header `authorization` instead",
            ));
        }
        if !is_host_and_port(authority) {
            return Err(wrong("has no host, or one that is not understood"));
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path_and_query, None),
        };
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Ok(Self { https, authority: authority.to_ascii_lowercase(), path, query })
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host and, if given, the port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The scheme, host and port: what a grant names.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// The path; at least `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands after the first `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The path and the query, as they are sent.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

fn is_host_and_port(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_host = if authority.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split() -> Result<(), Error> {
        let url = Url::parse("HTTPS://Api.Example:8443/a/b?token=x/y?z#part")?;
        assert_eq!(url.origin(), "https://api.example:8443");
        assert_eq!(url.path_and_query(), "/a/b?token=x/y?z");
        assert_eq!(Url::parse("http://[::1]:80")?.path_and_query(), "/");
        assert_eq!(Url::parse("http://a?b")?.path_and_query(), "/?b");
        Ok(())
    }

    #[test]
    fn wrong_urls_are_refused_without_being_repeated() {
        for wrong in [
            "",
            "example.com",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "http://a:b",
            "https://user:secret@host/",
            "http://a b",
            "http://ä",
            "http://[zz]/",
            "http://[::1]x",
            "http://a,b/",
        ] {
            let Err(error) = Url::parse(wrong) else { unreachable!("{wrong} was taken") };
            assert!(!error.message().contains("secret"));
        }
    }
}
