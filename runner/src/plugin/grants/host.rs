//! Hosts: which names a grant covers, and which addresses those may lead to.

use std::net::IpAddr;

/// A host as a grant names it; `any_below` for `*.host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    any_below: bool,
}

/// How far a name that is allowed may resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Public addresses only: a wildcard says nothing of what is inside.
    Public,
    /// Private ones, too: the host is named.
    Private,
    /// Everything: the address itself, or `localhost`, is named.
    Named,
}

impl Host {
    pub(super) fn parse(text: &str) -> Self {
        let (any_below, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Host { name: plain(name), any_below }
    }

    /// Whether the host, which is [`plain`], is covered, and how far it may lead.
    pub(super) fn reach(&self, host: &str) -> Option<Reach> {
        let is_address = host.parse::<IpAddr>().is_ok();
        if self.any_below {
            // An address is not below a name, whatever its digits look like.
            let below = host.strip_suffix(&self.name).filter(|rest| rest.len() > 1 && rest.ends_with('.'));
            return (below.is_some() && !is_address).then_some(Reach::Public);
        }
        let named = is_address || host == "localhost";
        (self.name == host).then_some(if named { Reach::Named } else { Reach::Private })
    }
}

impl Reach {
    /// Whether a connection that may reach so far may be made to the address, or what kind of address it is.
    pub(super) fn permits(self, address: IpAddr) -> Result<(), &'static str> {
        let address = address.to_canonical();
        let inner = is_inner(address);
        match self {
            Reach::Private | Reach::Public if inner => Err("a loopback or link-local"),
            Reach::Public if is_private(address) => Err("a private"),
            Reach::Named | Reach::Private | Reach::Public => Ok(()),
        }
    }
}

/// In lower case, and an IPv6 address without its brackets.
pub(super) fn plain(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.to_ascii_lowercase()
}

/// As it stands before a port.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Host and port of `host:port`, where an address in brackets has colons of its own.
pub(super) fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// Loopback, link-local (where clouds keep their metadata service) and the like.
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // Alibaba Cloud's and Oracle Cloud's metadata services are elsewhere.
            let metadata = matches!(v4.octets(), [100, 100, 100, 200] | [192, 0, 0, 192]);
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
                || metadata
        }
        IpAddr::V6(v6) => {
            let embedded = embedded(v6).is_some_and(|v4| is_inner(v4.into()));
            let metadata = v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            let link_local = v6.is_unicast_link_local() || v6.is_multicast();
            v6.is_loopback() || v6.is_unspecified() || link_local || metadata || embedded
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_unique_local() || embedded(v6).is_some_and(|v4| is_private(v4.into())),
    }
}

/// The IPv4 address that a NAT64 (RFC 6052), 6to4 (RFC 3056) or IPv4-compatible address leads to.
fn embedded(address: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let v4 = |high: u16, low: u16| std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        _ => None,
    }
}
