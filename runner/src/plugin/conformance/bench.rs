//! What a check works with.

use std::{
    fmt::Debug,
    process::Command,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::runtime::Handle;

use super::{Checked, SHOWN, instance::Instance};
use crate::{
    plugin::{
        backend::HistoryPlugin,
        bindings::history::{
            dcd::plugin::build_types::{Event, Payload},
            exports::dcd::plugin::history::{BuildFilter, NewBuild},
        },
    },
    text::clip,
};

/// A lease that no check outlives.
pub(super) const LONG: u32 = 120_000;

/// Makes a command that begins so many builds of a component, and prints their numbers, one a line.
pub type Racers = Rc<dyn Fn(&str, usize) -> Result<Command, String>>;

/// The backend, and a component of the check's own.
pub(super) struct Bench {
    plugin: HistoryPlugin,
    runtime: Handle,
    racers: Racers,
    pub(super) component: String,
}

impl Bench {
    pub(super) fn new(plugin: HistoryPlugin, runtime: Handle, racers: Racers, component: String) -> Self {
        Bench { plugin, runtime, racers, component }
    }

    /// An instance as another runner would have it: nothing but the place where builds are kept is shared.
    pub(super) fn instance(&self) -> Instance {
        Instance::new(self.plugin.another(), self.runtime.clone())
    }

    /// An instance on a machine whose clock is so many milliseconds ahead of this one's.
    pub(super) fn instance_with_clock(&self, ahead_ms: i64) -> Instance {
        Instance::new(self.plugin.another_with_clock(ahead_ms), self.runtime.clone())
    }

    /// A process that begins so many builds of the check's component, and prints their numbers.
    pub(super) fn racer(&self, builds: usize) -> Result<Command, String> {
        (self.racers)(&self.component, builds)
    }

    /// A build of the check's component.
    pub(super) fn build(&self) -> NewBuild {
        build_of(&self.component)
    }

    /// Lists what is the check's.
    pub(super) fn own(&self) -> BuildFilter {
        BuildFilter {
            component: Some(self.component.clone()),
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
            metadata: Vec::new(),
        }
    }
}

/// A build that begins now.
pub(super) fn build_of(component: &str) -> NewBuild {
    NewBuild {
        component: component.to_owned(),
        run_id: uuid::Uuid::now_v7().to_string(),
        started_at: now(),
        lease_ttl_ms: LONG,
        metadata: r#"{"pipeline":"conformance"}"#.to_owned(),
    }
}

pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Events with these numbers. Every third is the build's, the others are of two steps in turn.
pub(super) fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    let event = |seq: u64| {
        let step = match seq % 3 {
            0 => None,
            1 => Some("build".to_owned()),
            _ => Some("test".to_owned()),
        };
        let payload = if seq.is_multiple_of(2) {
            Payload::Json(format!("{{\"n\": {seq}}}"))
        } else {
            Payload::Bytes(format!("line {seq}\n").into_bytes())
        };
        let kind = "step.output".to_owned();
        Event { seq, at: 1_763_000_000_000 + seq, kind, step, payload, hash: hash(seq) }
    };
    range.map(event).collect()
}

/// What a backend takes as an event's hash.
pub(super) fn hash(seq: u64) -> Vec<u8> {
    (0..32).map(|at: u64| (seq * 31 + at * 7).to_le_bytes()[0]).collect()
}

/// Fails unless both are the same.
pub(super) fn same<T: Debug + PartialEq>(what: &str, got: &T, expected: &T) -> Checked {
    if got == expected {
        return Ok(());
    }
    let shown = |value: &T| {
        let text = format!("{value:?}");
        let clipped = clip(&text, SHOWN);
        if clipped.len() < text.len() { format!("{clipped}…") } else { text }
    };
    Err(format!("{what}: got {}, expected {}", shown(got), shown(expected)))
}

/// Fails unless it holds.
pub(super) fn holds(condition: bool, why: impl FnOnce() -> String) -> Checked {
    if condition { Ok(()) } else { Err(why()) }
}

/// Fails unless these events were read; of long lists it says where they begin to differ.
pub(super) fn same_events(what: &str, got: &[Event], expected: &[Event]) -> Checked {
    let seqs = |events: &[Event]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    same(&format!("{what}, the numbers"), &seqs(got), &seqs(expected))?;
    for (got, expected) in got.iter().zip(expected) {
        same(&format!("{what}, event {}", expected.seq), got, expected)?;
    }
    Ok(())
}
