//! A build on a terminal: a line for each step that has ended, and below them what runs.
//!
//! It goes to standard output, where the same lines go without a terminal: both are one text, which is drawn by
//! one hand. What steps print is folded; that of a step that went wrong is shown at the end, last.
//!
//! A thread of its own draws, ten times a second, however fast steps print.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    build::Build,
    event::{Outcome, StepName, UnixMs},
    report::{
        Finished, Screen, Started, Style,
        area::{Area, Running, Size},
        painter::Painter,
        tail::Tail,
        words,
    },
};

/// How long a frame is shown.
const FRAME: Duration = Duration::from_millis(100);
/// How long somebody who has to end waits for a terminal that may stand still.
const PATIENCE: Duration = Duration::from_millis(200);

/// Shows a build on a terminal.
pub(crate) struct Live<W> {
    shared: Arc<Shared<W>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<W> {
    view: Mutex<View<W>>,
    ended: Condvar,
}

struct View<W> {
    painter: Painter<W>,
    size: fn() -> Size,
    style: Style,
    begun: Instant,
    area: Area,
    /// Lines that are not on the screen yet.
    lasting: Vec<u8>,
    /// What steps printed that went wrong.
    failed: Vec<(StepName, Tail)>,
    /// The terminal belongs to somebody's shell.
    lent: bool,
    ended: bool,
}

impl<W: Write + Send + 'static> Live<W> {
    /// Draws on `out`, a terminal of that size.
    pub(crate) fn new(out: W, size: fn() -> Size, style: Style) -> Self {
        let mut live = Live::undrawn(out, size, style);
        let drawing = live.shared.clone();
        live.thread = std::thread::Builder::new().name("live".into()).spawn(move || drawing.draw()).ok();
        live
    }

    /// What draws only when there is a pause: without a thread there is nothing better.
    fn undrawn(out: W, size: fn() -> Size, style: Style) -> Self {
        let view = View {
            painter: Painter::new(out),
            size,
            style,
            begun: Instant::now(),
            area: Area::default(),
            lasting: Vec::new(),
            failed: Vec::new(),
            lent: false,
            ended: false,
        };
        let shared = Arc::new(Shared { view: Mutex::new(view), ended: Condvar::new() });
        Live { shared, thread: None }
    }

    /// What takes the area off the terminal, should the build break.
    pub(crate) fn curtain(&self) -> Box<dyn FnOnce() + Send> {
        let shared = self.shared.clone();
        Box::new(move || shared.end_soon())
    }
}

impl<W: Write> Shared<W> {
    fn view(&self) -> MutexGuard<'_, View<W>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) {
        let mut view = self.view();
        while !view.ended {
            view.frame();
            view = self.ended.wait_timeout(view, FRAME).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the view, unless the terminal stands still.
    fn end_soon(&self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(mut view) = self.view.try_lock() {
                return view.end();
            }
            std::thread::sleep(PATIENCE / 20);
        }
    }
}

impl<W: Write> View<W> {
    fn frame(&mut self) {
        // Before there is a build, or beside somebody's shell, there is nothing to draw.
        if self.area.steps == 0 || self.lent || self.ended {
            return;
        }
        let size = (self.size)();
        let area = self.area.lines(self.begun.elapsed(), size, self.style);
        self.painter.frame(&std::mem::take(&mut self.lasting), &area, size);
    }

