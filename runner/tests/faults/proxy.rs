//! A network that can be had to fail: a relay on loopback between the runners and a server.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Good,
    /// Connections are refused; those that are there go on.
    Refusing,
    /// Connections are taken, and nothing passes.
    Silent,
    /// What passes is late.
    Late(Duration),
    /// What is asked passes. The answer to a write is dropped, and its connection reset.
    Forgetful,
}

/// How long a relay sleeps before it looks at the network again.
const LOOK: Duration = Duration::from_millis(10);

/// The relay. It runs until the test ends.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    network: Mutex<Network>,
    /// Rises when all connections are to be reset.
    cuts: AtomicU64,
    reset: AtomicU64,
    lost: AtomicU64,
    held: AtomicU64,
    refusing: AtomicBool,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            network: Mutex::new(Network::Good),
            cuts: AtomicU64::new(0),
            reset: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            held: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
        });
        let all = shared.clone();
        thread::spawn(move || all.accept(listener, port));
        Proxy { port, shared }
    }

    /// Sets how the network is, and waits until it is so.
    pub(crate) fn set(&self, network: Network) {
        *self.shared.network.lock().unwrap() = network;
        let refusing = network == Network::Refusing;
        while self.shared.refusing.load(Ordering::SeqCst) != refusing {
            thread::sleep(LOOK);
        }
    }

    /// Resets all connections.
    pub(crate) fn cut(&self) {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// How many connections were reset, how many answers were dropped, and how many pieces were held back, so far.
    pub(crate) fn harmed(&self) -> [u64; 3] {
        let Shared { reset, lost, held, .. } = &*self.shared;
        [reset, lost, held].map(|count| count.load(Ordering::SeqCst))
    }
}

impl Shared {
    fn network(&self) -> Network {
        *self.network.lock().unwrap()
    }

    /// Takes connections. Where they are to be refused, nobody listens.
    fn accept(self: Arc<Self>, listener: TcpListener, port: u16) {
        let mut listening = Some(listener);
        loop {
            if self.network() == Network::Refusing {
                listening = None;
                self.refusing.store(true, Ordering::SeqCst);
                thread::sleep(LOOK);
                continue;
            }
            let Some(listener) = &listening else {
                // The port may be lent to somebody for a moment.
                match TcpListener::bind(("127.0.0.1", port)) {
                    Ok(listener) => {
                        listening = Some(listener);
                        self.refusing.store(false, Ordering::SeqCst);
                    }
                    Err(_) => thread::sleep(LOOK),
                }
                continue;
            };
            listener.set_nonblocking(true).unwrap();
            match listener.accept() {
                Ok((client, _)) => {
                    let shared = self.clone();
                    thread::spawn(move || shared.relay(client));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK / 2),
                Err(error) => panic!("the proxy cannot take connections: {error}"),
            }
        }
    }

    fn relay(&self, client: TcpStream) {
        client.set_nonblocking(false).unwrap();
        let Ok(server) = TcpStream::connect(self.server) else {
            // As a network does whose server is down.
            return reset(client);
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            // Nobody hangs on somebody who does not read.
            stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        let end = self.pass(&client, &server);
        match end {
            End::Closed => {
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            }
            End::Reset => {
                reset(client);
                reset(server);
            }
        }
    }

    /// Passes on what comes, until one side closes or the connection is cut.
    fn pass(&self, mut client: &TcpStream, mut server: &TcpStream) -> End {
        let cuts = self.cuts.load(Ordering::SeqCst);
        let mut buffer = vec![0; 64 << 10];
        let mut writes = false;
        loop {
            if self.cuts.load(Ordering::SeqCst) != cuts {
                self.reset.fetch_add(1, Ordering::SeqCst);
                return End::Reset;
            }
            let network = self.network();
            let (from_client, from_server) = readable(client, server);
            if !from_client && !from_server {
                continue;
            }
            match network {
                Network::Silent => {
                    self.held.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(LOOK);
                    continue;
                }
                Network::Late(time) => {
                    self.held.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(time);
                }
                Network::Good | Network::Refusing | Network::Forgetful => {}
            }
            if from_client {
                let Ok(read @ 1..) = client.read(&mut buffer) else { return End::Closed };
                writes |= is_write(&buffer[..read]);
                if server.write_all(&buffer[..read]).is_err() {
                    return End::Closed;
                }
            }
            if from_server {
                let Ok(read @ 1..) = server.read(&mut buffer) else { return End::Closed };
                // The server has answered, so it is done.
                if writes && network == Network::Forgetful {
                    self.lost.fetch_add(1, Ordering::SeqCst);
                    return End::Reset;
                }
                writes = false;
                if client.write_all(&buffer[..read]).is_err() {
                    return End::Closed;
                }
            }
        }
    }
}

enum End {
    Closed,
    Reset,
}

/// Which of them have something to read, within a moment.
fn readable(client: &TcpStream, server: &TcpStream) -> (bool, bool) {
    let mut both = [PollFd::new(client, PollFlags::IN), PollFd::new(server, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
    let _ = poll(&mut both, Some(&timeout));
    (!both[0].revents().is_empty(), !both[1].revents().is_empty())
}

/// Whether a client asks for something to be written, in SQL.
fn is_write(bytes: &[u8]) -> bool {
    [b"INSERT INTO".as_slice(), b"UPDATE ".as_slice()]
        .iter()
        .any(|word| bytes.windows(word.len()).any(|window| window == *word))
}

/// Closes without a word of parting.
fn reset(stream: TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}
