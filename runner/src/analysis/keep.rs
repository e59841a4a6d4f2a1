//! Which builds keep what their steps printed.

use std::collections::HashMap;

use crate::event::{Outcome, UnixMs};

/// Each rule keeps builds; what no rule keeps is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest of each component.
    pub newest: Option<usize>,
    /// Those that started since.
    pub since: Option<UnixMs>,
    /// The newest of each component that succeeded.
    pub successes: Option<usize>,
}

/// A build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// What was built.
    pub component: &'a str,
    /// When it started.
    pub started_at: UnixMs,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// Of each of the builds, which are sorted newest first, whether it keeps its output. One that runs always does.
pub fn kept<'a>(builds: impl IntoIterator<Item = Candidate<'a>>, rules: Rules) -> Vec<bool> {
    let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
    let keeps = |build: Candidate<'a>| {
        let (builds, successes) = seen.entry(build.component).or_default();
        *builds += 1;
        *successes += usize::from(build.outcome == Some(Outcome::Success));
        let is_success = build.outcome == Some(Outcome::Success);
        build.outcome.is_none()
            || rules.newest.is_some_and(|newest| *builds <= newest)
            || rules.since.is_some_and(|since| build.started_at >= since)
            || (is_success && rules.successes.is_some_and(|newest| *successes <= newest))
    };
    builds.into_iter().map(keeps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILDS: [(&str, UnixMs, Option<Outcome>); 7] = [
        ("shop", 90, Some(Outcome::Failure)),
        ("api", 80, Some(Outcome::Success)),
        ("shop", 70, Some(Outcome::Success)),
        ("shop", 60, None),
        ("shop", 50, Some(Outcome::Success)),
        ("api", 40, Some(Outcome::Failure)),
        ("shop", 30, Some(Outcome::Success)),
    ];

    fn which(rules: Rules) -> Vec<UnixMs> {
        let candidate = |(component, started_at, outcome): &(&'static str, _, _)| Candidate {
            component,
            started_at: *started_at,
            outcome: *outcome,
        };
        let kept = kept(BUILDS.iter().map(candidate), rules);
        BUILDS.iter().zip(kept).filter(|(_, kept)| *kept).map(|(build, _)| build.1).collect()
    }

    #[test]
    fn each_rule_counts_within_a_component_and_what_runs_is_kept() {
        let none = Rules::default();
        assert_eq!(which(none), [60]);
        assert_eq!(which(Rules { newest: Some(1), ..none }), [90, 80, 60]);
        assert_eq!(which(Rules { newest: Some(2), ..none }), [90, 80, 70, 60, 40]);
        assert_eq!(which(Rules { since: Some(50), ..none }), [90, 80, 70, 60, 50]);
        assert_eq!(which(Rules { successes: Some(1), ..none }), [80, 70, 60]);
        assert_eq!(which(Rules { successes: Some(2), ..none }), [80, 70, 60, 50]);
    }

    #[test]
    fn what_one_rule_keeps_is_kept() {
        let rules = Rules { newest: Some(1), since: Some(85), successes: Some(3) };
        assert_eq!(which(rules), [90, 80, 70, 60, 50, 30]);
    }
}
