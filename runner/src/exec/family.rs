//! The processes that descend from this one, as `/proc` shows them.
//!
//! Who loses its parent comes to us ([`super::reaper`] asks for that), so all that steps started is below us,
//! whatever session or process group it moved to. Nothing else is ever signalled.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

/// How much of a command line is shown.
const COMMAND: usize = 80;

/// A process at the time of the look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// In clock ticks since the machine started: with the id, it tells a process from all others.
    started: u64,
    /// It ended, and waits to be collected.
    pub(super) dead: bool,
}

/// What tells the processes of one attempt from those of others.
pub(super) struct Family {
    /// The process that was started; also its group.
    pub(super) first: Pid,
    /// `NAME=value` in the environment, which no other attempt has.
    pub(super) mark: Option<String>,
}

/// All that live below us.
pub(super) fn descendants() -> Vec<Process> {
    let all = all();
    let ours = below(&all, |process| process.parent == own());
    ours.into_iter().filter(|process| !process.dead).collect()
}

/// Our own children that ended, and that nobody here waits for: orphans that came to us. A child in our own
/// process group is some library's, for steps have groups of their own.
pub(super) fn dead_orphans(waited_for: impl Fn(Pid) -> bool) -> Vec<Pid> {
    let all = all();
    // It is 0 where our group is from outside of our namespace.
    let group = all.iter().find(|process| process.pid.as_raw_nonzero().get() == own()).map(|own| own.group);
    let is_orphan = |process: &Process| {
        process.dead && process.parent == own() && Some(process.group) != group && !waited_for(process.pid)
    };
    all.iter().filter(|process| is_orphan(process)).map(|process| process.pid).collect()
}

/// Our own process group; 0 where that is from outside of our namespace.
pub(super) fn own_group() -> i32 {
    read(rustix::process::getpid()).map_or(0, |process| process.group)
}

impl Family {
    /// Those that live: the first one unless it was collected, what is below it, and the orphans that are known
    /// to be of it by its group or its mark, with what is below them.
    pub(super) fn members(&self, first_is_collected: bool) -> Vec<Process> {
        let all = all();
        let first = self.first.as_raw_nonzero().get();
        let members = below(&all, |process| {
            let is_first = process.pid == self.first;
            process.parent == own()
                && if is_first { !first_is_collected } else { process.group == first || self.marked(process) }
        });
        members.into_iter().filter(|process| !process.dead).collect()
    }

    fn marked(&self, process: &Process) -> bool {
        let Some(mark) = &self.mark else { return false };
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    }
}

impl Process {
    /// Sends a signal to this process, and to no other that has its id by now.
    pub(super) fn signal(&self, signal: Signal) {
        match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) if read(self.pid).is_some_and(|now| now.started == self.started) => {
                let _ = rustix::process::pidfd_send_signal(handle, signal);
            }
            // A kernel before 5.3. The look was just now.
            Err(Errno::NOSYS) => {
                let _ = rustix::process::kill_process(self.pid, signal);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Whether one of its files is this one: `pipe:[4711]`.
    pub(super) fn holds(&self, file: &str) -> bool {
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten();
        files.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == Path::new(file)))
    }

    /// Its command line, for people.
    pub(super) fn command(&self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0);
        let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        let line = words.join(" ");
        let clipped = crate::text::clip(&line, COMMAND);
        if clipped.len() < line.len() { format!("{clipped}…") } else { line }
    }
}

fn own() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Those for which `is_root` holds, and all below them.
fn below(all: &[Process], is_root: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut queue: Vec<&Process> = all.iter().filter(|process| is_root(process)).collect();
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    while let Some(process) = queue.pop() {
        if seen.insert(process.pid) {
            found.push(process.clone());
            let pid = process.pid.as_raw_nonzero().get();
            queue.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

/// Every process that we see. None where `/proc` is another namespace's, whose ids mean other processes.
fn all() -> Vec<Process> {
    if !is_own_namespace() {
        return Vec::new();
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter_map(read).collect()
}

/// A process that another namespace's `/proc` shows has more than one id there, the innermost last.
fn is_own_namespace() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let id = field("NSpid:").or_else(|| field("Pid:"));
    id == Some(own().to_string().as_str())
}

fn read(pid: Pid) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PARENT GROUP …`, where the name may hold anything.
fn parse(pid: Pid, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid: Pid::from_raw(pid).unwrap(), parent, group: 1, started: 0, dead: false }
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "7 (a) b (Z) S 3 4 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8912 2 3";
        let pid = Pid::from_raw(7).unwrap();
        let expected = Process { pid, parent: 3, group: 4, started: 8912, dead: false };
        assert_eq!(parse(pid, line), Some(expected));
        assert_eq!(parse(pid, "7 (a"), None);
        assert_eq!(parse(pid, "7 (a) S 3"), None);
    }

    #[test]
    fn only_what_is_below_is_found() {
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 5), process(7, 99)];
        let mut pids: Vec<_> =
            below(&all, |process| process.parent == 1 && process.pid.as_raw_nonzero().get() == 2)
                .iter()
                .map(|process| process.pid.as_raw_nonzero().get())
                .collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3, 4]);
    }

    #[test]
    fn children_are_seen_and_signalled() {
        let mut child = std::process::Command::new("sleep").arg("50").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let found = descendants().into_iter().find(|process| process.pid == pid).unwrap();
        let other = Process { started: found.started + 1, ..found.clone() };
        other.signal(Signal::KILL);
        assert!(child.try_wait().unwrap().is_none(), "that is another process");
        // It may not have been executed yet.
        while found.command() != "sleep 50" {
            std::thread::yield_now();
        }
        found.signal(Signal::KILL);
        child.wait().unwrap();
        assert!(!descendants().contains(&found));
    }
}
