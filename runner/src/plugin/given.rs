//! What an instance is given for its work, beside what its grants let it take.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    engine::{message::Stop, ports::programs::Programs},
    event::Problem,
};

/// The pipeline's secrets by their names: the value, or why there is none.
pub type Secrets = BTreeMap<String, Result<String, Problem>>;

/// Answers requests in the network's stead.
pub trait Answers: Send + Sync {
    /// The answer. `None`: nobody is there.
    fn answer(&self, request: http::Request<Bytes>) -> Option<http::Response<Bytes>>;
}

/// What an instance is given. The default is nothing.
#[derive(Clone, Default)]
pub(crate) struct Given {
    /// Variables.
    pub(crate) env: Vec<(String, String)>,
    /// All secrets of the pipeline. Which of them it gets is looked at when it asks.
    pub(crate) secrets: Arc<Secrets>,
    /// Names of secrets that it gets without a grant: its step names them.
    pub(crate) own_secrets: Vec<String>,
    /// What its programs get. `None`: it has no business with programs.
    pub(crate) workshop: Option<Workshop>,
    /// How far its clock is ahead of this machine's, in milliseconds: for tests of what must not depend on it.
    pub(crate) clock_ahead_ms: i64,
}

/// What it takes to run programs.
#[derive(Clone)]
pub struct Workshop {
    /// Starts them.
    pub programs: Arc<dyn Programs>,
    /// Their variables, beside those that are granted.
    pub env: Vec<(String, String)>,
    /// The workspace; absolute.
    pub workspace: PathBuf,
    /// The directories that they are looked for in: dcd's own `PATH`, unless this is changed.
    pub path: Option<OsString>,
    /// Stops the one that runs.
    pub(crate) running: Running,
}

/// The program that runs, to be stopped with its step; and whether any is left.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Option<mpsc::UnboundedSender<Stop>>>>);

impl Workshop {
    /// Programs with these variables.
    pub fn new(programs: Arc<dyn Programs>, env: Vec<(String, String)>, workspace: PathBuf) -> Self {
        Workshop { programs, env, workspace, path: std::env::var_os("PATH"), running: Running::default() }
    }
}

/// Says how many there are: their values are not for logs.
impl std::fmt::Debug for Workshop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

impl Running {
    /// From now on this one runs.
    pub(crate) fn set(&self, control: mpsc::UnboundedSender<Stop>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(control);
    }

    /// Stops it, if one runs.
    pub(crate) fn stop(&self, stop: Stop) {
        if let Some(control) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // One that has just ended does not listen any more.
            let _ = control.send(stop);
        }
    }

    /// Until the last one has ended, which must have been told to.
    pub(crate) async fn ended(&self) {
        let control = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(control) = control {
            control.closed().await;
        }
    }
}
