//! One try to connect.

use std::time::Duration;

use dcd_plugin_sdk::{StepContext, StepError};

use crate::Seen;

/// Whether the host's port takes a connection, by any of the host's addresses.
pub(crate) fn look(host: &str, port: u16, limit: Duration, cx: &StepContext) -> Result<Seen, StepError> {
    connect::look(host, port, limit, cx)
}

/// By `wasi:sockets`, and not by `std::net`, which cannot be interrupted when the step is cancelled.
#[cfg(target_arch = "wasm32")]
mod connect {
    use std::time::{Duration, Instant};

    use dcd_plugin_sdk::{Error, StepContext, StepError};
    use wasip2::clocks::monotonic_clock::subscribe_duration;
    use wasip2::io::poll::{self, Pollable};
    use wasip2::sockets::instance_network::instance_network;
    use wasip2::sockets::ip_name_lookup::resolve_addresses;
    use wasip2::sockets::network::{
        ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
    };
    use wasip2::sockets::tcp_create_socket::create_tcp_socket;

    use crate::Seen;

    /// How often a wait looks whether the step was cancelled, in nanoseconds.
    const GLANCE: u64 = 100_000_000;

    /// Why there is no connection.
    enum No {
        /// Not now.
        NotYet(String),
        /// Never.
        Ended(StepError),
    }

    struct Look<'a> {
        what: String,
        limit: Duration,
        start: Instant,
        cx: &'a StepContext,
    }

    pub(super) fn look(host: &str, port: u16, limit: Duration, cx: &StepContext) -> Result<Seen, StepError> {
        let what = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let look = Look { what, limit, start: Instant::now(), cx };
        match look.connect(host, port) {
            Ok(()) => Ok(Seen::Ready("it takes connections".to_owned())),
            Err(No::NotYet(why)) => Ok(Seen::NotYet(why)),
            Err(No::Ended(error)) => Err(error),
        }
    }

    impl Look<'_> {
        fn connect(&self, host: &str, port: u16) -> Result<(), No> {
            let network = instance_network();
            let names = resolve_addresses(&network, host).map_err(|code| self.no(code))?;
            let mut last = No::NotYet("its name is not known".to_owned());
            loop {
                match names.resolve_next_address() {
                    Ok(Some(address)) => match self.try_address(&network, address, port) {
                        Err(No::NotYet(why)) => last = No::NotYet(why),
                        end => return end,
                    },
                    Ok(None) => return Err(last),
                    Err(ErrorCode::WouldBlock) => self.wait(&names.subscribe())?,
                    Err(code) => return Err(self.no(code)),
                }
            }
        }

        fn try_address(&self, network: &Network, address: IpAddress, port: u16) -> Result<(), No> {
            let (family, address) = match address {
                IpAddress::Ipv4(address) => {
                    (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address }))
                }
                IpAddress::Ipv6(address) => {
                    let (flow_info, scope_id) = (0, 0);
                    let address = Ipv6SocketAddress { port, flow_info, address, scope_id };
                    (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
                }
            };
            let socket = create_tcp_socket(family).map_err(|code| self.no(code))?;
            socket.start_connect(network, address).map_err(|code| self.no(code))?;
            loop {
                match socket.finish_connect() {
                    Ok(_) => return Ok(()),
                    Err(ErrorCode::WouldBlock) => self.wait(&socket.subscribe())?,
                    Err(code) => return Err(self.no(code)),
                }
            }
        }

        fn wait(&self, event: &Pollable) -> Result<(), No> {
            loop {
                if self.cx.cancelled() {
                    return Err(No::Ended(StepError::Cancelled));
                }
                if self.start.elapsed() >= self.limit {
                    return Err(No::NotYet(format!("it does not answer within {:?}", self.limit)));
                }
                if poll::poll(&[event, &subscribe_duration(GLANCE)]).contains(&0) {
                    return Ok(());
                }
            }
        }

        fn no(&self, code: ErrorCode) -> No {
            No::NotYet(match code {
                ErrorCode::AccessDenied => {
                    let denied = Error::denied(format!("the plugin is not granted to reach {}", self.what));
                    let help = format!(
                        "grant it in the plugin's entry of the pipeline's `plugins` block: \
                         \"allow\": {{\"tcp\": [\"{}\"]}}",
                        self.what
                    );
                    return No::Ended(denied.help(help).into());
                }
                ErrorCode::ConnectionRefused => "the connection is refused".to_owned(),
                ErrorCode::ConnectionReset | ErrorCode::ConnectionAborted => "it hangs up".to_owned(),
                ErrorCode::RemoteUnreachable => "it cannot be reached".to_owned(),
                ErrorCode::Timeout => "it does not answer".to_owned(),
                ErrorCode::NameUnresolvable | ErrorCode::TemporaryResolverFailure => {
                    "its name is not known".to_owned()
                }
                ErrorCode::PermanentResolverFailure => "its name cannot be looked up".to_owned(),
                other => format!("there is no connection ({})", other.name()),
            })
        }
    }
}

/// For the tests on the machine at hand.
#[cfg(not(target_arch = "wasm32"))]
mod connect {
    use std::io::ErrorKind;
    use std::net::{TcpStream, ToSocketAddrs};
    use std::time::Duration;

    use dcd_plugin_sdk::{StepContext, StepError};

    use crate::Seen;

    #[allow(clippy::unnecessary_wraps, reason = "as in a plugin, where it can fail")]
    pub(super) fn look(host: &str, port: u16, limit: Duration, _: &StepContext) -> Result<Seen, StepError> {
        let Ok(mut addresses) = (host, port).to_socket_addrs() else {
            return Ok(Seen::NotYet("its name is not known".to_owned()));
        };
        let Some(address) = addresses.next() else {
            return Ok(Seen::NotYet("its name is not known".to_owned()));
        };
        Ok(match TcpStream::connect_timeout(&address, limit) {
            Ok(_) => Seen::Ready("it takes connections".to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Seen::NotYet("the connection is refused".to_owned())
            }
            Err(error) => Seen::NotYet(error.to_string()),
        })
    }
}
