//! A `dcd` that is under way.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{Cleaner, Output};

/// Longer than anything takes on a loaded machine: reached only by what hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `dcd`, whose output is read all the time. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Reading,
    stderr: Reading,
    cleaner: Cleaner,
}

struct Reading {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(mut command: Command, cleaner: Cleaner) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Reading::start(child.stdout.take().unwrap());
        let stderr = Reading::start(child.stderr.take().unwrap());
        Running { child, stdout, stderr, cleaner }
    }

    /// What it printed so far.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes.lock().unwrap().clone()
    }

    /// Waits until it has printed this, which takes less than a minute.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let started = Instant::now();
        while !String::from_utf8_lossy(&self.stdout()).contains(text) {
            assert!(started.elapsed() < PATIENCE, "no `{text}`:\n{}", self.so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends SIGINT, unless it has ended.
    pub(crate) fn interrupt(&self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.so_far());
            std::thread::sleep(Duration::from_millis(2));
        };
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
        let stdout = self.stdout.finish();
        let stderr = self.stderr.finish();
        Output {
            code: status.code().unwrap_or(128 + signal),
            out: self.cleaner.clean(&String::from_utf8_lossy(&stdout)),
            err: self.cleaner.clean(&String::from_utf8_lossy(&stderr)),
            stdout,
        }
    }

    fn so_far(&self) -> String {
        let stderr = self.stderr.bytes.lock().unwrap().clone();
        format!("{}\n{}", String::from_utf8_lossy(&self.stdout()), String::from_utf8_lossy(&stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test failed or meant it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reading {
    fn start(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Reading { bytes, thread: Some(thread) }
    }

    fn finish(&mut self) -> Vec<u8> {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}
