//! What the host keeps for one instance of a plugin.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::sync::mpsc;
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{
    FsPerms, HostWallClock, WasiCtx, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    engine::message::{StepContent, StepIndex, StepMessage},
    event::StepLog,
    pipeline::size,
    plugin::{
        PluginError,
        client::Client,
        given::Given,
        host::{
            http::Outgoing,
            sockets::{self, Sockets},
        },
        warden::Warden,
    },
    text::clip,
};

const TABLE_LIMIT: usize = 100_000;
/// How many modules, tables and memories a component may be made of: the usual one has four or five.
const PARTS_LIMIT: usize = 100;
/// How much is taken from a guest in one write.
const WRITE_PERMIT: usize = 64 << 10;
/// How long a text may be that a plugin says beside its output. More is cut.
pub(crate) const SAID_LIMIT: usize = 64 << 10;
const FIELD_LIMIT: usize = 4 << 10;
const FIELDS_LIMIT: usize = 64;
/// How much of what a plugin says outside a step is kept, for its errors.
const TAIL: usize = 8 << 10;

/// Where a guest's output and log go.
#[derive(Clone)]
pub(crate) enum Io {
    /// To the step that it runs.
    Step { messages: mpsc::Sender<StepMessage>, step: StepIndex, cancelled: Arc<AtomicBool> },
    /// The end of it is kept, for when something goes wrong.
    Tail(Tail),
}

/// The newest of what a guest said.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<Vec<u8>>>);

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) warden: Warden,
    pub(crate) given: Given,
    pub(crate) sockets: Sockets,
    table: ResourceTable,
    wasi: WasiCtx,
    http_ctx: WasiHttpCtx,
    http: Outgoing,
    limits: Limits,
}

/// A plugin wanted more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("it used more than its limit of {} of memory", size::format(*limit))]
pub(crate) struct MemoryExceeded {
    pub(crate) limit: u64,
}

/// Bounds what all memories of an instance have together.
struct Limits {
    memory: u64,
    limit: u64,
}

impl Guest {
    pub(crate) fn new(warden: Warden, given: Given, client: Client) -> Result<Self, PluginError> {
        let (name, grants, sockets) = (&warden.name, &warden.grants, Sockets::default());
        let mut wasi = WasiCtx::builder();
        wasi.envs(&grants.env()).envs(&given.env);
        wasi.stdout(GuestOutput(warden.io.clone())).stderr(GuestOutput(warden.io.clone()));
        sockets::allow(&mut wasi, &warden, &sockets);
        if given.clock_ahead_ms != 0 {
            wasi.wall_clock(WrongClock(given.clock_ahead_ms));
        }
        for directory in grants.directories() {
            let path = directory.path.display().to_string();
            let access = if directory.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            wasi.preopened_dir(&directory.path, &path, access).map_err(|error| {
                PluginError::new(format!(
                    "the directory {path}, which plugin {name} is granted, cannot be opened: {error}"
                ))
                .help("create it, or mount it into the container at this path")
            })?;
        }
        Ok(Guest {
            http: Outgoing::new(warden.clone(), client),
            limits: Limits { memory: 0, limit: grants.limits().memory },
            warden,
            given,
            sockets,
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http_ctx: WasiHttpCtx::new(),
        })
    }

    pub(crate) fn limits(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    pub(crate) fn cancelled(&self) -> bool {
        match &self.warden.io {
            Io::Step { cancelled, .. } => cancelled.load(Ordering::Relaxed),
            Io::Tail(_) => false,
        }
    }

    pub(crate) async fn log(&mut self, mut log: StepLog) {
        log.message = clip(&log.message, SAID_LIMIT).to_owned();
        log.fields.truncate(FIELDS_LIMIT);
        for (key, value) in &mut log.fields {
            *key = clip(key, FIELD_LIMIT).to_owned();
            *value = clip(value, FIELD_LIMIT).to_owned();
        }
        self.warden.io.log(log).await;
    }
}

impl Io {
    pub(crate) async fn log(&self, log: StepLog) {
        match self {
            Io::Step { messages, step, .. } => {
                let _ = messages.send(StepMessage { step: *step, content: StepContent::Log(log) }).await;
            }
            Io::Tail(tail) => tail.push(format!("{}: {}\n", log.level, log.message).as_bytes()),
        }
    }
}

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let over = tail.len().saturating_sub(TAIL);
        tail.drain(..over);
    }

    /// What was kept so far.
    pub(crate) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http_ctx, table: &mut self.table, hooks: &mut self.http }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.memory += desired.saturating_sub(current) as u64;
        if self.memory > self.limit {
            return Err(MemoryExceeded { limit: self.limit }.into());
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_LIMIT)
    }

    fn instances(&self) -> usize {
        PARTS_LIMIT
    }

    fn tables(&self) -> usize {
        PARTS_LIMIT
    }

    fn memories(&self) -> usize {
        PARTS_LIMIT
    }
}

/// A clock that is so many milliseconds ahead.
struct WrongClock(i64);

impl HostWallClock for WrongClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        let right = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let off = Duration::from_millis(self.0.unsigned_abs());
        if self.0 > 0 { right + off } else { right.saturating_sub(off) }
    }
}

/// A guest's stdout or stderr. Both go into the same channel at once, so their order is exact.
struct GuestOutput(Io);

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only asked for by WASI 0.3, which the linker does not offer.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(GuestStream { io: self.0.clone(), waiting: None })
    }
}

struct GuestStream {
    io: Io,
    /// Written while the channel was full.
    waiting: Option<StepMessage>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {
        let (Io::Step { messages, .. }, Some(_)) = (&self.io, &self.waiting) else { return };
        // Reserving first: a cancelled wait must not lose what waits.
        if let Ok(permit) = messages.reserve().await
            && let Some(message) = self.waiting.take()
        {
            permit.send(message);
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match &self.io {
            Io::Tail(tail) => tail.push(&bytes),
            Io::Step { messages, step, .. } if !bytes.is_empty() => {
                let message = StepMessage { step: *step, content: StepContent::Output(bytes) };
                match messages.try_send(message) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(message)) => self.waiting = Some(message),
                    Err(mpsc::error::TrySendError::Closed(_)) => return Err(StreamError::Closed),
                }
            }
            Io::Step { .. } => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match &self.io {
            Io::Tail(_) => Ok(WRITE_PERMIT),
            Io::Step { messages, .. } if messages.is_closed() => Err(StreamError::Closed),
            // One piece may wait here, so that ready means ready, however many others write.
            Io::Step { .. } => Ok(if self.waiting.is_none() { WRITE_PERMIT } else { 0 }),
        }
    }
}
