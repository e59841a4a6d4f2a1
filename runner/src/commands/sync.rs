//! Sending what a history backend lacks: `dcd history sync`, and beside every run.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    build::{Build, RUNNER_LOST, Step},
    cli::SyncArgs,
    commands::{
        load,
        output::{print, print_json},
        replicate,
    },
    engine::ports::{
        Progress,
        backend::{Backend as _, BackendError, Metadata, NewBuild},
    },
    error::{CommandError, Exit},
    event::{AttemptFinished, Body, BuildFinished, Outcome, Problem, StepFinished},
    history::{self, UploadError, Uploader},
    journal::{JournalError, JournalTail, Store, StoreError, Unsent, Writer},
    plugin::{Host, backend::HistoryPlugin},
    text::harmless_line,
};

/// How long the end of a run waits for earlier builds, after its own was sent.
const GLANCE: Duration = Duration::from_secs(3);

/// What became of a build that was to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The backend has it.
    Whole(Delivered),
    /// It is somebody else's: its runner is alive, or another process sends it.
    Busy,
    /// There is nothing to send: its runner ended before the first event, or its directory was removed.
    Nothing,
}

/// A build that the backend has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) id: String,
    pub(super) component: String,
    pub(super) number: u64,
}

/// Why a build was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("its journal cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Sends what the backend lacks of a build, and gives the backend back.
pub(super) async fn send(
    store: &Store,
    backend: HistoryPlugin,
    id: &str,
    patience: Duration,
) -> (HistoryPlugin, Result<Sent, SendError>) {
    let (claim, build) = match prepare(store, id) {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(sent)) => return (backend, Ok(sent)),
        Err(error) => return (backend, Err(error)),
    };
    let place = store.place(id);
    let tail = match JournalTail::open(&place.journal()) {
        Ok(tail) => tail,
        Err(error) => return (backend, Err(SendError::Unreadable(error))),
    };
    let (_whole, progress) = watch::channel(Progress { synced: build.events, closed: true });
    let mut uploader = Uploader::new(backend, tail, build.begin, progress).patient(patience);
    let (begun, _) = mpsc::unbounded_channel();
    let sent = uploader.run(begun).await;
    let sent = sent.map_err(SendError::from).and_then(|number| {
        store.note_number(&build.component, number, id)?;
        claim.sent();
        Ok(Sent::Whole(Delivered { id: id.to_owned(), component: build.component, number }))
    });
    (uploader.into_backend(), sent)
}

/// A build that can be sent.
struct Ready {
    begin: NewBuild,
    component: String,
    /// How many events it has.
    events: u64,
}

/// What has to be true before a build is sent: it has an end. `Err` inside: it is not to be sent now.
fn prepare(store: &Store, id: &str) -> Result<Result<(Unsent, Ready), Sent>, SendError> {
    let Some(claim) = store.claim_unsent(id)? else { return Ok(Err(Sent::Busy)) };
    let place = store.place(id);
    let writer = match Writer::recover(&place.journal()) {
        Ok(Some(writer)) => writer,
        Ok(None) => return Ok(Err(Sent::Busy)),
        Err(error) if never_was(&error.source) => {
            claim.sent();
            return Ok(Err(Sent::Nothing));
        }
        Err(error) => return Err(error.into()),
    };
    let build = place.read().map_err(SendError::Unreadable)?;
    if build.id.is_empty() {
        claim.sent();
        return Ok(Err(Sent::Nothing));
    }
    let events = conclude(writer, &build)?;
    let begin = NewBuild {
        component: build.component.clone(),
        id: build.id.clone(),
        started_at: build.started_at,
        lease_ms: history::LEASE_MS,
        metadata: Metadata::new(&build.pipeline, &build.facts),
    };
    Ok(Ok((claim, Ready { begin, component: build.component, events })))
}