    fn clear(&mut self) {
        self.painter.frame(&std::mem::take(&mut self.lasting), &[], (self.size)());
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.clear();
        }
    }

    fn say(&mut self, lines: &[String]) {
        for line in lines {
            self.lasting.extend_from_slice(line.as_bytes());
            self.lasting.push(b'\n');
        }
    }

    /// What a step printed that went wrong.
    fn unfold(&mut self, build: &Build, step: &StepName, tail: &Tail) {
        let (output, whole) = tail.end();
        let build = build.number.map_or_else(|| build.id.clone(), |number| number.to_string());
        let title = if whole {
            format!("-- what {step} printed")
        } else {
            format!("-- the last that {step} printed; all of it: dcd history logs {build} {step}")
        };
        self.say(&[self.style.bold(&title)]);
        self.lasting.extend_from_slice(output);
        // A colour that was left on ends here.
        let end: &[u8] = if output.contains(&0x1b) { b"\x1b[0m" } else { b"" };
        self.lasting.extend_from_slice(end);
        if output.last() != Some(&b'\n') {
            self.lasting.push(b'\n');
        }
    }
}

impl<W: Write + Send + 'static> Screen for Live<W> {
    fn build(&mut self, steps: usize) {
        self.shared.view().area.steps = steps;
    }

    fn say(&mut self, lines: &[String]) {
        self.shared.view().say(lines);
    }

    fn skipped(&mut self, lines: &[String]) {
        let mut view = self.shared.view();
        view.area.decided += 1;
        view.say(lines);
    }

    fn started(&mut self, step: &StepName, _at: UnixMs, start: &Started<'_>) {
        let mut view = self.shared.view();
        let started = view.begun.elapsed();
        let attempt = start.attempt;
        view.area.running.push(Running { step: step.clone(), attempt, started, tail: Tail::default() });
    }

    fn output(&mut self, step: &StepName, _at: UnixMs, bytes: &[u8]) {
        if let Some(running) = self.shared.view().area.find(step) {
            running.tail.push(bytes);
        }
    }

    fn remark(&mut self, step: &StepName, _at: UnixMs, line: &str) {
        self.shared.view().say(&[format!("  {step} {line}")]);
    }

    fn retried(&mut self, step: &StepName, _at: UnixMs, lines: &[String]) {
        let mut view = self.shared.view();
        view.area.take(step);
        view.say(lines);
    }

    fn finished(&mut self, step: &StepName, _at: UnixMs, end: &Finished<'_>) {
        let mut view = self.shared.view();
        view.area.decided += 1;
        let running = view.area.take(step);
        // Who cancels a build has seen enough.
        let went_wrong = words::is_bad(end.outcome) && end.outcome != Outcome::Cancellation;
        if let Some(mut running) = running.filter(|running| went_wrong && !running.tail.is_empty()) {
            running.tail.shrink();
            view.failed.push((running.step, running.tail));
        }
        view.say(end.lines);
    }

    fn shell(&mut self, opens: bool, line: &str) {
        let mut view = self.shared.view();
        view.say(&[line.to_owned()]);
        if opens {
            view.clear();
        }
        view.lent = opens;
    }

    fn close(&mut self, build: &Build, line: &str) {
        let mut view = self.shared.view();
        for (step, tail) in std::mem::take(&mut view.failed) {
            view.unfold(build, &step, &tail);
        }
        view.say(&[line.to_owned()]);
        view.end();
        self.shared.ended.notify_all();
    }

    fn idle(&mut self) {
        if self.thread.is_none() {
            self.shared.view().frame();
        }
    }
}

impl<W> Drop for Live<W> {
    fn drop(&mut self) {
        self.shared.view.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        engine::ports::Sink,
        report::{
            Teller,
            story::{Story, failing, parallel, stopped},
        },
    };

    /// What a terminal got.
    #[derive(Clone, Default)]
    struct Got(Arc<Mutex<Vec<u8>>>);

    impl Write for Got {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Got {
        /// What came since the last call.
        fn news(&self) -> String {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().replace('\r', "").replace('\x1b', "ESC")
        }
    }

    fn live() -> (Got, Teller<Live<Got>>) {
        let got = Got::default();
        let size = || Size { columns: 60, rows: 24 };
        let live = Live::undrawn(got.clone(), size, Style::PLAIN);
        (got, Teller::new(live, Style::PLAIN))
    }

    fn told(story: &Story) -> String {
        let (got, mut teller) = live();
        story.tell(&mut teller);
        got.news()
    }

