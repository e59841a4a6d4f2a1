//! What plugins are linked with: of all that there is for them, only what they import.
//!
//! All of it is some three hundred functions, which took as long as a small plugin's digest. Most plugins need a third.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wasmtime::{
    Engine,
    component::{Component, HasData, HasSelf, InstancePre, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiView,
    cli::{WasiCli, WasiCliView},
    clocks::{WasiClocks, WasiClocksView},
    filesystem::{WasiFilesystem, WasiFilesystemView},
    p2::bindings::{cli, clocks, filesystem, random, sockets},
    random::{WasiRandom, WasiRandomView},
    sockets::{WasiSockets, WasiSocketsView},
};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView, p2::bindings::http};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::plugin::{
    bindings::{command, log, run_control, secrets, types},
    guest::Guest,
    host::sockets as guarded,
};

/// The linker of all plugins of a run.
pub(crate) struct Links(Mutex<Known>);

struct Known {
    linker: Linker<Guest>,
    /// What is in it, without versions.
    interfaces: BTreeSet<String>,
}

impl Links {
    pub(crate) fn new(engine: &Engine) -> Self {
        Links(Mutex::new(Known { linker: Linker::new(engine), interfaces: BTreeSet::new() }))
    }

    /// Gets ready to link what imports this, such as `wasi:io/streams@0.2.12`.
    pub(crate) fn prepare(&self, imports: &[String]) -> wasmtime::Result<()> {
        let Known { linker, interfaces } = &mut *self.known();
        for import in imports {
            let interface = import.split('@').next().unwrap_or(import);
            if !interfaces.contains(interface) {
                add(linker, interface)?;
                interfaces.insert(interface.to_owned());
            }
        }
        Ok(())
    }

    /// Links a component whose imports were prepared. One that is not there for plugins is an error.
    pub(crate) fn link(&self, component: &Component) -> wasmtime::Result<InstancePre<Guest>> {
        self.known().linker.instantiate_pre(component)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `wasi:io` has of a guest.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Adds an interface, if there is one of that name.
fn add(linker: &mut Linker<Guest>, interface: &str) -> wasmtime::Result<()> {
    let Some((package, name)) = interface.split_once('/') else { return Ok(()) };
    match package {
        "dcd:plugin" => add_ours(linker, name),
        "wasi:cli" => add_cli(linker, name),
        "wasi:sockets" => add_sockets(linker, name),
        "wasi:io" => match name {
            "error" => io::error::add_to_linker::<_, Table>(linker, |guest| guest.ctx().table),
            "poll" => io::poll::add_to_linker::<_, Table>(linker, |guest| guest.ctx().table),
            "streams" => io::streams::add_to_linker::<_, Table>(linker, |guest| guest.ctx().table),
            _ => Ok(()),
        },
        "wasi:clocks" => match name {
            "monotonic-clock" => {
                clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)
            }
            "wall-clock" => clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks),
            _ => Ok(()),
        },
        "wasi:random" => match name {
            "random" => random::random::add_to_linker::<_, WasiRandom>(linker, Guest::random),
            "insecure" => random::insecure::add_to_linker::<_, WasiRandom>(linker, Guest::random),
            "insecure-seed" => random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, Guest::random),
            _ => Ok(()),
        },
        "wasi:filesystem" => match name {
            "types" => filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem),
            "preopens" => filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem),
            _ => Ok(()),
        },
        "wasi:http" => match name {
            "types" => {
                let options = http::types::LinkOptions::default();
                http::types::add_to_linker::<_, WasiHttp>(linker, &options, Guest::http)
            }
            "outgoing-handler" => http::outgoing_handler::add_to_linker::<_, WasiHttp>(linker, Guest::http),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn add_ours(linker: &mut Linker<Guest>, name: &str) -> wasmtime::Result<()> {
    match name {
        "types" => types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest),
        "log" => log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest),
        "secrets" => secrets::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest),
        "command" => command::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest),
        "run-control" => run_control::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest),
        _ => Ok(()),
    }
}

fn add_cli(linker: &mut Linker<Guest>, name: &str) -> wasmtime::Result<()> {
    match name {
        "environment" => cli::environment::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "exit" => cli::exit::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "stdin" => cli::stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "stdout" => cli::stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "stderr" => cli::stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "terminal-input" => cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "terminal-output" => cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "terminal-stdin" => cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "terminal-stdout" => cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        "terminal-stderr" => cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli),
        _ => Ok(()),
    }
}

/// Looking names up, and making sockets, is ours.
fn add_sockets(linker: &mut Linker<Guest>, name: &str) -> wasmtime::Result<()> {
    match name {
        "instance-network" => {
            sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)
        }
        "network" => {
            let options = sockets::network::LinkOptions::default();
            sockets::network::add_to_linker::<_, WasiSockets>(linker, &options, Guest::sockets)
        }
        "ip-name-lookup" => guarded::add_lookup(linker),
        "tcp-create-socket" => guarded::add_creation(linker),
        "tcp" => guarded::add_tcp(linker),
        "udp" => sockets::udp::add_to_linker::<_, WasiSockets>(linker, Guest::sockets),
        "udp-create-socket" => {
            sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `wasi:cli/imports` and `wasi:http` have, which is what a plugin in Python or JavaScript imports; and ours.
    const ALL: [&str; 35] = [
        "dcd:plugin/log",
        "dcd:plugin/secrets",
        "dcd:plugin/command",
        "dcd:plugin/run-control",
        "wasi:cli/environment",
        "wasi:cli/exit",
        "wasi:cli/stdin",
        "wasi:cli/stdout",
        "wasi:cli/stderr",
        "wasi:cli/terminal-input",
        "wasi:cli/terminal-output",
        "wasi:cli/terminal-stdin",
        "wasi:cli/terminal-stdout",
        "wasi:cli/terminal-stderr",
        "wasi:clocks/monotonic-clock",
        "wasi:clocks/wall-clock",
        "wasi:filesystem/preopens",
        "wasi:filesystem/types",
        "wasi:http/outgoing-handler",
        "wasi:http/types",
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:random/insecure",
        "wasi:random/insecure-seed",
        "wasi:random/random",
        "wasi:sockets/instance-network",
        "wasi:sockets/ip-name-lookup",
        "wasi:sockets/network",
        "wasi:sockets/tcp",
        "wasi:sockets/tcp-create-socket",
        "wasi:sockets/udp",
        "wasi:sockets/udp-create-socket",
        "dcd:plugin/types",
        "dcd:plugin/build-types",
    ];

    #[test]
    fn every_interface_is_known_by_its_name() {
        let mut linker = Linker::new(&Engine::default());
        for interface in ALL {
            add(&mut linker, interface).unwrap();
            // What is there already cannot be added again. The last two have only types.
            let again = add(&mut linker, interface);
            assert_eq!(
                again.is_err(),
                !interface.ends_with("types") || interface.starts_with("wasi"),
                "{interface}"
            );
        }
    }
}