fn never_was(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

/// Gives a build without an end the one that is true of it: its runner was lost at the last sign of it. How many
/// events it has then.
fn conclude(mut journal: Writer, build: &Build) -> Result<u64, JournalError> {
    if build.outcome.is_none() {
        let at = build.last_event_at;
        for step in build.steps.iter().filter(|step| step.outcome.is_none()) {
            for body in lost(step, at) {
                journal.append_at(at, Some(step.name.as_str().into()), body)?;
            }
        }
        let end = BuildFinished {
            outcome: Outcome::Error,
            duration_ms: at.saturating_sub(build.started_at),
            reason: Some(RUNNER_LOST.to_owned()),
            signal: None,
        };
        journal.append_at(at, None, Body::BuildFinished(end))?;
    }
    let events = journal.len();
    journal.finish()?;
    Ok(events)
}

/// What ends a step that was under way.
fn lost(step: &Step, at: u64) -> Vec<Body> {
    let Some(last) = step.attempts.last() else { return Vec::new() };
    let mut ends = Vec::new();
    if last.outcome.is_none() {
        ends.push(Body::AttemptFinished(AttemptFinished {
            attempt: last.attempt,
            outcome: Outcome::Error,
            exit_code: None,
            signal: None,
            duration_ms: at.saturating_sub(last.started_at),
            problem: Some(Problem { message: RUNNER_LOST.to_owned(), help: None }),
            leaked: false,
            retry_in_ms: None,
        }));
    }
    ends.push(Body::StepFinished(StepFinished {
        outcome: Outcome::Error,
        conclusion: Outcome::Error,
        attempts: last.attempt,
        flaky: false,
        reason: Some(RUNNER_LOST.to_owned()),
        left_out: false,
        outputs: step.outputs.clone(),
        summary: step.summary.clone(),
    }));
    ends
}

/// The sending of earlier builds, beside a run.
pub(super) struct Leftovers {
    task: tokio::task::JoinHandle<(Vec<Delivered>, usize)>,
}

impl Leftovers {
    /// Starts it, if there are any.
    pub(super) fn start(host: &Host, backend: &HistoryPlugin, store: &Store, own: &str) -> Option<Self> {
        let ids: Vec<_> = store.unsent().into_iter().filter(|id| id != own).collect();
        if ids.is_empty() {
            return None;
        }
        let (store, mut backend) = (store.clone(), backend.another());
        let task = host.spawn(async move {
            let (mut delivered, mut left) = (Vec::new(), 0);
            for id in ids {
                let (back, sent) = send(&store, backend, &id, history::PATIENCE).await;
                backend = back;
                match sent {
                    Ok(Sent::Whole(build)) => delivered.push(build),
                    Ok(Sent::Busy | Sent::Nothing) => {}
                    Err(_) => left += 1,
                }
            }
            (delivered, left)
        });
        Some(Leftovers { task })
    }

    /// What was sent, and how many builds are left. `None`: it takes longer than the end of a run waits.
    pub(super) async fn finish(mut self) -> Option<(Vec<Delivered>, usize)> {
        if let Ok(ended) = tokio::time::timeout(GLANCE, &mut self.task).await {
            return ended.ok();
        }
        self.task.abort();
        None
    }
}

/// `dcd history sync`
pub(super) fn sync(args: &SyncArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let patience = replicate::wait()?;
    let loaded = load::pipeline(&workspace, &args.file)?;
    let Some((host, mut backend)) = load::history(&workspace, &loaded)? else {
        return Err(CommandError::usage(
            format!("{} names no history backend", args.file.display()),
            "add one to the pipeline: \"history\": { \"uses\": …, \"with\": … }; see docs/history.md",
        ));
    };
    let store = Store::at(&workspace);
    if args.all {
        for place in store.builds().map_err(|error| CommandError::environment(error.to_string()))? {
            // What another process has is its business.
            let marked = store.mark_unsent(&place.id);
            marked.map_err(|error| CommandError::environment(error.to_string()))?;
        }
    }
    let (mut documents, mut failed) = (Vec::new(), 0);
    for id in store.unsent() {
        let (back, sent) = host.block_on(send(&store, backend, &id, patience));
        backend = back;
        failed += usize::from(sent.is_err());
        let (line, document) = told(&id, sent);
        if !args.json {
            let lines: Vec<_> = line.lines().map(harmless_line).collect();
            print(&format!("{}\n", lines.join("\n")))?;
        }
        documents.push(document);
    }
    if args.json {
        print_json(&Value::Array(documents))?;
    } else if documents.is_empty() {
        print(&format!("{} has all builds of this workspace that were made with it\n", backend.name()))?;
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::HistoryNotWritten })
}

/// A line, and an element of the JSON array.
fn told(id: &str, sent: Result<Sent, SendError>) -> (String, Value) {
    match sent {
        Ok(Sent::Whole(Delivered { id, component, number })) => (
            format!("sent     {component} #{number}  {id}"),
            json!({ "id": id, "component": component, "number": number, "result": "sent", "error": null }),
        ),
        Ok(Sent::Busy) => (
            format!("skipped  {id}: it runs, or another process sends it"),
            json!({ "id": id, "component": null, "number": null, "result": "skipped", "error": null }),
        ),
        Ok(Sent::Nothing) => (
            format!("skipped  {id}: there is nothing of it to send"),
            json!({ "id": id, "component": null, "number": null, "result": "skipped", "error": null }),
        ),
        Err(error) => {
            let help = match &error {
                SendError::Upload(UploadError::Backend(BackendError { help: Some(help), .. })) => {
                    format!("\n         help: {help}")
                }
                _ => String::new(),
            };
            (
                format!("failed   {id}: {error}{help}"),
                json!({ "id": id, "component": null, "number": null, "result": "failed", "error": error.to_string() }),
            )
        }
    }
}
