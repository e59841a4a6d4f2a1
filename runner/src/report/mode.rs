//! How a build is shown, where nobody says it.

use std::ffi::OsString;

use crate::report::Ci;

/// How a build is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Redrawn on a terminal.
    Live,
    /// As lines.
    Plain,
    /// As lines, in groups that this CI folds.
    Groups(Ci),
    /// As events.
    Json,
}

impl Mode {
    /// The mode that fits standard output, `terminal` or not, and the environment.
    pub fn fitting(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "false");
        if let Some(ci) = Ci::of(&variable) {
            return Mode::Groups(ci);
        }
        // A terminal that does not say what it is cannot be trusted to move its cursor.
        let moves = variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        if terminal && moves && !set("CI") { Mode::Live } else { Mode::Plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_drawn_on_if_it_can_be() {
        let mode = |terminal, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
            Mode::fitting(terminal, |name| find(name).map(|(_, value)| OsString::from(*value)))
        };
        assert_eq!(mode(true, &[("TERM", "xterm")]), Mode::Live);
        assert_eq!(mode(true, &[("TERM", "dumb")]), Mode::Plain);
        assert_eq!(mode(true, &[]), Mode::Plain);
        assert_eq!(mode(false, &[("TERM", "xterm")]), Mode::Plain);
        assert_eq!(mode(true, &[("TERM", "xterm"), ("CI", "true")]), Mode::Plain);
        assert_eq!(mode(true, &[("TERM", "xterm"), ("CI", "false")]), Mode::Live);
        assert_eq!(mode(false, &[("GITLAB_CI", "true")]), Mode::Groups(Ci::GitLab));
    }
}
