//! Looking at a step's files after its process ended, on a thread of its own, so that the run loop goes on and
//! the step can be stopped meanwhile.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;

use super::{
    Handover,
    artifacts::{self, open},
    find::{Found, find},
    handover::Moment,
    junit, warning,
};
use crate::{
    engine::message::{StepContent, StepIndex, StepMessage, Stop},
    event::{StepTests, TestCase},
};

/// How many tests an event has at most.
const PER_EVENT: usize = 1000;
/// How many bytes of names and messages an event has at most, or little more: as much as a batch to the history.
const EVENT_SIZE: usize = 256 << 10;
/// The largest report that is read.
const REPORT_SIZE: u64 = 64 << 20;

/// What to look for, as globs relative to the workspace.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Absolute.
    pub workspace: PathBuf,
    /// Files to hash.
    pub outputs: Vec<String>,
    /// Test reports to read.
    pub junit: Vec<String>,
}

impl Wanted {
    /// There is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.junit.is_empty()
    }

    /// When the attempt began is to be known: of its reports, only those count that were written since.
    pub fn is_timed(&self) -> bool {
        !self.junit.is_empty()
    }
}

/// Says what the attempt made: its test reports, and its artifacts if it succeeded. A stop ends it early; what was
/// said until then stays.
pub async fn collect(
    mut wanted: Wanted,
    handover: &Handover,
    succeeded: bool,
    step: StepIndex,
    messages: &mpsc::Sender<StepMessage>,
    control: &mut mpsc::UnboundedReceiver<Stop>,
) {
    if !succeeded {
        wanted.outputs.clear();
    }
    if wanted.is_empty() {
        return;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, mut said) = mpsc::channel(1);
    let (began, stopped) = (handover.began(), stop.clone());
    // It ends by itself when nobody listens any more.
    tokio::task::spawn_blocking(move || {
        let mut say = |content| {
            let heard = !stopped.load(Ordering::Relaxed) && sender.blocking_send(content).is_ok();
            stopped.fetch_or(!heard, Ordering::Relaxed);
            heard
        };
        say_reports(&wanted, began, succeeded, &stopped, &mut say);
        artifacts::say_all(&wanted.workspace, &wanted.outputs, &stopped, &mut say);
    });
    let mut waiting = None;
    loop {
        tokio::select! {
            biased;
            Some(order) = control.recv() => {
                stop.store(true, Ordering::Relaxed);
                // A file system that does not answer holds nobody up who wants to end at once.
                if order == Stop::Kill {
                    return;
                }
            }
            permit = messages.reserve(), if waiting.is_some() => {
                let (Ok(permit), Some(content)) = (permit, waiting.take()) else { return };
                permit.send(StepMessage { step, content });
            }
            content = said.recv(), if waiting.is_none() => match content {
                Some(content) => waiting = Some(content),
                None => return,
            },
        }
    }
}

type Say<'a> = &'a mut dyn FnMut(StepContent) -> bool;

fn say_reports(wanted: &Wanted, began: Moment, succeeded: bool, stop: &AtomicBool, say: Say<'_>) {
    let mut reports = std::collections::BTreeSet::new();
    for glob in &wanted.junit {
        let warn = match find(&wanted.workspace, glob, stop) {
            Ok(mut found) => {
                // Reports of an earlier attempt, step or build may still be there.
                found.retain(|report| is_since(&report.file, began));
                // A step that failed may well have done so before its tests.
                if !found.is_empty() || !succeeded || stop.load(Ordering::Relaxed) {
                    reports.extend(found);
                    continue;
                }
                format!("reports.junit: `{glob}` matches no file that this attempt wrote")
            }
            Err(why) => format!("reports.junit: `{glob}` {why}"),
        };
        if !say(StepContent::Log(warning(warn))) {
            return;
        }
    }
    for report in reports {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if let Err(why) = say_report(&report, say) {
            let path = &report.path;
            say(StepContent::Log(warning(format!("reports.junit: {path} is no test report: {why}"))));
        }
    }
}

fn is_since(file: &Path, began: Moment) -> bool {
    let written = |metadata: std::fs::Metadata| {
        (metadata.mtime(), u64::try_from(metadata.mtime_nsec()).unwrap_or_default())
    };
    file.metadata().is_ok_and(|metadata| written(metadata) >= began)
}

fn say_report(report: &Found, say: Say<'_>) -> Result<(), String> {
    let name = &report.path;
    let file = open(&report.file).map(File::from);
    let size = |file: &File| file.metadata().map(|metadata| metadata.len());
    let file = file.and_then(|file| match size(&file)? {
        0..=REPORT_SIZE => Ok(file),
        size => Err(io::Error::other(format!("it has {} MiB, and 64 are the most", size >> 20))),
    });
    let file = file.map_err(|error| error.to_string())?;
    let mut cases: Vec<TestCase> = Vec::new();
    let mut size = 0;
    let mut event = |cases: &mut Vec<TestCase>| {
        let cases = std::mem::take(cases);
        cases.is_empty() || say(StepContent::Tests(StepTests { report: name.clone(), cases }))
    };
    let end = junit::read(BufReader::new(file.take(REPORT_SIZE)), &mut |case| {
        size += case.suite.len() + case.name.len() + case.message.as_ref().map_or(0, String::len);
        cases.push(case);
        if cases.len() < PER_EVENT && size < EVENT_SIZE {
            return true;
        }
        size = 0;
        event(&mut cases)
    });
    event(&mut cases);
    end.map_err(|error| error.to_string())
}
