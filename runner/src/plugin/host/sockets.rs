//! `wasi:sockets`: TCP connections to what is granted, and to nothing else.
//!
//! A guest looks a name up, and connects to one of its addresses. Only granted names are looked up, and only
//! addresses that they may lead to are given out; a connection goes only to an address that was given out for a
//! name which is granted with that port. There is no UDP, and nobody can connect to a guest.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{HasData, Linker, Resource, ResourceType};
use wasmtime_wasi::{
    WasiCtxBuilder, WasiView,
    p2::{
        DynPollable, SocketError, SocketResult, TcpSocket,
        bindings::sockets::{
            ip_name_lookup::{self, HostResolveAddressStream, ResolveAddressStream},
            network::{self, ErrorCode, HostNetwork, IpAddress, IpAddressFamily, Network},
            tcp, tcp_create_socket,
        },
    },
    sockets::{SocketAddrUse, WasiSockets, WasiSocketsView},
};

use crate::plugin::{grants::Reach, guest::Guest, warden::Warden};

/// The sockets of one instance.
#[derive(Default)]
pub(crate) struct Sockets {
    names: Names,
    /// The look-ups under way, by their handles.
    lookups: HashMap<u32, Lookup>,
    /// The right to each socket that is there.
    permits: HashMap<u32, OwnedSemaphorePermit>,
}

/// Which names were found to have an address.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<IpAddr, BTreeSet<String>>>>);

struct Lookup {
    name: String,
    reach: Reach,
    /// Why none of the addresses so far was given out.
    refused: Option<String>,
}

/// Lets a guest connect as far as it is granted.
pub(crate) fn allow(wasi: &mut WasiCtxBuilder, warden: &Warden, sockets: &Sockets) {
    // A socket alone reaches nobody; where it is to connect to is in the refusal then.
    wasi.allow_tcp(true).allow_ip_name_lookup(warden.grants.has_tcp()).allow_udp(false);
    let (warden, names) = (warden.clone(), sockets.names.clone());
    wasi.socket_addr_check(move |address, purpose| {
        let (warden, names) = (warden.clone(), names.clone());
        Box::pin(async move {
            match purpose {
                // Connecting asks for this first. It gives the socket no address that others could know.
                SocketAddrUse::TcpBind if address.ip().is_unspecified() && address.port() == 0 => true,
                SocketAddrUse::TcpConnect => match connect(&warden, &names, address) {
                    Ok(to) => {
                        warden.used(|used| &mut used.tcp, &to);
                        true
                    }
                    Err(reason) => {
                        warden.note_refusal(reason);
                        false
                    }
                },
                _ => {
                    let name = &warden.name;
                    warden.note_refusal(format!(
                        "plugin {name} wanted others to connect to it, which no plugin may"
                    ));
                    false
                }
            }
        })
    });
}

/// What a connection is to, as it is granted; or why it may not be made.
fn connect(warden: &Warden, names: &Names, address: SocketAddr) -> Result<String, String> {
    let (ip, port) = (address.ip().to_canonical(), address.port());
    let text = ip.to_string();
    if warden.grants.tcp(&text, port).is_some() {
        return Ok(SocketAddr::new(ip, port).to_string());
    }
    let known = names.of(ip);
    let mut refusal = None;
    for name in &known {
        match warden.grants.tcp(name, port).map(|reach| warden.grants.address(reach, ip)) {
            Some(Ok(())) => return Ok(format!("{name}:{port}")),
            Some(Err(reason)) => refusal = Some(reason),
            None => {}
        }
    }
    Err(refusal.unwrap_or_else(|| warden.grants.tcp_denial(known.first().unwrap_or(&text), port)))
}

impl Names {
    fn add(&self, address: IpAddr, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(address).or_default().insert(name.to_owned());
    }

    fn of(&self, address: IpAddr) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned().unwrap_or_default()
    }
}

/// `ip-name-lookup`, in the place of wasmtime's.
pub(crate) fn add_lookup(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    ip_name_lookup::add_to_linker::<_, Guarded>(linker, |guest| View(guest))
}

/// `tcp-create-socket`, in the place of wasmtime's.
pub(crate) fn add_creation(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    tcp_create_socket::add_to_linker::<_, Guarded>(linker, |guest| View(guest))
}

/// wasmtime's `tcp`, with an end of sockets that gives the right to them back.
pub(crate) fn add_tcp(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    tcp::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    linker.allow_shadowing(true);
    linker.instance("wasi:sockets/tcp@0.2.12")?.resource(
        "tcp-socket",
        ResourceType::host::<TcpSocket>(),
        |mut store, handle| {
            let guest: &mut Guest = store.data_mut();
            guest.ctx().table.delete(Resource::<TcpSocket>::new_own(handle))?;
            guest.sockets.permits.remove(&handle);
            Ok(())
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Guarded;

impl HasData for Guarded {
    type Data<'a> = View<'a>;
}

struct View<'a>(&'a mut Guest);

impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.0.sockets(), error)
    }
}

impl HostNetwork for View<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        HostNetwork::drop(&mut self.0.sockets(), network)
    }
}

impl ip_name_lookup::Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> wasmtime::Result<Resource<ResolveAddressStream>, SocketError> {
        let reach = self.0.warden.grants.lookup(&name).map_err(|denial| {
            self.0.warden.note_refusal(denial);
            SocketError::from(ErrorCode::AccessDenied)
        })?;
        let stream = ip_name_lookup::Host::resolve_addresses(&mut self.0.sockets(), network, name.clone())?;
        let name = name.to_ascii_lowercase();
        self.0.sockets.lookups.insert(stream.rep(), Lookup { name, reach, refused: None });
        Ok(stream)
    }
}

impl HostResolveAddressStream for View<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let handle = stream.rep();
        loop {
            let again = Resource::new_borrow(handle);
            let next = HostResolveAddressStream::resolve_next_address(&mut self.0.sockets(), again)?;
            let Guest { sockets: Sockets { names, lookups, .. }, warden, .. } = &mut *self.0;
            let Some(lookup) = lookups.get_mut(&handle) else { return Ok(next) };
            let Some(address) = next else {
                let Some(reason) = lookup.refused.take() else { return Ok(None) };
                warden.note_refusal(reason);
                return Err(ErrorCode::AccessDenied.into());
            };
            let ip = ip(address);
            match warden.grants.address(lookup.reach, ip) {
                Ok(()) => {
                    names.add(ip, &lookup.name);
                    return Ok(Some(address));
                }
                Err(reason) => lookup.refused = Some(reason),
            }
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        HostResolveAddressStream::subscribe(&mut self.0.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.0.sockets.lookups.remove(&stream.rep());
        HostResolveAddressStream::drop(&mut self.0.sockets(), stream)
    }
}

fn ip(address: IpAddress) -> IpAddr {
    let ip: IpAddr = match address {
        IpAddress::Ipv4(parts) => <[u8; 4]>::from(parts).into(),
        IpAddress::Ipv6(parts) => <[u16; 8]>::from(parts).into(),
    };
    ip.to_canonical()
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        let permit = self.0.warden.connection().map_err(|reason| {
            self.0.warden.note_refusal(reason);
            SocketError::from(ErrorCode::NewSocketLimit)
        })?;
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.0.sockets(), family)?;
        self.0.sockets.permits.insert(socket.rep(), permit);
        Ok(socket)
    }
}
