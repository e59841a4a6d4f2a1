//! One `dcd`, and what is done to it.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    fs::FlockOperation,
    process::{Pid, Signal, kill_process},
};

use crate::{
    field::Field,
    plan::{BuildPlan, Harm},
};

/// A run that takes longer hangs. (A sync of many builds while the network is silent takes minutes.)
const LIMIT: Duration = Duration::from_mins(10);
/// How much room is left for a journal whose disk fills.
const ROOM: u64 = 200 << 10;

/// A `dcd run` that is over.
pub(crate) struct Ran {
    pub(crate) plan: BuildPlan,
    /// Whether what was planned hit it before it was over.
    pub(crate) harmed: bool,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A process whose output is read all the time.
struct Running {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    readers: [JoinHandle<()>; 2],
    stderr: Arc<Mutex<Vec<u8>>>,
    started: Instant,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, first) = read(child.stdout.take().unwrap());
        let (stderr, second) = read(child.stderr.take().unwrap());
        Running { child, stdout, stderr, readers: [first, second], started: Instant::now() }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        if self.child.try_wait().unwrap().is_some() {
            return true;
        }
        if self.started.elapsed() > LIMIT {
            let _ = self.child.kill();
            let stderr = self.stderr.lock().unwrap().clone();
            panic!("a run does not end:\n{}", String::from_utf8_lossy(&stderr));
        }
        false
    }

    /// Waits so long, or until it has ended; whether it has not.
    fn lives_for(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.has_ended() {
            if Instant::now() >= until {
                return true;
            }
            thread::sleep(Duration::from_millis(2).min(time));
        }
        false
    }

    /// Waits until it has shown this, or has ended; whether it has not.
    fn lives_until_shown(&mut self, text: &[u8]) -> bool {
        loop {
            let shown = self.stdout.lock().unwrap().windows(text.len()).any(|window| window == text);
            match (self.has_ended(), shown) {
                (true, _) => return false,
                (false, true) => return true,
                (false, false) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn finish(mut self) -> (ExitStatus, Vec<u8>, String) {
        while !self.has_ended() {
            thread::sleep(Duration::from_millis(2));
        }
        let status = self.child.wait().unwrap();
        for reader in self.readers {
            reader.join().unwrap();
        }
        let stderr = String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned();
        let stdout = std::mem::take(&mut *self.stdout.lock().unwrap());
        (status, stdout, stderr)
    }
}

fn read(mut from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let into = bytes.clone();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    });
    (bytes, reader)
}

/// Runs a build as it is planned.
pub(crate) fn build(field: &Field, plan: BuildPlan) -> Ran {
    let mut command = field.dcd(plan.workspace);
    command.args(["run", plan.recipe.file(), "--output", "json"]);
    if let Some(seconds) = plan.wait {
        command.env("DCD_HISTORY_WAIT", format!("{seconds}s"));
    }
    let mut running = Running::start(command);
    let mut harmed = harm(field, plan, &mut running);
    let (status, stdout, stderr) = running.finish();
    if let Harm::Tear { .. } = plan.harm {
        harmed = harmed && tear(field, plan.workspace, &stdout);
    }
    if let (Harm::FillDisk, Ok(disk)) = (plan.harm, &field.disk) {
        disk.free();
    }
    Ran { plan, harmed, code: status.code(), signal: status.signal(), stdout, stderr }
}

/// Does what is planned; whether the run was there to feel it.
fn harm(field: &Field, plan: BuildPlan, running: &mut Running) -> bool {
    let ms = Duration::from_millis;
    match plan.harm {
        Harm::None => false,
        Harm::Kill { after } => {
            let lives = running.lives_for(ms(after));
            if lives {
                running.signal(Signal::KILL);
            }
            lives
        }
        Harm::Tear { after } => {
            let lives = running.lives_until_shown(b"\"step.output\"") && running.lives_for(ms(after));
            if lives {
                running.signal(Signal::KILL);
            }
            lives
        }
        Harm::KillAtEnd { after } => {
            let lives = running.lives_until_shown(b"\"build.finished\"") && running.lives_for(ms(after));
            if lives {
                running.signal(Signal::KILL);
            }
            lives
        }
        Harm::Terminate { after } => {
            let lives = running.lives_for(ms(after));
            if lives {
                running.signal(Signal::TERM);
            }
            lives
        }
        Harm::Stop { after, time } => {
            let lives = running.lives_for(ms(after));
            if lives {
                running.signal(Signal::STOP);
                thread::sleep(ms(time));
                running.signal(Signal::CONT);
            }
            lives
        }
        Harm::FillDisk => {
            let Ok(disk) = &field.disk else { return false };
            let lives = running.lives_until_shown(b"\"step.output\"");
            if lives {
                disk.fill(ROOM);
            }
            lives
        }
    }
}

/// Leaves a piece of a record at the end of a lost build's journal; whether it did. Who has the journal by now was
/// quicker, and a build that ended is not torn.
fn tear(field: &Field, workspace: usize, stdout: &[u8]) -> bool {
    let first = stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(first) = serde_json::from_slice::<serde_json::Value>(first) else { return false };
    let id = first["payload"]["id"].as_str().unwrap_or_default();
    let path = field.workspace(workspace).join(".dcd/builds").join(id).join("journal");
    let mut journal = File::options().append(true).open(path).unwrap();
    let lock = rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive);
    let ended = String::from_utf8_lossy(stdout).contains("\"build.finished\"");
    if lock.is_err() || ended {
        return false;
    }
    // A frame that promises a hundred bytes, and a few of them.
    journal.write_all(&[100, 0, 0, 0, 1, 2, 3, 4, 9, 0, 0, 0, 0, 0, 0, 0, 7, 7]).unwrap();
    true
}

/// How a `dcd history sync` ended.
pub(crate) enum Synced {
    /// It was killed.
    Killed,
    /// By itself, with this exit code and these words.
    Ended(i32, String),
}

/// Sends what a workspace's backend lacks, unless it is killed before.
pub(crate) fn sync(field: &Field, workspace: usize, kill: Option<Duration>) -> Synced {
    let mut command = field.dcd(workspace);
    command.args(["history", "sync", "--file", "quick.json"]).env("DCD_HISTORY_WAIT", "2s");
    let mut running = Running::start(command);
    if kill.is_some_and(|after| running.lives_for(after)) {
        running.signal(Signal::KILL);
    }
    let (status, stdout, stderr) = running.finish();
    let said = format!("{}{stderr}", String::from_utf8_lossy(&stdout));
    match status.code() {
        Some(code) => Synced::Ended(code, said),
        None => Synced::Killed,
    }
}
