//! What a plugin may touch: what it asks for and the team allows. Nothing else.

mod host;
mod limits;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::Uri;

use crate::{
    pipeline::{Allow, Spanned},
    plugin::Manifest,
};

pub(crate) use host::Reach;
use host::{Host, bracketed, plain, split_port};
pub(crate) use limits::Limits;

/// The effective grants of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    plugin: String,
    asked: Vec<String>,
    http: Vec<Origin>,
    tcp: Vec<Address>,
    env: Vec<String>,
    fs: Vec<Directory>,
    exec: Vec<String>,
    secrets: Vec<String>,
    limits: Limits,
}

/// A granted directory, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
}

/// `scheme://host[:port]`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    text: String,
    scheme: String,
    host: Host,
    port: u16,
}

/// `host:port`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    text: String,
    host: Host,
    port: u16,
}

impl Grants {
    /// What the manifest asks for, as far as the team allows it.
    pub fn new(
        manifest: &Manifest,
        allow: &Allow,
        limits: &crate::pipeline::Limits,
        workspace: &Path,
    ) -> Self {
        let asked: Vec<String> = manifest.asks.iter().map(|ask| ask.kind.clone()).collect();
        let asks = |kind: &str| asked.iter().any(|asked| asked == kind);
        let strings = |kind: &str, list: &[Spanned<String>]| -> Vec<String> {
            list.iter().filter(|_| asks(kind)).map(|grant| grant.value.clone()).collect()
        };
        let directory = |grant: &crate::pipeline::FsGrant| Directory {
            path: normal(&workspace.join(&grant.path.value)),
            writable: grant.writable,
        };
        Grants {
            plugin: manifest.name.clone(),
            http: strings("http", &allow.http).iter().filter_map(|text| Origin::parse(text)).collect(),
            tcp: strings("tcp", &allow.tcp).iter().filter_map(|text| Address::parse(text)).collect(),
            env: strings("env", &allow.env),
            fs: allow.fs.iter().filter(|_| asks("fs")).map(directory).collect(),
            exec: strings("exec", &allow.exec),
            secrets: strings("secrets", &allow.secrets),
            limits: Limits::new(limits),
            asked,
        }
    }

    /// Kind by kind, for the record and for people.
    pub fn describe(&self) -> BTreeMap<String, Vec<String>> {
        let access = |directory: &Directory| {
            format!("{} ({})", directory.path.display(), if directory.writable { "rw" } else { "ro" })
        };
        let kinds = [
            ("http", self.http.iter().map(|origin| origin.text.clone()).collect::<Vec<_>>()),
            ("tcp", self.tcp.iter().map(|address| address.text.clone()).collect()),
            ("env", self.env.clone()),
            ("fs", self.fs.iter().map(access).collect()),
            ("exec", self.exec.clone()),
            ("secrets", self.secrets.clone()),
        ];
        let given = kinds.into_iter().filter(|(_, list)| !list.is_empty());
        given.map(|(kind, list)| (kind.to_owned(), list)).collect()
    }

    /// No right at all, and the same limits.
    pub(crate) fn none(&self) -> Self {
        Grants { plugin: self.plugin.clone(), limits: self.limits.clone(), ..Grants::default() }
    }

    /// Whose they are.
    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// How much the plugin may use.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How far a request to `uri` may go, or why it may not be sent.
    pub(crate) fn http(&self, uri: &Uri) -> Result<Reach, String> {
        let scheme = uri.scheme_str().unwrap_or("https");
        let host = plain(uri.host().unwrap_or_default());
        let port = uri.port_u16().unwrap_or(default_port(scheme));
        let fits = |origin: &&Origin| origin.scheme == scheme && origin.port == port;
        let reach = self.http.iter().filter(fits).filter_map(|origin| origin.host.reach(&host)).max();
        reach.ok_or_else(|| {
            let port = if port == default_port(scheme) { String::new() } else { format!(":{port}") };
            let origin = format!("{scheme}://{}{port}", bracketed(&host));
            self.denial("http", &format!("to send a request to {origin}"), &format!("\"{origin}\""))
        })
    }

    /// How far a connection for a request to the host may go, whatever the port: the request itself has been
    /// checked already.
    pub(crate) fn http_host(&self, host: &str) -> Option<Reach> {
        let host = plain(host);
        self.http.iter().filter_map(|origin| origin.host.reach(&host)).max()
    }

