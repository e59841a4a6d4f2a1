//! A build in the log of another CI, which folds each step's output into a group.
//!
//! One step has the floor: its group is open, and what it prints is there at once. What other steps print
//! meanwhile waits, in memory, until they end or have the floor; what does not fit there is given out with the
//! time and the step's name before each line.

use std::io::Write;

use crate::{
    build::Build,
    event::{Outcome, StepName, UnixMs},
    report::{Ci, Finished, Screen, Started, clock::Clock, out::Out, words},
};

/// How much output of a step waits.
const WAITING: usize = 4 << 20;

/// Writes groups.
pub(crate) struct Groups<W> {
    out: Out<W>,
    ci: Ci,
    clock: Clock,
    /// The steps that run, in the order in which they started. The first has the floor.
    running: Vec<Running>,
    /// The number of the open group, and what ends its fence.
    open: Option<(usize, Option<String>)>,
    /// How many groups were opened.
    opened: usize,
    /// The output ends within a line.
    mid_line: bool,
}

struct Running {
    step: StepName,
    title: String,
    /// What a plugin says is not to be obeyed.
    guest: bool,
    waiting: Vec<u8>,
}

impl<W: Write + Send> Groups<W> {
    pub(crate) fn new(out: W, ci: Ci) -> Self {
        Groups::with_clock(out, ci, Clock::local())
    }

    pub(super) fn with_clock(out: W, ci: Ci, clock: Clock) -> Self {
        Groups { out: Out::new(out), ci, clock, running: Vec::new(), open: None, opened: 0, mid_line: false }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out.into_inner()
    }

    fn line(&mut self, line: &str) {
        let start = if std::mem::take(&mut self.mid_line) { "\n" } else { "" };
        self.out.write(format!("{start}{line}\n").as_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.out.write(bytes);
            self.mid_line = *last != b'\n';
        }
    }

    fn open(&mut self, title: &str, guest: bool, at: UnixMs, folded: bool) {
        self.opened += 1;
        self.line(&self.ci.open(title, self.opened, at, folded));
        let fence = self.ci.fence().filter(|_| guest);
        let end = fence.map(|(start, end)| {
            self.line(&start);
            end
        });
        self.open = Some((self.opened, end));
    }

    fn close_group(&mut self, at: UnixMs) {
        if let Some((group, fence)) = self.open.take() {
            let close = self.ci.close(group, at);
            for line in fence.into_iter().chain(close) {
                self.line(&line);
            }
        }
    }

    /// The first of the running steps gets a group, with what it printed so far.
    fn give_floor(&mut self, at: UnixMs, again: bool) {
        let Some(first) = self.running.first_mut() else { return };
        let waiting = std::mem::take(&mut first.waiting);
        let title = if again { format!("{}, continued", first.title) } else { first.title.clone() };
        let guest = first.guest;
        self.open(&title, guest, at, false);
        self.raw(&waiting);
    }

    /// An attempt is over: its group, if it is not open, and what is to be said.
    fn ended(&mut self, step: &StepName, at: UnixMs, end: Option<&Finished<'_>>, lines: &[String]) {
        let Some(position) = self.running.iter().position(|running| running.step == *step) else {
            return self.say(lines);
        };
        let ended = self.running.remove(position);
        if position > 0 {
            self.close_group(at);
            let good = end.is_some_and(|end| end.outcome == Outcome::Success);
            self.open(&ended.title, ended.guest, at, good);
            self.raw(&ended.waiting);
        }
        self.close_group(at);
        let fence = self.ci.fence().filter(|_| ended.guest);
        let fence = fence.map_or_else(Default::default, |(start, end)| [vec![start], vec![end]]);
        self.say(&fence[0]);
        self.say(lines);
        self.say(&fence[1]);
        let failed = end.filter(|end| words::is_bad(end.conclusion));
        if let Some(line) = failed.and_then(|end| self.ci.failed(step, end.message)) {
            self.line(&line);
        }
        self.give_floor(at, position > 0);
    }

    /// Gives out lines of a step that does not have the floor.
    fn spill(&mut self, position: usize, at: UnixMs) {
        let running = &mut self.running[position];
        let end = memchr::memrchr(b'\n', &running.waiting).map_or(running.waiting.len(), |end| end + 1);
        let rest = running.waiting.split_off(end);
        let lines = std::mem::replace(&mut running.waiting, rest);
        let prefix = format!("{} {} | ", self.clock.at(at), running.step);
        let fence = self.ci.fence().filter(|_| running.guest);
        let fence = fence.map_or_else(Default::default, |(start, end)| [vec![start], vec![end]]);
        let mut out = Vec::with_capacity(lines.len() + lines.len() / 4);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(prefix.as_bytes());
            out.extend_from_slice(line);
        }
        self.say(&fence[0]);
        if self.mid_line {
            self.raw(b"\n");
        }
        self.raw(&out);
        self.say(&fence[1]);
    }
}

impl<W: Write + Send> Screen for Groups<W> {
    fn say(&mut self, lines: &[String]) {
        for line in lines {
            self.line(line);
        }
    }

    fn started(&mut self, step: &StepName, at: UnixMs, start: &Started<'_>) {
        let again = if start.attempt > 1 { format!(" (attempt {})", start.attempt) } else { String::new() };
        let title = format!("{step}{again}");
        self.running.push(Running { step: step.clone(), title, guest: start.guest, waiting: Vec::new() });
        if self.running.len() == 1 {
            self.give_floor(at, false);
        }
    }

