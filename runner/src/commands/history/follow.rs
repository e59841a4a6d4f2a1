//! A build's events as they come: from its journal, which another process may write, or from the history backend.

use std::{path::PathBuf, time::Duration};

use crate::{
    commands::{
        builds::{Builds, Found, backend_error, unreadable},
        output::warn,
    },
    error::CommandError,
    event::{Body, Event, Record},
    journal::{BuildDir, Reader},
    report::Summary,
};

/// How long to wait where nothing is new.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait while a backend cannot be asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How many events are taken from a journal at once.
const BATCH: usize = 256;
/// After how many looks in vain it is asked whether the runner is lost.
const LOOKS: u32 = 10;

/// What a look at a build gave.
pub(super) enum Look {
    /// These came.
    Events(Vec<Event>),
    /// Nothing is new, and more may come: look again after this time.
    Nothing(Duration),
    /// No more will come.
    Over,
}

/// Where the events are read.
pub(super) enum Source {
    Local {
        reader: Reader,
        place: BuildDir,
        ended: bool,
    },
    Remote {
        build: Box<Summary>,
        step: Option<String>,
        next: Option<u64>,
        looks: u32,
        failures: u32,
        lost: bool,
    },
}

impl Source {
    /// Of a backend only the events of `step`, if one is named.
    pub(super) fn open(found: &Found, step: Option<&str>) -> Result<Self, CommandError> {
        Ok(match found {
            Found::Local(place) => {
                let reader = Reader::open(&place.journal()).map_err(|error| unreadable(place, &error))?;
                Source::Local { reader, place: place.clone(), ended: false }
            }
            Found::Remote(build) => Source::Remote {
                build: build.clone(),
                step: step.map(str::to_owned),
                next: Some(0),
                looks: 0,
                failures: 0,
                lost: false,
            },
        })
    }

    /// The next events. With `patient`, a backend that cannot be asked just now is asked again later.
    pub(super) fn look(&mut self, builds: &mut Builds, patient: bool) -> Result<Look, CommandError> {
        match self {
            Source::Local { reader, place, ended } => {
                if *ended {
                    return Ok(Look::Over);
                }
                let failed = |error| unreadable(place, &error);
                let mut events = batch(reader).map_err(failed)?;
                if events.is_empty() {
                    // Asked first: what is written before the runner ends is in what is read then.
                    let is_running = place.is_running();
                    reader.again().map_err(failed)?;
                    events = batch(reader).map_err(failed)?;
                    if events.is_empty() {
                        return Ok(if is_running { Look::Nothing(PAUSE) } else { Look::Over });
                    }
                }
                *ended |= events.iter().any(|event| matches!(event.body, Body::BuildFinished(_)));
                Ok(Look::Events(events))
            }
            Source::Remote { build, step, next, looks, failures, lost } => {
                let Some(from) = *next else { return Ok(Look::Over) };
                match builds.page(build, step.as_deref(), from) {
                    Ok(page) => {
                        *failures = 0;
                        *next = page.next;
                        if !page.records.is_empty() || page.next.is_some_and(|next| next > from) {
                            *looks = 0;
                            return Ok(Look::Events(
                                page.records.into_iter().map(Record::into_event).collect(),
                            ));
                        }
                        if page.next.is_none() {
                            return Ok(Look::Over);
                        }
                        *looks += 1;
                        let number = build.number.unwrap_or_default();
                        let asks = (*looks).is_multiple_of(LOOKS);
                        let record =
                            if asks { builds.record(&build.component, number).ok().flatten() } else { None };
                        *lost = record.is_some_and(|record| record.lost);
                        Ok(if *lost { Look::Over } else { Look::Nothing(PAUSE) })
                    }
                    Err(error) if error.transient && patient => {
                        if *failures == 0 {
                            warn(&format!("{}; trying again", error.message));
                        }
                        let pause = PAUSE * 2_u32.saturating_pow(*failures);
                        *failures = (*failures + 1).min(8);
                        Ok(Look::Nothing(pause.min(LONGEST_PAUSE)))
                    }
                    Err(error) => Err(backend_error(&error)),
                }
            }
        }
    }

    /// Whether the events ended without the build's end.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Source::Local { ended, .. } => !ended,
            Source::Remote { lost, .. } => *lost,
        }
    }

    /// What kept a journal of an ended build from being read to its end, and where.
    pub(super) fn damage(&self) -> Option<(PathBuf, String)> {
        match self {
            Source::Local { reader, place, .. } => {
                let damage = reader.torn().filter(|_| !place.is_running())?;
                Some((place.journal(), damage.to_string()))
            }
            Source::Remote { .. } => None,
        }
    }
}

fn batch(reader: &mut Reader) -> std::io::Result<Vec<Event>> {
    let mut events = Vec::new();
    while events.len() < BATCH
        && let Some(event) = reader.next_event()?
    {
        events.push(event);
    }
    Ok(events)
}
