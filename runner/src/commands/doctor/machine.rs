//! This machine: the program, the workspace, its journal, the disk, the clock, the terminal.

use std::{
    fs,
    io::IsTerminal,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Check;
use crate::{
    journal::Store,
    report::Style,
    text::{self, rfc3339},
};

/// With less there is not much room for what steps make.
const LITTLE: u64 = 1 << 30;
/// With less a journal may be cut.
const NONE: u64 = 64 << 20;
/// No clock that is right says an earlier time than this: 2025-01-01.
const EARLIEST: Duration = Duration::from_hours(24 * (55 * 365 + 14));
/// A sync that takes longer holds up builds.
const SLOW: Duration = Duration::from_millis(500);

pub(super) fn checks(workspace: &Path) -> Vec<Check> {
    let store = Store::at(workspace);
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    vec![
        Check::ok("dcd", format!("version {version}, {platform}")),
        owner(workspace),
        journal(&store),
        space(workspace),
        clock(&store),
        terminal(),
    ]
}

fn owner(workspace: &Path) -> Check {
    let place = workspace.display();
    let me = rustix::process::geteuid().as_raw();
    let metadata = match fs::metadata(workspace) {
        Ok(metadata) => metadata,
        Err(error) => return Check::problem("workspace", format!("{place} cannot be read: {error}")),
    };
    let owner = metadata.uid();
    if rustix::fs::access(workspace, rustix::fs::Access::WRITE_OK).is_err() {
        return Check::problem(
            "workspace",
            format!("{place} belongs to user {owner}; you are user {me}, and may not write"),
        )
        .help(format!("run dcd as its owner; in a container: --user {owner}:{}", metadata.gid()));
    }
    let text = match owner {
        _ if owner == me => format!("{place} is yours (user {me})"),
        _ if me == 0 => format!(
            "{place} belongs to user {owner}, to whom dcd gives its files; what steps write as root is root's"
        ),
        _ => format!("{place} belongs to user {owner}, and you, user {me}, may write"),
    };
    Check::ok("workspace", text)
}

fn journal(store: &Store) -> Check {
    let builds = match store.builds() {
        Ok(builds) => builds.len(),
        Err(error) => return Check::problem("journal", error.to_string()).help("make .dcd readable for dcd"),
    };
    match store.probe() {
        Ok(took) => {
            let text = format!(
                ".dcd can be written, locked and synced, in {}; builds in it: {builds}",
                text::duration(took)
            );
            if took < SLOW {
                return Check::ok("journal", text);
            }
            Check::warning("journal", text)
                .help("the disk is slow to sync: builds whose steps print little do not mind")
        }
        Err(error) => Check::problem("journal", error.to_string())
            .help("make the workspace writable for dcd, on a file system that can lock files"),
    }
}

fn space(workspace: &Path) -> Check {
    let free = match rustix::fs::statvfs(workspace) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Check::warning("disk", format!("how much is free cannot be asked: {error}")),
    };
    let text = format!("{} MiB are free", free >> 20);
    if free < NONE {
        Check::problem("disk", text)
            .help("make room: `docker system prune`, or remove old builds from .dcd/builds")
    } else if free < LITTLE {
        Check::warning("disk", text).help("make room: `docker system prune` removes what no container uses")
    } else {
        Check::ok("disk", text)
    }
}

fn clock(store: &Store) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let text = format!("it is {}", rfc3339(millis(now)));
    // An id begins with the time that its build was started at.
    let newest = store.builds().unwrap_or_default().into_iter().find_map(|build| {
        let (seconds, nanos) = uuid::Uuid::parse_str(&build.id).ok()?.get_timestamp()?.to_unix();
        Some(Duration::new(seconds, nanos))
    });
    if now < EARLIEST {
        return Check::problem("clock", text)
            .help("set the clock: builds are sorted by time, and TLS refuses wrong ones");
    }
    match newest.filter(|newest| *newest > now + Duration::from_mins(1)) {
        Some(newest) => Check::warning(
            "clock",
            format!("{text}, but the newest build began at {}", rfc3339(millis(newest))),
        )
        .help("set the clock: builds are sorted by time"),
        None => Check::ok("clock", text),
    }
}

fn terminal() -> Check {
    let stdout = std::io::stdout();
    let colour = if Style::of(&stdout).is_coloured() { "colours" } else { "no colours" };
    let text = if stdout.is_terminal() {
        let size = rustix::termios::tcgetwinsize(&stdout);
        let width = size.map_or_else(|_| String::new(), |size| format!(", {} columns", size.ws_col));
        format!("a terminal{width}, {colour}")
    } else {
        format!("none: plain lines, {colour}")
    };
    Check::ok("terminal", text)
}
