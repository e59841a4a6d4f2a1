//! What a plugin may touch: what it asks for and the team allows. Nothing else.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::Uri;

use crate::{pipeline::Allow, plugin::Manifest};

/// The effective grants of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    plugin: String,
    asked: Vec<String>,
    http: Vec<Origin>,
    env: Vec<String>,
    fs: Vec<Directory>,
}

/// A granted directory, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
}

/// `scheme://host[:port]`; `any_below` for `*.host`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    text: String,
    scheme: String,
    host: String,
    any_below: bool,
    port: u16,
}

/// How far a name that is allowed may resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public addresses only: a wildcard says nothing of what is inside.
    Public,
    /// Private ones, too: the host is named.
    Private,
    /// Everything: the address itself, or `localhost`, is named.
    Named,
}

impl Grants {
    /// What the manifest asks for, as far as the team allows it.
    pub fn new(manifest: &Manifest, allow: &Allow, workspace: &Path) -> Self {
        let asked: Vec<String> = manifest.asks.iter().map(|ask| ask.kind.clone()).collect();
        let asks = |kind: &str| asked.iter().any(|asked| asked == kind);
        let http = allow.http.iter().filter(|_| asks("http"));
        let env = allow.env.iter().filter(|_| asks("env"));
        let fs = allow.fs.iter().filter(|_| asks("fs"));
        Grants {
            plugin: manifest.name.clone(),
            http: http.filter_map(|origin| Origin::parse(&origin.value)).collect(),
            env: env.map(|name| name.value.clone()).collect(),
            fs: fs
                .map(|grant| Directory {
                    path: normal(&workspace.join(&grant.path.value)),
                    writable: grant.writable,
                })
                .collect(),
            asked,
        }
    }

    /// Kind by kind, for the record and for people.
    pub fn describe(&self) -> BTreeMap<String, Vec<String>> {
        let access = |directory: &Directory| {
            format!("{} ({})", directory.path.display(), if directory.writable { "rw" } else { "ro" })
        };
        let mut grants = BTreeMap::new();
        grants.insert("http".to_owned(), self.http.iter().map(|origin| origin.text.clone()).collect());
        grants.insert("env".to_owned(), self.env.clone());
        grants.insert("fs".to_owned(), self.fs.iter().map(access).collect());
        grants.retain(|_, list: &mut Vec<String>| !list.is_empty());
        grants
    }

    /// How far a request to `uri` may go, or why it may not be sent.
    pub(crate) fn http(&self, uri: &Uri) -> Result<Reach, String> {
        let scheme = uri.scheme_str().unwrap_or("https");
        let host = bare(uri.host().unwrap_or_default()).to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(default_port(scheme));
        let fits = |origin: &&Origin| origin.scheme == scheme && origin.port == port && origin.matches(&host);
        let reach = self.http.iter().filter(fits).map(|origin| origin.reach(&host));
        reach.max_by_key(|reach| *reach as u8).ok_or_else(|| {
            let port = if port == default_port(scheme) { String::new() } else { format!(":{port}") };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            self.denial(
                "http",
                &format!("to send a request to {scheme}://{host}{port}"),
                &format!("\"{scheme}://{host}{port}\""),
            )
        })
    }

    /// How far a connection to the host may go, whatever the port: its request has been checked already.
    pub(crate) fn reach(&self, host: &str) -> Option<Reach> {
        let host = bare(host).to_ascii_lowercase();
        let origins = self.http.iter().filter(|origin| origin.matches(&host));
        origins.map(|origin| origin.reach(&host)).max_by_key(|reach| *reach as u8)
    }

    /// Whether a request that may reach so far may connect to the address, or why not.
    pub(crate) fn address(&self, reach: Reach, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        let inner = is_inner(address);
        let private = is_private(address);
        match reach {
            Reach::Named => Ok(()),
            Reach::Private if !inner => Ok(()),
            Reach::Public if !inner && !private => Ok(()),
            Reach::Private | Reach::Public => Err(format!(
                "plugin {} may not connect to {address}: the granted name leads to {} address. \
                 If that is meant, grant the address itself instead of the name",
                self.plugin,
                if inner { "a loopback or link-local" } else { "a private" },
            )),
        }
    }