    #[test]
    fn what_goes_well_is_folded() {
        insta::assert_snapshot!(told(&parallel()), @r#"
        ESC[Jshop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        !! test  failure, exit code 1, 1.2s; attempt 2 in 5.0s
        ok lint  1.2s
        ok test  1.2s, at attempt 2 (flaky)
           3 tests: 1 passed, 1 failed, 1 skipped
           failure unit divides: 1 / 0
           artifacts: dist/a.tar
           ## Tested
           All of it.
        shop #7: success in 4.0s
        ESC[J
        "#);
    }

    #[test]
    fn what_went_wrong_is_shown_last() {
        insta::assert_snapshot!(told(&failing()), @r#"
        ESC[Jshop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        !! test  failure, exit code 7, 1.2s; the build goes on
          post [warn] odd\x1b[2J code=7
          it trapped
          help: ask its author
        !! post  error, 1.2s
        - ship  skipped: step `post` ended in error
        -- what test printed
        ESC[31mnoESC[0m
        badESC[0m
        -- what post printed
        \x1b[2Jsent
        shop #7: error in 4.0s: post
        ESC[J
        "#);
    }

    #[test]
    fn a_shell_has_the_terminal_for_itself() {
        let (got, mut teller) = live();
        let mut story = stopped();
        let mut closed = Story { events: story.events.split_off(5) };
        story.tell(&mut teller);
        insta::assert_snapshot!(got.news(), @r#"
        ESC[Jshop #7  01a203e2
          image   not asked
          commit  not asked
          again   01a203e1
        > a: a shell in /work; `exit` goes on
        ESC[J
        "#);
        Story { events: Vec::new() }.print("a", "more\n").tell(&mut teller);
        assert_eq!(got.news(), "");
        let rest = closed.events.split_off(1);
        closed.tell(&mut teller);
        insta::assert_snapshot!(got.news(), @r#"
        ESC[J> a: the shell was closed after 9.0s
        ESC[K⠋ a  0s
        ESC[K  | halfmore
        ESC[K0 of 1 steps, 1 running, 0sESC[J
        "#);
        Story { events: rest }.tell(&mut teller);
        insta::assert_snapshot!(got.news(), @r#"
        ESC[2AESC[JSIGINT: stopping; once more stops at once
        !! a  cancellation, exit code 1, 1.2s
        shop #7: cancellation in 4.0s: a
        ESC[J
        "#);
    }

    #[test]
    fn much_output_is_cut_and_says_where_the_rest_is() {
        let much: &'static str = String::leak("x\n".repeat(3000));
        let story = Story::new(&["a"]).start("a", 1).print("a", much).end("a", Outcome::Failure);
        let told = told(&story.close(Outcome::Failure));
        let output = &told[told.find("-- ").unwrap()..];
        assert!(
            output.starts_with("-- the last that a printed; all of it: dcd history logs 7 a\nx\nx\n"),
            "{output}"
        );
        assert_eq!(output.matches("x\n").count(), 2000);
    }

    #[test]
    fn a_build_that_breaks_leaves_nothing_drawn() {
        let got = Got::default();
        let live = Live::new(got.clone(), || Size { columns: 60, rows: 24 }, Style::PLAIN);
        let curtain = live.curtain();
        let mut teller = Teller::new(live, Style::PLAIN);
        Story::new(&["a"]).start("a", 1).tell(&mut teller);
        let drawn = |got: &Got| got.0.lock().unwrap().ends_with(b"1 running, 0s\x1b[J");
        while !drawn(&got) {
            std::thread::sleep(FRAME / 10);
        }
        curtain();
        assert!(got.news().ends_with("ESC[1AESC[J"));
        Story { events: Vec::new() }.print("a", "more\n").tell(&mut teller);
        teller.idle();
        drop(teller);
        assert_eq!(got.news(), "");
    }
}
