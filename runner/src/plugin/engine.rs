//! What all plugins of a run share: the compiler, the linker, their runtime, and the ticker that interrupts
//! them.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};
use wasmtime::{
    Config, Engine, OptLevel, Store,
    component::{Component, HasSelf, InstancePre, Linker},
};

use crate::plugin::{
    Grants, PluginError,
    bindings::step::StepType,
    client::Client,
    given::Given,
    guest::{Guest, Io, Tail},
    host::sockets,
    locate::Located,
    warden::Warden,
};

/// How often a running guest gives way to others.
const TICK: Duration = Duration::from_millis(10);
/// How much a guest may hand to the host in one call.
pub(crate) const HOSTCALL_FUEL: usize = 64 << 20;

/// Compiles plugins and runs their calls.
pub struct Host {
    engine: Engine,
    linker: Linker<Guest>,
    handle: Handle,
    /// Taken when the host goes.
    runtime: Option<Runtime>,
}

/// A plugin that is compiled and linked: instances of it cost microseconds.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) name: Arc<str>,
    pub(crate) grants: Arc<Grants>,
    /// What it asks for and does not have, to say when it fails.
    pub(crate) lacking: Option<Arc<str>>,
    pub(crate) runtime: Handle,
    /// Sends the requests of all its instances, so that connections are kept.
    client: Client,
    engine: Engine,
}

/// The one configuration of the compiler.
fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.cranelift_opt_level(OptLevel::Speed);
    // Guests are built with `panic = "abort"`; nothing walks their stacks.
    config.native_unwind_info(false);
    config
}

impl Host {
    /// Starts the runtime and the ticker.
    pub fn new() -> Result<Self, PluginError> {
        let fail = |what: &str, error: &dyn std::fmt::Display| {
            PluginError::new(format!("cannot start the plugin host: {what}: {error}"))
        };
        let engine = Engine::new(&config()).map_err(|error| fail("the compiler", &error))?;
        let linker = linker(&engine).map_err(|error| fail("the linker", &error))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("plugin")
            // A guest occupies its worker for a whole tick: look at timers and new tasks between any two.
            .event_interval(1)
            .global_queue_interval(1)
            .enable_all()
            .build()
            .map_err(|error| fail("its runtime", &error))?;
        start_ticker(&engine).map_err(|error| fail("its clock", &error))?;
        Ok(Host { engine, linker, handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs something beside the run loop, on the plugins' runtime.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(task)
    }

    /// Waits for something that calls plugins.
    pub fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.handle.block_on(task)
    }

    /// Compiles a plugin, to be called with these grants.
    pub(crate) fn compile(&self, located: &Located, grants: Grants) -> Result<Compiled, PluginError> {
        let name = &located.manifest.name;
        let component = Component::from_binary(&self.engine, &located.bytes).map_err(|error| {
            PluginError::new(format!("plugin {name} cannot be compiled: {}", error.root_cause()))
                .help(format!("{} is damaged or needs a newer dcd; build it again", located.path.display()))
        })?;
        let pre = self.linker.instantiate_pre(&component).map_err(|error| {
            PluginError::new(format!("plugin {name} imports what dcd does not have: {}", error.root_cause()))
                .help("rebuild it with the dcd-plugin-sdk crate of this dcd's version")
        })?;
        let lacking = grants.lacking(&located.manifest);
        let grants = Arc::new(grants);
        Ok(Compiled {
            pre,
            name: name.as_str().into(),
            lacking: lacking.map(Into::into),
            client: Client::new(grants.clone()),
            grants,
            runtime: self.handle.clone(),
            engine: self.engine.clone(),
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A guest that does not end must not keep the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Compiled {
    /// For an instance that does its work.
    pub(crate) fn warden(&self, io: Io) -> Warden {
        Warden::new(self.name.clone(), self.grants.clone(), io)
    }

    /// For an instance that is only asked about itself: it may touch nothing at all.
    pub(crate) fn strict_warden(&self) -> Warden {
        Warden::new(self.name.clone(), Arc::new(self.grants.none()), Io::Tail(Tail::default()))
    }

    /// A place for one instance.
    pub(crate) fn store(&self, warden: &Warden, given: Given) -> Result<Store<Guest>, PluginError> {
        let guest = Guest::new(warden.clone(), given, self.client.clone())?;
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest.limits());
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(store)
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    sockets::add_to_linker(&mut linker)?;
    // The interfaces of the step world are all there are: the other world has some of them.
    StepType::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// A thread, not a task: it must tick also when every worker is busy in a guest.
fn start_ticker(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("plugin-clock".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}
