//! Where the engine is, and what to tell people when it is not there.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The port that Docker's own client takes when `tcp://HOST` names none.
const DEFAULT_PORT: u16 = 2375;

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `HOST:PORT`, without TLS.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Endpoint {
    /// Reads the value of `DOCKER_HOST`; `tls` is whether `DOCKER_TLS_VERIFY` is set.
    pub(super) fn parse(host: Option<&str>, tls: bool) -> Result<Self, String> {
        let Some(host) = host.map(str::trim).filter(|host| !host.is_empty()) else {
            return Ok(Endpoint::Unix(DEFAULT_SOCKET.into()));
        };
        let advice = format!(
            "mount the engine's socket (-v {DEFAULT_SOCKET}:{DEFAULT_SOCKET}) and leave DOCKER_HOST unset"
        );
        match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Endpoint::Unix(path.into())),
            Some(("tcp" | "http", address)) => {
                let address = address.split('/').next().unwrap_or_default();
                if address.is_empty() {
                    return Err(format!("DOCKER_HOST is {host}, which names no host: {advice}."));
                }
                if tls {
                    return Err(format!(
                        "DOCKER_HOST is {host} with DOCKER_TLS_VERIFY, and dcd does not speak TLS to an engine: {advice}."
                    ));
                }
                Ok(Endpoint::Tcp(with_port(address)))
            }
            _ => Err(format!(
                "DOCKER_HOST is {host}, and dcd speaks only unix:///PATH and tcp://HOST:PORT: {advice}."
            )),
        }
    }

    /// Why connecting failed, and what to do.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        match self {
            Endpoint::Unix(path) => explain_socket(path, error),
            Endpoint::Tcp(address) => match error.kind() {
                io::ErrorKind::ConnectionRefused => format!(
                    "Nothing listens at tcp://{address}, which DOCKER_HOST names: start the engine there, or correct DOCKER_HOST."
                ),
                _ => format!(
                    "The engine at tcp://{address}, which DOCKER_HOST names, cannot be reached ({error}): correct DOCKER_HOST."
                ),
            },
        }
    }
}

fn with_port(address: &str) -> String {
    let behind_host = address.rsplit_once(']').map_or(address, |(_, behind)| behind);
    if behind_host.contains(':') { address.to_owned() } else { format!("{address}:{DEFAULT_PORT}") }
}

fn explain_socket(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    let mount = format!("-v {shown}:{shown}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            format!("There is no Docker socket at {shown}: run the container with {mount}.")
        }
        io::ErrorKind::PermissionDenied => match path.metadata() {
            Ok(meta) => format!(
                "The user {} may not use the Docker socket {shown}, which belongs to group {gid}: run the container with --group-add {gid}.",
                rustix::process::geteuid().as_raw(),
                gid = meta.gid()
            ),
            Err(_) => format!(
                "The user {} may not reach the Docker socket {shown}: its directory is closed to this user.",
                rustix::process::geteuid().as_raw()
            ),
        },
        io::ErrorKind::ConnectionRefused => match path.metadata() {
            Ok(meta) if meta.is_dir() => format!(
                "{shown} is a directory, not a socket: Docker makes one where a path to mount does not exist on its host. \
                 Find the engine's socket there (`docker context inspect`), and run the container with -v SOCKET:{shown}."
            ),
            Ok(meta) if !meta.file_type().is_socket() => {
                format!("{shown} is not a socket: run the container with {mount} of the engine's own socket.")
            }
            _ => format!(
                "Nothing answers at the Docker socket {shown}: start the engine (`systemctl start docker`), and start this \
                 container again if the engine was restarted since, as its socket is then another file."
            ),
        },
        _ => format!(
            "The Docker socket {shown} cannot be used ({error}): see whether `docker version` works on its host."
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses() {
        let unix = |path: &str| Endpoint::Unix(path.into());
        let tcp = |address: &str| Endpoint::Tcp(address.to_owned());
        for (host, endpoint) in [
            (None, unix("/var/run/docker.sock")),
            (Some(""), unix("/var/run/docker.sock")),
            (Some("unix:///run/user/1000/podman/podman.sock"), unix("/run/user/1000/podman/podman.sock")),
            (Some("tcp://10.0.0.1:2376"), tcp("10.0.0.1:2376")),
            (Some("tcp://engine"), tcp("engine:2375")),
            (Some("tcp://[::1]"), tcp("[::1]:2375")),
            (Some("http://[::1]:99/"), tcp("[::1]:99")),
        ] {
            assert_eq!(Endpoint::parse(host, false).unwrap(), endpoint, "{host:?}");
        }
    }

    #[test]
    fn addresses_that_are_not_spoken() {
        for host in [
            "ssh://me@host",
            "npipe:////./pipe/docker_engine",
            "fd://",
            "unix://relative",
            "host:2375",
            "tcp://",
        ] {
            let reason = Endpoint::parse(Some(host), false).unwrap_err();
            assert!(reason.contains(host) && reason.contains("-v /var/run/docker.sock"), "{reason}");
        }
        assert!(Endpoint::parse(Some("tcp://host:2376"), true).unwrap_err().contains("TLS"));
    }
}
