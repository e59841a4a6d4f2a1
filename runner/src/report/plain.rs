//! A build as plain lines, for logs: each line of output says when, and whose it is.
//!
//! Steps may run at the same time, so an unfinished line waits for its end, lest another step's line breaks
//! it. It does not wait where nobody else prints, nor for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use crate::{
    build::Build,
    event::{StepName, UnixMs},
    report::{Finished, Screen, Started, clock::Clock, out::Out},
};

/// The longest start of a line that waits for its end.
const HELD: usize = 64 << 10;

/// Writes lines.
pub(crate) struct Plain<W> {
    out: Out<W>,
    clock: Clock,
    running: BTreeSet<StepName>,
    /// Starts of lines that wait for their ends.
    held: BTreeMap<StepName, Held>,
    /// Whose line the output ends within.
    open: Option<StepName>,
    prefix: Vec<u8>,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Held {
    at: UnixMs,
    bytes: Vec<u8>,
}

impl<W: Write + Send> Plain<W> {
    pub(crate) fn new(out: W) -> Self {
        Plain::with_clock(out, Clock::local())
    }

    pub(super) fn with_clock(out: W, clock: Clock) -> Self {
        Plain {
            out: Out::new(out),
            clock,
            running: BTreeSet::new(),
            held: BTreeMap::new(),
            open: None,
            prefix: Vec::new(),
            buffer: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out.into_inner()
    }

    fn line(&mut self, line: &str) {
        self.end_line();
        self.out.write(format!("{line}\n").as_bytes());
    }

    fn end_line(&mut self) {
        if self.open.take().is_some() {
            self.out.write(b"\n");
        }
    }

    fn set_prefix(&mut self, step: &StepName, at: UnixMs) {
        self.prefix.clear();
        for part in [self.clock.at(at), " ", step, " | "] {
            self.prefix.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes lines that are whole, but for the first one's start, if that is out already or held.
    fn lines(&mut self, step: &StepName, at: UnixMs, lines: &[u8]) {
        self.set_prefix(step, at);
        self.begin(step);
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            if from > 0 {
                self.buffer.extend_from_slice(&self.prefix);
            }
            self.buffer.extend_from_slice(&lines[from..=end]);
            from = end + 1;
        }
        self.out.write(&self.buffer);
        self.open = None;
    }

    /// Puts the start of the step's line into the buffer: nothing, if it goes on with a line that is out.
    fn begin(&mut self, step: &StepName) {
        self.buffer.clear();
        if self.open.as_ref() != Some(step) {
            if self.open.is_some() {
                self.buffer.push(b'\n');
            }
            self.buffer.extend_from_slice(&self.prefix);
        }
        if let Some(held) = self.held.remove(step) {
            self.buffer.extend_from_slice(&held.bytes);
        }
    }

    /// Writes the start of a line.
    fn give_out(&mut self, step: &StepName) {
        let Some(at) = self.held.get(step).map(|held| held.at) else { return };
        self.set_prefix(step, at);
        self.begin(step);
        self.out.write(&self.buffer);
        self.open = Some(step.clone());
    }

    fn attempt_ended(&mut self, step: &StepName, lines: &[String]) {
        self.give_out(step);
        self.running.remove(step);
        self.say(lines);
    }
}

impl<W: Write + Send> Screen for Plain<W> {
    fn say(&mut self, lines: &[String]) {
        for line in lines {
            self.line(line);
        }
    }

    fn started(&mut self, step: &StepName, _at: UnixMs, start: &Started<'_>) {
        self.running.insert(step.clone());
        self.line(start.line);
    }

    fn output(&mut self, step: &StepName, at: UnixMs, bytes: &[u8]) {
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        if whole > 0 {
            self.lines(step, at, &bytes[..whole]);
        }
        if whole < bytes.len() {
            let held = self.held.entry(step.clone()).or_default();
            held.at = at;
            held.bytes.extend_from_slice(&bytes[whole..]);
            if held.bytes.len() >= HELD {
                self.give_out(step);
            }
        }
    }

    fn remark(&mut self, step: &StepName, at: UnixMs, line: &str) {
        self.give_out(step);
        self.end_line();
        self.lines(step, at, format!("{line}\n").as_bytes());
    }

    fn retried(&mut self, step: &StepName, _at: UnixMs, lines: &[String]) {
        self.attempt_ended(step, lines);
    }

    fn finished(&mut self, step: &StepName, _at: UnixMs, end: &Finished<'_>) {
        self.attempt_ended(step, end.lines);
    }

    fn shell(&mut self, _opens: bool, line: &str) {
        self.line(line);
        self.out.flush();
    }

    fn close(&mut self, _build: &Build, line: &str) {
        self.line(line);
    }

    fn idle(&mut self) {
        // A line that nobody ends for a while, as a progress bar: it may be shown where nobody can break it.
        if self.running.len() <= 1 {
            while let Some(step) = self.held.keys().next().cloned() {
                self.give_out(&step);
            }
        }
        self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::report::{
        Style, Teller,
        story::{Story, failing, parallel, stopped},
    };

    fn plain(story: &Story) -> String {
        let screen = Plain::with_clock(Vec::new(), Clock::of(TimeZone::UTC));
        let mut teller = Teller::new(screen, Style::PLAIN);
        story.tell(&mut teller);
        String::from_utf8(teller.into_screen().into_inner()).unwrap().replace('\x1b', "ESC")
    }

    #[test]
    fn lines_of_parallel_steps_do_not_mix() {
        insta::assert_snapshot!(plain(&parallel()), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        > test
        > lint
        22:13:24 test | one
        22:13:25 lint | checked
        22:13:26 test | two
        22:13:26 test | three
        !! test  failure, exit code 1, 1.2s; attempt 2 in 5.0s
        > test (attempt 2)
        22:13:29 test | again
        ok lint  1.2s
        ok test  1.2s, at attempt 2 (flaky)
           3 tests: 1 passed, 1 failed, 1 skipped
           failure unit divides: 1 / 0
           artifacts: dist/a.tar
           ## Tested
           All of it.
        shop #7: success in 4.0s
        "#);
    }

    #[test]
    fn a_failure_and_a_plugin_are_told_plainly() {
        insta::assert_snapshot!(plain(&failing()), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        > test
        22:13:23 test | ESC[31mnoESC[0m
        22:13:23 test | bad
        !! test  failure, exit code 7, 1.2s; the build goes on
        > post
        22:13:27 post | [warn] odd\x1b[2J code=7
        22:13:28 post | \x1b[2Jsent
          it trapped
          help: ask its author
        !! post  error, 1.2s
        - ship  skipped: step `post` ended in error
        shop #7: error in 4.0s: post
        "#);
    }

    #[test]
    fn a_cancelled_build_is_told_plainly() {
        insta::assert_snapshot!(plain(&stopped()), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        > a
        > a: a shell in /work; `exit` goes on
        > a: the shell was closed after 9.0s
        SIGINT: stopping; once more stops at once
        22:13:23 a | half
        !! a  cancellation, exit code 1, 1.2s
        shop #7: cancellation in 4.0s: a
        "#);
    }

    #[test]
    fn an_unfinished_line_shows_where_nobody_can_break_it() {
        let mut plain = Teller::new(Plain::with_clock(Vec::new(), Clock::of(TimeZone::UTC)), Style::PLAIN);
        Story::new(&["a"]).start("a", 1).print("a", "half ").tell(&mut plain);
        Story { events: Vec::new() }.print("a", "done\nnext\n").tell(&mut plain);
        let told = String::from_utf8(plain.into_screen().into_inner()).unwrap();
        assert!(told.ends_with("> a\n22:13:23 a | half done\n22:13:20 a | next\n"), "{told}");
    }

    #[test]
    fn a_line_without_end_is_not_held_for_ever() {
        let mut plain = Teller::new(Plain::with_clock(Vec::new(), Clock::of(TimeZone::UTC)), Style::PLAIN);
        let story = Story::new(&["a", "b"]).start("a", 1).start("b", 1);
        let long: &'static str = String::leak("x".repeat(70_000));
        story.print("a", long).print("b", "b\n").print("a", "y\n").tell(&mut plain);
        let told = String::from_utf8(plain.into_screen().into_inner()).unwrap();
        let end: Vec<_> = told.lines().skip(6).map(|line| (line.len(), &line[..13])).collect();
        assert_eq!(
            end,
            [(70_013, "22:13:24 a | "), (14, "22:13:25 b | b"), (14, "22:13:26 a | y")]
                .map(|(length, text)| (length, &text[..13]))
        );
    }
}
