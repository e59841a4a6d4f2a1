//! What all plugins of a run share: the engine, the linker, their runtime, and the ticker that interrupts
//! them.

use std::{
    fmt::Display,
    future::Future,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};
use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre},
};

use crate::plugin::{
    Grants, Manifest, PluginError,
    client::Client,
    compiler,
    given::{Answers, Given},
    guest::{Guest, Io, Tail},
    linker::Links,
    locate::Located,
    sidecar::Installed,
    warden::Warden,
};

/// How often a running guest gives way to others.
const TICK: Duration = Duration::from_millis(10);
/// How much a guest may hand to the host in one call.
pub(crate) const HOSTCALL_FUEL: usize = 64 << 20;

/// Compiles plugins and runs their calls.
pub struct Host {
    engine: Engine,
    links: Links,
    workers: Workers,
    hints: Mutex<Vec<Hint>>,
}

/// The runtime that guests run on. It starts while the first plugin is loaded.
struct Workers {
    starting: Mutex<Option<thread::JoinHandle<io::Result<Runtime>>>>,
    started: OnceLock<Result<Runtime, PluginError>>,
}

/// A plugin that is compiled and linked: instances of it cost microseconds.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) name: Arc<str>,
    pub(crate) grants: Arc<Grants>,
    /// What it asks for and does not have, to say when it fails.
    lacking: Option<Arc<str>>,
    pub(crate) runtime: Handle,
    /// Sends the requests of all its instances, so that connections are kept.
    client: Client,
    engine: Engine,
}

/// A plugin had to be compiled when it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which.
    pub plugin: String,
    /// Its file.
    pub path: PathBuf,
    /// Why its compiled form could not be taken, if it is installed.
    pub stale: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Host {
    /// Starts the runtime and the ticker.
    pub fn new() -> Result<Self, PluginError> {
        let engine = compiler::runtime().map_err(|error| unstarted("its engine", &error))?;
        let workers = Workers::start();
        start_ticker(&engine).map_err(|error| unstarted("its clock", &error))?;
        let links = Links::new(&engine);
        Ok(Host { engine, links, workers, hints: Mutex::default() })
    }

    /// Runs something beside the run loop, on the plugins' runtime.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle().spawn(task)
    }

    /// The runtime, for threads that wait for plugins.
    #[allow(
        clippy::expect_used,
        reason = "who waits for a plugin has loaded it, and that waited for the runtime"
    )]
    pub(crate) fn handle(&self) -> Handle {
        self.workers.handle().expect("no plugin is loaded without a runtime")
    }

    /// Waits for something that calls plugins.
    pub fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.handle().block_on(task)
    }

    /// What would have gone faster, since this was last asked.
    pub fn hints(&self) -> Vec<Hint> {
        std::mem::take(&mut *self.hints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compiles a plugin, or takes its compiled form, to be called with these grants.
    pub(crate) fn compile(&self, located: &Located, grants: Grants) -> Result<Compiled, PluginError> {
        let name = &located.manifest.name;
        let unlinked = |error: wasmtime::Error| {
            PluginError::new(format!("plugin {name} imports what dcd does not have: {}", error.root_cause()))
                .help("rebuild it with the dcd-plugin-sdk crate of this dcd's version")
        };
        // First, as the digest of the compiled form is being made meanwhile.
        self.links.prepare(&located.imports).map_err(unlinked)?;
        let component = self.component(located)?;
        let pre = self.links.link(&component).map_err(unlinked)?;
        let lacking = grants.lacking(&located.manifest);
        let grants = Arc::new(grants);
        Ok(Compiled {
            pre,
            name: name.as_str().into(),
            lacking: lacking.map(Into::into),
            client: Client::new(grants.clone()),
            grants,
            runtime: self.workers.handle()?,
            engine: self.engine.clone(),
        })
    }

    fn component(&self, located: &Located) -> Result<Component, PluginError> {
        let stale = match &located.installed {
            Installed::Fresh(native) => match native.verified(&located.path)? {
                Ok(file) => match compiler::load(&self.engine, file) {
                    Ok(component) => return Ok(component),
                    Err(error) => Some(format!("its compiled form cannot be loaded: {}", error.root_cause())),
                },
                Err(why) => Some(why),
            },
            Installed::Stale(why) => Some(why.clone()),
            Installed::Elsewhere | Installed::No => None,
        };
        let name = &located.manifest.name;
        let start = Instant::now();
        let component = compiler::compile(&self.engine, &located.bytes()?).map_err(|error| {
            PluginError::new(format!("plugin {name} cannot be compiled: {}", error.root_cause()))
                .help(format!("{} is damaged or needs a newer dcd; build it again", located.path.display()))
        })?;
        if !matches!(located.installed, Installed::Elsewhere) {
            let (plugin, path) = (name.clone(), located.path.clone());
            let hint = Hint { plugin, path, stale, took: start.elapsed() };
            self.hints.lock().unwrap_or_else(PoisonError::into_inner).push(hint);
        }
        Ok(component)
    }
}

impl Workers {
    fn start() -> Self {
        // Without a thread it starts when it is needed.
        let starting = thread::Builder::new().name("plugin-start".into()).spawn(runtime).ok();
        Workers { starting: Mutex::new(starting), started: OnceLock::new() }
    }

    fn handle(&self) -> Result<Handle, PluginError> {
        let started = self.started.get_or_init(|| {
            let starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner).take();
            let started = starting.and_then(|thread| thread.join().ok()).unwrap_or_else(runtime);
            started.map_err(|error| unstarted("its runtime", &error))
        });
        started.as_ref().map(|runtime| runtime.handle().clone()).map_err(Clone::clone)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let starting = self.starting.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // One that starts yet goes by itself.
        let unused = starting.filter(thread::JoinHandle::is_finished).and_then(|thread| thread.join().ok());
        // A guest that does not end must not keep the process.
        for runtime in self.started.take().into_iter().flatten().chain(unused.into_iter().flatten()) {
            runtime.shutdown_background();
        }
    }
}

fn unstarted(what: &str, error: &dyn Display) -> PluginError {
    PluginError::new(format!("cannot start the plugin host: {what}: {error}"))
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("plugin")
        // A guest occupies its worker for a whole tick: look at timers and new tasks between any two.
        .event_interval(1)
        .global_queue_interval(1)
        .enable_all()
        .build()
}

impl Compiled {
    /// The same with these grants instead, and an HTTP client to which `answers` gives the answers.
    pub(crate) fn rehearsal(&self, manifest: &Manifest, grants: Grants, answers: Arc<dyn Answers>) -> Self {
        let lacking = grants.lacking(manifest).map(Into::into);
        let grants = Arc::new(grants);
        let client = Client::answered_by(grants.clone(), answers);
        Compiled { grants, lacking, client, ..self.clone() }
    }

    /// What it lacks, if that may be why it failed so: files that it is not granted are simply not there for it.
    pub(crate) fn lacking_for(&self, message: &str) -> Option<String> {
        self.lacking.as_deref().filter(|_| message.contains("(os error ")).map(str::to_owned)
    }

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

/// A thread, not a task: it must tick also when every worker is busy in a guest.
fn start_ticker(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    thread::Builder::new().name("plugin-clock".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    })?;
    Ok(())
}
