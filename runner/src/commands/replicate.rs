//! Replicating a build to the history backend that its pipeline names.

use std::{path::Path, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    commands::output::warn,
    engine::{
        Late,
        ports::{
            Progress,
            backend::{Backend, BackendError, NewBuild},
        },
    },
    error::CommandError,
    event::{Body, BuildNumbered},
    history::{self, UploadError, Uploader},
    journal::JournalTail,
    pipeline::duration,
    plugin::{Host, backend::HistoryPlugin},
};

/// How long a build waits for its number before it starts without one.
const NUMBER_WAIT: Duration = Duration::from_secs(5);
/// How much later than the uploader itself its end is given up.
const GLANCE: Duration = Duration::from_secs(1);

/// Says how long the end of a build waits for a backend that takes nothing.
const WAIT: &str = "DCD_HISTORY_WAIT";

/// How long the end of a build waits for a backend that takes nothing.
pub(super) fn wait() -> Result<Duration, CommandError> {
    let text = std::env::var_os(WAIT).unwrap_or_default().to_string_lossy().into_owned();
    match text.as_str() {
        "" => Ok(history::PATIENCE),
        // Everywhere else a duration that is zero is a mistake.
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration::parse(text).map_err(|wrong| {
            CommandError::usage(
                format!("the variable {WAIT} is no duration: {wrong}"),
                "set it to `5s`, or unset it",
            )
        }),
    }
}

/// A replication that is under way.
pub(super) struct Replication {
    backend: String,
    task: JoinHandle<Result<u64, UploadError>>,
    taken: watch::Receiver<u64>,
    begun: mpsc::UnboundedReceiver<Result<u64, BackendError>>,
    patience: Duration,
}

impl Replication {
    /// Starts it on the plugins' runtime.
    pub(super) fn start(
        host: &Host,
        plugin: HistoryPlugin,
        build: NewBuild,
        journal: &Path,
        progress: watch::Receiver<Progress>,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let backend = plugin.name().to_owned();
        let uploader = Uploader::new(plugin, JournalTail::open(journal)?, build, progress);
        let mut uploader = uploader.patient(patience);
        let taken = uploader.taken();
        let (sender, begun) = mpsc::unbounded_channel();
        let task = host.spawn(async move { uploader.run(sender).await });
        Ok(Replication { backend, task, taken, begun, patience })
    }

    /// The build's number, if the backend gives it soon. If not, the build runs without one.
    pub(super) async fn number(&mut self) -> Option<u64> {
        let reason = match tokio::time::timeout(NUMBER_WAIT, self.begun.recv()).await {
            Ok(Some(Ok(number))) => return Some(number),
            Ok(Some(Err(error))) => error.message,
            Ok(None) => "it stopped".to_owned(),
            Err(_) => format!("no number within {} s", NUMBER_WAIT.as_secs()),
        };
        warn(&format!(
            "history backend {}: {reason}\nThe build runs on without a number; its journal keeps it meanwhile.",
            self.backend
        ));
        None
    }

    /// Tells of a number that comes while the build runs.
    pub(super) fn tell_late(&mut self, late: mpsc::UnboundedSender<Late>) {
        let (_, empty) = mpsc::unbounded_channel();
        let mut begun = std::mem::replace(&mut self.begun, empty);
        let by = self.backend.clone();
        tokio::spawn(async move {
            while let Some(answer) = begun.recv().await {
                if let Ok(number) = answer {
                    let numbered = Body::BuildNumbered(BuildNumbered { number, by: by.clone() });
                    let _ = late.send(Late::Known(numbered));
                }
            }
        });
    }

    /// The name of the backend.
    pub(super) fn backend(&self) -> &str {
        &self.backend
    }

    /// Waits until the backend has the whole build, or has had its chance: as long as it takes something, it
    /// has time. The build's number there.
    pub(super) async fn finish(
        mut self,
        mut interrupts: mpsc::UnboundedReceiver<i32>,
    ) -> Result<u64, UploadError> {
        let error = loop {
            let mut taken = self.taken.clone();
            taken.mark_unchanged();
            tokio::select! {
                ended = &mut self.task => return match ended {
                    Ok(result) => result,
                    Err(error) => Err(UploadError::Journal(std::io::Error::other(error.to_string()))),
                },
                Some(_) = interrupts.recv() => break UploadError::Interrupted,
                // An uploader that was refused gives up by itself, and says why: a little earlier than this.
                progress = tokio::time::timeout(self.patience + GLANCE, taken.changed()) => match progress {
                    Ok(_) => {}
                    Err(_) => break UploadError::Slow(self.patience),
                },
            }
        };
        self.task.abort();
        Err(error)
    }
}