    /// The granted variables that are set.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let granted = |name: &str| {
            self.env.iter().any(|rule| match rule.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => rule == name,
            })
        };
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).filter(|(name, _)| granted(name)).collect()
    }

    pub(crate) fn directories(&self) -> &[Directory] {
        &self.fs
    }

    /// What to write where, to grant something that was refused.
    pub(crate) fn denial(&self, kind: &str, wanted: &str, value: &str) -> String {
        let plugin = &self.plugin;
        if self.asked.iter().any(|asked| asked == kind) {
            format!(
                "plugin {plugin} wanted {wanted}, which it is not granted. To allow it: \
                 \"plugins\": {{\"{plugin}\": {{\"allow\": {{\"{kind}\": [{value}]}}}}}}"
            )
        } else {
            format!(
                "plugin {plugin} wanted {wanted}, but does not ask for `{kind}` in its manifest: \
                 no grant can allow it. Its author has to declare it"
            )
        }
    }

    /// What it asks for and has nothing of, with the line that would change it.
    pub(crate) fn lacking(&self, manifest: &Manifest) -> Option<String> {
        let granted = self.describe();
        let lacking = manifest.asks.iter().filter(|ask| !granted.contains_key(&ask.kind));
        let lines: Vec<String> = lacking
            .filter_map(|ask| {
                let value = match ask.kind.as_str() {
                    "http" => "\"https://HOST\"",
                    "fs" => "{\"path\": \"DIR\", \"access\": \"rw\"}",
                    "env" => "\"NAME\"",
                    // Nothing else can be granted in this version.
                    _ => return None,
                };
                Some(format!(
                    "it asks for `{}` ({}) and is granted none: \"plugins\": {{\"{}\": {{\"allow\": {{\"{}\": [{value}]}}}}}}",
                    ask.kind, ask.reason, self.plugin, ask.kind
                ))
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (any_below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (rest, default_port(scheme)),
        };
        Some(Origin {
            text: text.to_owned(),
            scheme: scheme.to_ascii_lowercase(),
            host: bare(host).to_ascii_lowercase(),
            any_below,
            port,
        })
    }

    fn reach(&self, host: &str) -> Reach {
        if self.any_below {
            Reach::Public
        } else if host.parse::<IpAddr>().is_ok() || host == "localhost" {
            Reach::Named
        } else {
            Reach::Private
        }
    }

    fn matches(&self, host: &str) -> bool {
        if !self.any_below {
            return self.host == host;
        }
        // An address is not below a name, whatever its digits look like.
        host.parse::<IpAddr>().is_err()
            && host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Loopback, link-local (where clouds keep their metadata service) and the like.
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            let metadata = v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || metadata
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Without `.` parts, so that paths are compared and shown as people write them.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pipeline::Spanned,
        plugin::{Ask, Kind},
    };

    fn grants(http: &[&str], asks: &[&str]) -> Grants {
        let manifest = Manifest {
            api: "dcd:plugin@0.1.0".into(),
            kind: Kind::StepType,
            name: "p".into(),
            version: "1".into(),
            asks: asks.iter().map(|kind| Ask { kind: (*kind).into(), reason: "why".into() }).collect(),
        };
        let http = http.iter().map(|value| Spanned { value: (*value).to_owned(), span: 0..0 }).collect();
        Grants::new(&manifest, &Allow { http, ..Allow::default() }, Path::new("/w"))
    }

    #[test]
    fn origins_match_whole() {
        let grants = grants(
            &["https://a.example", "http://b.example:8080", "https://*.c.example", "http://[::1]:80"],
            &["http"],
        );
        let allowed = |uri: &str| grants.http(&uri.parse().unwrap()).is_ok();
        for uri in [
            "https://a.example/x?y",
            "https://A.EXAMPLE:443/",
            "http://b.example:8080/",
            "https://x.c.example",
            "https://x.y.c.example",
            "http://[::1]/",
        ] {
            assert!(allowed(uri), "{uri}");
        }
        for uri in [
            "http://a.example/",
            "https://a.example:8443/",
            "https://xa.example/",
            "https://a.example.evil/",
            "http://b.example/",
            "https://c.example/",
            "https://xc.example/",
            "https://.c.example/",
            "https://a.example@evil.example/",
        ] {
            assert!(!uri.parse::<Uri>().is_ok_and(|uri| grants.http(&uri).is_ok()), "{uri}");
        }
    }

    #[test]
    fn names_do_not_lead_inside() {
        let grants = grants(&["https://a.example", "https://*.c.example", "http://127.0.0.1"], &["http"]);
        let reaches = |uri: &str, address: &str| {
            let reach = grants.http(&uri.parse().unwrap()).unwrap();
            grants.address(reach, address.parse().unwrap()).is_ok()
        };
        assert!(reaches("https://a.example", "93.184.216.34") && reaches("https://a.example", "10.0.0.1"));
        assert!(
            reaches("https://x.c.example", "93.184.216.34") && !reaches("https://x.c.example", "10.0.0.1")
        );
        assert!(reaches("http://127.0.0.1", "127.0.0.1"));
        for inner in
            ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "fd00:ec2::254", "0.0.0.0"]
        {
            assert!(!reaches("https://a.example", inner), "{inner}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_granted() {
        let refusal =
            grants(&["https://a.example"], &[]).http(&"https://a.example".parse().unwrap()).unwrap_err();
        assert!(refusal.contains("does not ask for `http`"), "{refusal}");
        let refusal = grants(&[], &["http"]).http(&"https://a.example/x".parse().unwrap()).unwrap_err();
        assert!(
            refusal.ends_with("\"plugins\": {\"p\": {\"allow\": {\"http\": [\"https://a.example\"]}}}"),
            "{refusal}"
        );
    }
}
