//! Another CI that dcd runs in, and how its log folds.

use std::ffi::OsString;

use crate::event::UnixMs;

/// A CI whose log can be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions, and what speaks like it (Gitea, Forgejo).
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Buildkite.
    Buildkite,
}

impl Ci {
    /// The CI that this environment is of. Inside a step of dcd it is none: groups do not nest.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name| variable(name).is_some_and(|value| !value.is_empty() && value != "false");
        match () {
            () if set("DCD") => None,
            () if set("GITHUB_ACTIONS") => Some(Ci::GitHub),
            () if set("GITLAB_CI") => Some(Ci::GitLab),
            () if set("BUILDKITE") => Some(Ci::Buildkite),
            () => None,
        }
    }

    /// The line that opens a group. `folded`: nobody needs to look into it.
    pub(super) fn open(self, title: &str, group: usize, at: UnixMs, folded: bool) -> String {
        match self {
            Ci::GitHub => format!("::group::{}", data(title)),
            Ci::GitLab => {
                let folded = if folded { "[collapsed=true]" } else { "" };
                format!("\x1b[0Ksection_start:{}:dcd_{group}{folded}\r\x1b[0K{title}", at / 1000)
            }
            Ci::Buildkite => format!("--- {title}"),
        }
    }

    /// The line that closes it, where one is needed.
    pub(super) fn close(self, group: usize, at: UnixMs) -> Option<String> {
        match self {
            Ci::GitHub => Some("::endgroup::".to_owned()),
            Ci::GitLab => Some(format!("\x1b[0Ksection_end:{}:dcd_{group}\r\x1b[0K", at / 1000)),
            Ci::Buildkite => None,
        }
    }

    /// The line that draws the eye to a step that failed.
    pub(super) fn failed(self, step: &str, message: &str) -> Option<String> {
        match self {
            Ci::GitHub => {
                let title = data(step).replace(':', "%3A").replace(',', "%2C");
                Some(format!("::error title={title}::{}", data(message)))
            }
            Ci::GitLab => None,
            // Opens the group again.
            Ci::Buildkite => Some("^^^ +++".to_owned()),
        }
    }

    /// The lines between which this CI does not obey what it reads, if it would.
    pub(super) fn fence(self) -> Option<(String, String)> {
        match self {
            Ci::GitHub => {
                // Nobody can guess it.
                let token = uuid::Uuid::now_v7().simple().to_string();
                Some((format!("::stop-commands::{token}"), format!("::{token}::")))
            }
            Ci::GitLab | Ci::Buildkite => None,
        }
    }
}

/// What follows GitHub's `::command::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Ci> {
        Ci::of(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value)))
    }

    #[test]
    fn a_ci_is_known_by_its_variable() {
        assert_eq!(of(&[("GITHUB_ACTIONS", "true"), ("CI", "true")]), Some(Ci::GitHub));
        assert_eq!(of(&[("GITLAB_CI", "true")]), Some(Ci::GitLab));
        assert_eq!(of(&[("BUILDKITE", "true")]), Some(Ci::Buildkite));
        assert_eq!(of(&[("CI", "true")]), None);
        assert_eq!(of(&[("GITHUB_ACTIONS", "false")]), None);
        assert_eq!(of(&[("GITHUB_ACTIONS", "true"), ("DCD", "true")]), None, "inside a step");
    }

    #[test]
    fn what_is_said_cannot_end_a_github_command() {
        let line = Ci::GitHub.failed("a: b, c", "100%\n::error::x").unwrap();
        assert_eq!(line, "::error title=a%3A b%2C c::100%25%0A::error::x");
    }
}
