//! What will go wrong, and when. It follows from the seed, so that a run can be had again.

use std::time::Duration;

use crate::{backend::Fault, random::Random, recipe::Recipe};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    /// At least so many builds.
    pub(crate) builds: u64,
    /// At least this long.
    pub(crate) time: Duration,
}

/// From here on there is time for what takes minutes: stops that are longer than a lease, outages that are longer
/// than the patience of a run.
const LONG: Duration = Duration::from_mins(4);

/// How many workspaces there are. The last one is on a disk that can be filled, where that is possible.
pub(crate) const WORKSPACES: usize = 4;
pub(crate) const SMALL: usize = WORKSPACES - 1;

/// What is done to a runner. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Nothing.
    None,
    /// `kill -9`, so long after its start.
    Kill { after: u64 },
    /// The same, so long after its steps began to print; and what it wrote last is cut short, as when the machine goes
    /// down.
    Tear { after: u64 },
    /// `kill -9`, so long after it showed its last event: while it sends what is left.
    KillAtEnd { after: u64 },
    /// SIGTERM, so long after its start.
    Terminate { after: u64 },
    /// SIGSTOP, and SIGCONT after a while.
    Stop { after: u64, time: u64 },
    /// The disk of its journal fills while its steps print.
    FillDisk,
}

impl Harm {
    /// All, as the table calls them.
    pub(crate) const KINDS: [&str; 6] = [
        "runner killed (SIGKILL)",
        "runner killed while it sends the end",
        "runner told to stop (SIGTERM)",
        "runner stood still (SIGSTOP)",
        "disk of the journal full",
        "runner killed, journal's last record cut short",
    ];
    /// Of those, the one that needs a disk.
    pub(crate) const FULL: &str = Harm::KINDS[4];

    pub(crate) fn kind(self) -> Option<&'static str> {
        match self {
            Harm::None => None,
            Harm::Kill { .. } => Some(Harm::KINDS[0]),
            Harm::KillAtEnd { .. } => Some(Harm::KINDS[1]),
            Harm::Terminate { .. } => Some(Harm::KINDS[2]),
            Harm::Stop { .. } => Some(Harm::KINDS[3]),
            Harm::FillDisk => Some(Harm::FULL),
            Harm::Tear { .. } => Some(Harm::KINDS[5]),
        }
    }
}

/// One run of `dcd run`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuildPlan {
    pub(crate) index: u64,
    pub(crate) workspace: usize,
    pub(crate) recipe: Recipe,
    pub(crate) harm: Harm,
    /// How long its end waits for the backend, in seconds; none for as long as it does by itself.
    pub(crate) wait: Option<u64>,
}

/// The build with this index. Each kind of harm is met within the first dozen.
pub(crate) fn build(setting: Setting, index: u64) -> BuildPlan {
    let mut random = Random::new(setting.seed, 1000 + index);
    let round = usize::try_from(index % 12).unwrap();
    let harms = Random::new(setting.seed, 1 + index / 12).shuffled(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let harm = match harms[round] {
        0 | 1 => Harm::Kill { after: random.between(30, 2500) },
        2 | 3 => Harm::KillAtEnd { after: random.between(0, 250) },
        4 => Harm::Terminate { after: random.between(100, 2500) },
        5 if setting.time >= LONG && random.one_in(4) => {
            Harm::Stop { after: random.between(300, 1500), time: 65_000 }
        }
        5 => Harm::Stop { after: random.between(200, 1500), time: random.between(300, 2500) },
        6 => Harm::FillDisk,
        7 => Harm::Tear { after: random.between(0, 400) },
        _ => Harm::None,
    };
    let (workspace, recipe) = match harm {
        Harm::FillDisk => (SMALL, Recipe::Flood),
        // One that runs for a while: it is to be cut before its end.
        Harm::Tear { .. } => (random_workspace(&mut random), Recipe::Late),
        Harm::None
        | Harm::Kill { .. }
        | Harm::KillAtEnd { .. }
        | Harm::Terminate { .. }
        | Harm::Stop { .. } => (random_workspace(&mut random), random.one_of(&Recipe::USUAL)),
    };
    let wait = random.one_of(&[None, Some(0), Some(1), Some(3)]);
    BuildPlan { index, workspace, recipe, harm, wait }
}

fn random_workspace(random: &mut Random) -> usize {
    usize::try_from(random.between(0, WORKSPACES as u64)).unwrap()
}

/// Something that happens to the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// So long after the one before.
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    pub(crate) time: Duration,
}

/// A round of outages, in which each of these faults is met.
pub(crate) fn outages(setting: Setting, round: u64, faults: &[Fault]) -> Vec<Outage> {
    let mut random = Random::new(setting.seed, 2_000_000 + round);
    let order = random.shuffled(faults);
    let mut outage = |fault| {
        let pause = Duration::from_millis(random.between(100, 1200));
        let is_long = setting.time >= LONG && random.one_in(5);
        let time = if is_long { random.between(8_000, 30_000) } else { random.between(300, 2500) };
        Outage { pause, fault, time: Duration::from_millis(time) }
    };
    order.into_iter().map(&mut outage).collect()
}

/// A `dcd history sync` beside the builds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncPlan {
    pub(crate) pause: Duration,
    pub(crate) workspace: usize,
    /// `kill -9`, so long after its start.
    pub(crate) kill: Option<Duration>,
}

/// The sync with this index.
pub(crate) fn sync(setting: Setting, index: u64) -> SyncPlan {
    let mut random = Random::new(setting.seed, 3_000_000 + index);
    SyncPlan {
        pause: Duration::from_millis(random.between(300, 2000)),
        workspace: random_workspace(&mut random),
        kill: index.is_multiple_of(2).then(|| Duration::from_millis(random.between(2, 800))),
    }
}