    /// How far a connection to the host and port may go.
    pub(crate) fn tcp(&self, host: &str, port: u16) -> Option<Reach> {
        let host = plain(host);
        let fits = |address: &&Address| address.port == port;
        self.tcp.iter().filter(fits).filter_map(|address| address.host.reach(&host)).max()
    }

    /// How far what the name is looked up for may go, whatever the port, or why it may not be looked up.
    pub(crate) fn lookup(&self, host: &str) -> Result<Reach, String> {
        let name = plain(host);
        self.tcp.iter().filter_map(|address| address.host.reach(&name)).max().ok_or_else(|| {
            self.denial("tcp", &format!("to look up {name}"), &format!("\"{}:PORT\"", bracketed(&name)))
        })
    }

    /// Whether any connection is granted.
    pub(crate) fn has_tcp(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// Why a connection may not be made.
    pub(crate) fn tcp_denial(&self, host: &str, port: u16) -> String {
        let address = format!("{}:{port}", bracketed(host));
        self.denial("tcp", &format!("to connect to {address}"), &format!("\"{address}\""))
    }

    /// Whether what may reach so far may connect to the address, or why not.
    pub(crate) fn address(&self, reach: Reach, address: IpAddr) -> Result<(), String> {
        reach.permits(address).map_err(|kind| {
            format!(
                "plugin {} may not connect to {address}: the granted name leads to {kind} address. \
                 If that is meant, grant the address itself instead of the name",
                self.plugin,
            )
        })
    }

    /// The granted variables that are set.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        variables(&self.env)
    }

    pub(crate) fn directories(&self) -> &[Directory] {
        &self.fs
    }

    /// The granted programs: names, and absolute paths.
    pub(crate) fn programs(&self) -> &[String] {
        &self.exec
    }

    /// Whether the plugin may have the secret.
    pub fn secret(&self, name: &str) -> bool {
        matches_any(&self.secrets, name)
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

    /// The line that raises a limit, for who ran into it.
    pub(crate) fn raise(&self, limit: &str, value: &str) -> String {
        format!(
            "if it needs more, raise the limit: \"plugins\": {{\"{}\": {{\"limits\": {{\"{limit}\": {value}}}}}}}",
            self.plugin
        )
    }

    /// What it asks for and has nothing of, with the line that would change it: of files and variables, which nobody
    /// refuses, as they are simply not there.
    pub(crate) fn lacking(&self, manifest: &Manifest) -> Option<String> {
        let granted = self.describe();
        let example = |kind: &str| match kind {
            "env" => Some("[\"NAME\"]"),
            "fs" => Some("[{\"path\": \"DIR\", \"access\": \"rw\"}]"),
            _ => None,
        };
        let lacking = manifest.asks.iter().filter(|ask| !granted.contains_key(&ask.kind));
        let (reasons, lines): (Vec<_>, Vec<_>) = lacking
            .filter_map(|ask| {
                let kind = &ask.kind;
                let line = format!("\"{kind}\": {}", example(kind)?);
                Some((format!("`{kind}` ({})", ask.reason), line))
            })
            .unzip();
        (!lines.is_empty()).then(|| {
            format!(
                "it asks for {} and is granted none: \"plugins\": {{\"{}\": {{\"allow\": {{{}}}}}}}",
                reasons.join(", "),
                self.plugin,
                lines.join(", ")
            )
        })
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_port(rest);
        let scheme = scheme.to_ascii_lowercase();
        let port = port.unwrap_or(default_port(&scheme));
        Some(Origin { text: text.to_owned(), scheme, host: Host::parse(host), port })
    }
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_port(text);
        Some(Address { text: text.to_owned(), host: Host::parse(host), port: port? })
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 }
}

/// The variables of dcd's environment whose names the rules cover.
pub(crate) fn variables(rules: &[String]) -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| matches_any(rules, name)).collect()
}

/// Whether one of the rules is the name, or its beginning and a `*`.
fn matches_any(rules: &[String], name: &str) -> bool {
    rules.iter().any(|rule| match rule.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => rule == name,
    })
}

/// Without `.` parts, so that paths are compared and shown as people write them.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
