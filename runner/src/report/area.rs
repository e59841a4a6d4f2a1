//! What the live view shows of the steps that run: a pure function of what is known.

use std::time::Duration;

use unicode_width::UnicodeWidthChar;

use crate::{
    event::StepName,
    report::{Style, tail::Tail},
    text,
};

/// How many of its last lines are shown of a step that runs alone.
const ALONE: usize = 4;
/// Turns ten times a second.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// What runs.
#[derive(Default)]
pub(super) struct Area {
    /// How many steps the build has.
    pub(super) steps: usize,
    /// How many of them are decided.
    pub(super) decided: usize,
    /// In the order in which they started.
    pub(super) running: Vec<Running>,
}

/// A step that runs.
pub(super) struct Running {
    pub(super) step: StepName,
    /// 1 for the first.
    pub(super) attempt: u32,
    /// When it started, by the same clock as [`Area::lines`]'s time.
    pub(super) started: Duration,
    pub(super) tail: Tail,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Area {
    pub(super) fn find(&mut self, step: &StepName) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.step == *step)
    }

    pub(super) fn take(&mut self, step: &StepName) -> Option<Running> {
        let position = self.running.iter().position(|running| running.step == *step)?;
        Some(self.running.remove(position))
    }

    /// Its lines, none of which is longer than the terminal is wide, nor are they more than it is high.
    pub(super) fn lines(&self, now: Duration, size: Size, style: Style) -> Vec<String> {
        // A line that fills the last column leaves it to the terminal where the cursor is.
        let width = size.columns.saturating_sub(1).max(1);
        let spinner = SPINNER[usize::try_from(now.as_millis() / 100).unwrap_or_default() % SPINNER.len()];
        let cut_to = |text: String| cut(&text, width);
        let mut lines: Vec<String> = match self.running.as_slice() {
            [] => Vec::new(),
            [only] => {
                let title = cut(&format!("{spinner} {}  {}", only.title(), only.elapsed(now)), width);
                let last = only.tail.last_lines(ALONE).into_iter();
                let last = last.map(|line| style.dim(&cut_to(format!("  | {line}"))));
                [style.bold(&title)].into_iter().chain(last).collect()
            }
            several => {
                let named = several.iter().map(|running| columns(&running.title())).max().unwrap_or_default();
                several.iter().map(|running| cut_to(running.line(spinner, named, now))).collect()
            }
        };
        let room = size.rows.saturating_sub(2).max(1);
        if lines.len() > room {
            let hidden = lines.len() - room + 1;
            lines.truncate(room - 1);
            if self.running.len() > 1 {
                lines.push(cut_to(format!("  and {hidden} more")));
            }
        }
        let running = self.running.len();
        let footer =
            format!("{} of {} steps, {running} running, {}", self.decided, self.steps, whole_seconds(now));
        lines.push(style.dim(&cut_to(footer)));
        lines
    }
}

impl Running {
    fn elapsed(&self, now: Duration) -> String {
        whole_seconds(now.saturating_sub(self.started))
    }

    fn title(&self) -> String {
        let again = if self.attempt > 1 { format!(" (attempt {})", self.attempt) } else { String::new() };
        format!("{}{again}", self.step)
    }

    fn line(&self, spinner: char, named: usize, now: Duration) -> String {
        let title = self.title();
        let fill = " ".repeat(named.saturating_sub(columns(&title)));
        let last = self.tail.last_lines(1).pop().unwrap_or_default();
        format!("{spinner} {title}{fill}  {:>4}  {last}", self.elapsed(now))
    }
}

/// As a clock that is looked at says it: tenths would only flicker.
fn whole_seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        _ => text::duration(time),
    }
}

/// How wide the text is on a terminal.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or_default()).sum()
}

/// As much of the text as is not wider than that.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.trim_end().to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or_default();
        used <= width
    };
    let start: String = text.chars().take_while(fits).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(outputs: &[(&str, &str)]) -> Area {
        let running = outputs.iter().enumerate().map(|(index, (step, output))| {
            let mut tail = Tail::default();
            tail.push(output.as_bytes());
            Running {
                step: StepName::from(*step),
                attempt: 1,
                started: Duration::from_secs(index as u64),
                tail,
            }
        });
        Area { steps: 12, decided: 3, running: running.collect() }
    }

    fn shown(area: &Area, columns: usize, rows: usize) -> String {
        area.lines(Duration::from_secs(75), Size { columns, rows }, Style::PLAIN).join("\n")
    }

    #[test]
    fn one_step_shows_its_last_lines() {
        insta::assert_snapshot!(shown(&area(&[("test", "1\n2\n3\n4\n5\n")]), 80, 24), @r#"
        ⠋ test  1m15s
          | 2
          | 3
          | 4
          | 5
        3 of 12 steps, 1 running, 1m15s
        "#);
    }

    #[test]
    fn several_steps_show_a_line_each() {
        let area =
            area(&[("test", "one\ntwo\n"), ("lint", ""), ("build docs", "\u{1b}[32mCompiling\u{1b}[0m\n")]);
        insta::assert_snapshot!(shown(&area, 80, 24), @r#"
        ⠋ test        1m15s  two
        ⠋ lint        1m14s
        ⠋ build docs  1m13s  Compiling
        3 of 12 steps, 3 running, 1m15s
        "#);
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_terminal() {
        let area =
            area(&[("one", "a long line of output"), ("two", "漢字漢字漢字"), ("three", "x"), ("four", "y")]);
        insta::assert_snapshot!(shown(&area, 20, 5), @r#"
        ⠋ one    1m15s  a …
        ⠋ two    1m14s  漢…
          and 2 more
        3 of 12 steps, 4 r…
        "#);
        for (wide, high) in [(1, 1), (2, 2), (3, 1), (0, 0), (7, 3)] {
            let lines = area.lines(Duration::ZERO, Size { columns: wide, rows: high }, Style::PLAIN);
            assert!(lines.len() <= high.max(2), "{wide}x{high}: {lines:?}");
            assert!(lines.iter().all(|line| columns(line) < wide.max(2)), "{wide}x{high}: {lines:?}");
        }
    }

    #[test]
    fn nothing_runs() {
        insta::assert_snapshot!(shown(&area(&[]), 80, 24), @"3 of 12 steps, 0 running, 1m15s");
    }
}