    fn output(&mut self, step: &StepName, at: UnixMs, bytes: &[u8]) {
        match self.running.iter().position(|running| running.step == *step) {
            None | Some(0) => self.raw(bytes),
            Some(position) => {
                let waiting = &mut self.running[position].waiting;
                waiting.extend_from_slice(bytes);
                if waiting.len() > WAITING {
                    self.spill(position, at);
                }
            }
        }
    }

    fn remark(&mut self, step: &StepName, at: UnixMs, line: &str) {
        self.output(step, at, format!("{line}\n").as_bytes());
    }

    fn retried(&mut self, step: &StepName, at: UnixMs, lines: &[String]) {
        self.ended(step, at, None, lines);
    }

    fn finished(&mut self, step: &StepName, at: UnixMs, end: &Finished<'_>) {
        self.ended(step, at, Some(end), end.lines);
    }

    fn shell(&mut self, _opens: bool, line: &str) {
        self.line(line);
        self.out.flush();
    }

    fn close(&mut self, _build: &Build, line: &str) {
        self.line(line);
    }

    fn idle(&mut self) {
        self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::report::{
        Style, Teller,
        story::{Story, failing, parallel},
    };

    fn groups(story: &Story, ci: Ci) -> String {
        let screen = Groups::with_clock(Vec::new(), ci, Clock::of(TimeZone::UTC));
        let mut teller = Teller::new(screen, Style::PLAIN);
        story.tell(&mut teller);
        let told = String::from_utf8(teller.into_screen().into_inner()).unwrap();
        let is_token = |part: &&str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let tokens: Vec<_> = told.split([':', '\n']).filter(is_token).collect();
        let told = tokens.iter().fold(told.clone(), |told, token| told.replace(token, "TOKEN"));
        told.replace('\x1b', "ESC").replace('\r', "CR")
    }

    #[test]
    fn github_groups_hold_a_step_each() {
        insta::assert_snapshot!(groups(&parallel(), Ci::GitHub), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        ::group::test
        one
        two
        three
        ::endgroup::
        !! test  failure, exit code 1, 1.2s; attempt 2 in 5.0s
        ::group::lint
        checked
        ::endgroup::
        ok lint  1.2s
        ::group::test (attempt 2)
        again
        ::endgroup::
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
    fn github_does_not_obey_a_plugin() {
        insta::assert_snapshot!(groups(&failing(), Ci::GitHub), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        ::group::test
        ESC[31mnoESC[0m
        bad
        ::endgroup::
        !! test  failure, exit code 7, 1.2s; the build goes on
        ::group::post
        ::stop-commands::TOKEN
        [warn] odd\x1b[2J code=7
        \x1b[2Jsent
        ::TOKEN::
        ::endgroup::
        ::stop-commands::TOKEN
          it trapped
          help: ask its author
        !! post  error, 1.2s
        ::TOKEN::
        ::error title=post::it trapped
        - ship  skipped: step `post` ended in error
        shop #7: error in 4.0s: post
        "#);
    }

    #[test]
    fn gitlab_sections_have_a_start_and_an_end() {
        insta::assert_snapshot!(groups(&failing(), Ci::GitLab), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        ESC[0Ksection_start:1700000002:dcd_1CRESC[0Ktest
        ESC[31mnoESC[0m
        bad
        ESC[0Ksection_end:1700000005:dcd_1CRESC[0K
        !! test  failure, exit code 7, 1.2s; the build goes on
        ESC[0Ksection_start:1700000006:dcd_2CRESC[0Kpost
        [warn] odd\x1b[2J code=7
        \x1b[2Jsent
        ESC[0Ksection_end:1700000010:dcd_2CRESC[0K
          it trapped
          help: ask its author
        !! post  error, 1.2s
        - ship  skipped: step `post` ended in error
        shop #7: error in 4.0s: post
        "#);
    }

    #[test]
    fn buildkite_opens_the_group_of_a_failure() {
        insta::assert_snapshot!(groups(&failing(), Ci::Buildkite), @r#"
        shop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        --- test
        ESC[31mnoESC[0m
        bad
        !! test  failure, exit code 7, 1.2s; the build goes on
        --- post
        [warn] odd\x1b[2J code=7
        \x1b[2Jsent
          it trapped
          help: ask its author
        !! post  error, 1.2s
        ^^^ +++
        - ship  skipped: step `post` ended in error
        shop #7: error in 4.0s: post
        "#);
    }

    #[test]
    fn output_that_waits_too_long_is_given_out_with_its_step() {
        let story = Story::new(&["a", "b"]).start("a", 1).start("b", 1).print("a", "mine");
        let much: &'static str = String::leak("0123456789abcde\n".repeat(300_000) + "rest");
        let told =
            groups(&story.print("b", much).print("a", " too\n").end("b", Outcome::Success), Ci::GitHub);
        assert_eq!(told.matches("22:13:25 b | 0123456789abcde\n").count(), 300_000);
        let end = &told[told.rfind("abcde\n").unwrap()..];
        insta::assert_snapshot!(end, @r#"
        abcde
         too
        ::endgroup::
        ::group::b
        rest
        ::endgroup::
        ok b  1.2s
        ::group::a, continued
        "#);
    }
}
