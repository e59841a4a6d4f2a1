//! Standard output.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::AsFd,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags};

use crate::{error::CommandError, report::Style, text::harmless};

/// Small lines are collected; large pieces go straight through.
const BUFFER: usize = 16 << 10;

/// Standard output without a lock and without a look at each line.
pub(super) fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(BUFFER, Stdout(io::stdout().as_fd().try_clone_to_owned().map(File::from).ok()))
}

/// Writes a document.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = stdout();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What a write to standard output came to. That nobody reads on, as after `head`, is no failure.
pub(super) fn written(result: io::Result<()>) -> Result<(), CommandError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::environment(format!("cannot write to standard output: {error}"))
                .help("what was written so far is not the whole"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether a write would go through just now.
pub(super) fn is_read() -> bool {
    let stdout = io::stdout();
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Waits so long. Whether nobody reads standard output any more: then sooner.
pub(super) fn closed_within(wait: Duration) -> bool {
    let stdout = io::stdout();
    let wait = rustix::event::Timespec::try_from(wait).ok();
    rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::empty())], wait.as_ref())
        .is_ok_and(|ready| ready > 0)
}

/// Says something on standard error that is no failure.
pub(super) fn warn(text: &str) {
    say("warning:", text);
}

/// Says on standard error what would be better, while all is well.
pub(super) fn hint(text: &str) {
    say("hint:", text);
}

/// Says on standard error what happened beside what was asked for.
pub(super) fn note(text: &str) {
    say("note:", text);
}

fn say(headline: &str, text: &str) {
    let stderr = io::stderr();
    let headline = Style::of(&stderr).warning(headline);
    let text = String::from_utf8_lossy(&harmless(text.as_bytes())).into_owned();
    let _ = stderr.lock().write_all(format!("{headline} {text}\n").as_bytes());
}

/// Writes a JSON document.
pub(super) fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    print(&format!("{value:#}\n"))
}

/// The file behind standard output, which somebody may have made non-blocking.
pub(super) struct Stdout(Option<File>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.0 else { return Err(io::ErrorKind::BrokenPipe.into()) };
        loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    rustix::event::poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
