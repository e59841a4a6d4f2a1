//! Which builds are asked for.

use crate::{
    cli::{FilterArgs, OutcomeArg},
    engine::ports::backend::Filter,
    event::{Outcome, UnixMs},
    report::Summary,
};

/// What a build must fit, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::commands) struct Criteria {
    pub(in crate::commands) component: Option<String>,
    /// `None` is a build that runs; empty is any.
    pub(in crate::commands) outcomes: Vec<Option<Outcome>>,
    pub(in crate::commands) branch: Option<String>,
    /// How the commit begins.
    pub(in crate::commands) commit: Option<String>,
    pub(in crate::commands) user: Option<String>,
    pub(in crate::commands) since: Option<UnixMs>,
    pub(in crate::commands) until: Option<UnixMs>,
    /// Comes after this one in a list: when that started, and its id.
    pub(in crate::commands) before: Option<(UnixMs, String)>,
    /// In lower case.
    pub(in crate::commands) text: Option<String>,
}

impl Criteria {
    pub(in crate::commands) fn new(args: &FilterArgs, component: Option<String>) -> Self {
        let lower = |text: &String| text.to_lowercase();
        Criteria {
            component,
            outcomes: args.outcomes.iter().copied().map(outcome).collect(),
            branch: args.branch.clone(),
            commit: args.commit.as_ref().map(lower),
            user: args.author.clone(),
            since: args.since,
            until: args.until,
            before: None,
            text: args.grep.as_ref().map(lower),
        }
    }

    /// What a backend can leave out by itself. What it gives must still fit.
    pub(super) fn filter(&self) -> Filter {
        let mut outcomes = self.outcomes.clone();
        // A lost build, which counts as an error, runs for a backend.
        if outcomes.contains(&Some(Outcome::Error)) && !outcomes.contains(&None) {
            outcomes.push(None);
        }
        let before = self.before.as_ref().map(|(at, _)| at + 1);
        let mut metadata = Vec::new();
        metadata.extend(self.branch.clone().map(|branch| ("branch", branch)));
        metadata.extend(self.user.clone().map(|user| ("user", user)));
        Filter {
            component: self.component.clone(),
            outcomes,
            started_after: self.since.map(|since| since.saturating_sub(1)),
            started_before: self.until.into_iter().chain(before).min(),
            metadata,
        }
    }

    /// Whether a backend gives all that fits, and nothing else.
    pub(super) fn is_pushed_down(&self) -> bool {
        self.commit.is_none() && self.text.is_none()
    }

    /// Whether a build that started then may fit.
    pub(super) fn fits_time(&self, earliest: UnixMs, latest: UnixMs) -> bool {
        self.since.is_none_or(|since| latest >= since)
            && self.until.is_none_or(|until| earliest < until)
            && self.before.as_ref().is_none_or(|(at, _)| earliest <= *at)
    }

    pub(super) fn fits(&self, build: &Summary) -> bool {
        let metadata = &build.metadata;
        let is = |wanted: &Option<String>, known: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| known == Some(wanted))
        };
        let after = |(at, id): &(UnixMs, String)| (build.started_at, &build.id) < (*at, id);
        is(&self.component, Some(&build.component))
            && (self.outcomes.is_empty() || self.outcomes.contains(&build.outcome))
            && is(&self.branch, metadata.branch.as_deref())
            && is(&self.user, metadata.user.as_deref())
            && self.commit.as_deref().is_none_or(|start| {
                metadata.commit.as_deref().is_some_and(|commit| commit.starts_with(start))
            })
            && self.fits_time(build.started_at, build.started_at)
            && self.before.as_ref().is_none_or(after)
            && self.text.as_deref().is_none_or(|text| says(build, text))
    }
}

/// Whether the text is in anything that people call the build by.
fn says(build: &Summary, text: &str) -> bool {
    let metadata = &build.metadata;
    let said = [Some(&metadata.pipeline), Some(&build.component), build.reason.as_ref()];
    let known = [&metadata.branch, &metadata.commit, &metadata.user].map(Option::as_ref);
    let mut said = said.into_iter().chain(known).flatten().chain(&build.steps);
    said.any(|said| said.to_lowercase().contains(text))
}

fn outcome(arg: OutcomeArg) -> Option<Outcome> {
    match arg {
        OutcomeArg::Success => Some(Outcome::Success),
        OutcomeArg::Failure => Some(Outcome::Failure),
        OutcomeArg::Error => Some(Outcome::Error),
        OutcomeArg::Timeout => Some(Outcome::Timeout),
        OutcomeArg::Cancellation => Some(Outcome::Cancellation),
        OutcomeArg::Running => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ports::backend::Metadata;

    fn build() -> Summary {
        let metadata = Metadata {
            pipeline: "Release".into(),
            commit: Some("abc123".into()),
            branch: Some("main".into()),
            user: Some("ada@example.com".into()),
            ..Metadata::default()
        };
        Summary {
            id: "b".into(),
            number: Some(7),
            component: "shop".into(),
            outcome: Some(Outcome::Error),
            reason: Some("runner lost".into()),
            started_at: 100,
            finished_at: None,
            duration_ms: None,
            metadata,
            steps: vec!["Unit tests".into()],
            pruned: false,
        }
    }

    #[test]
    fn a_build_must_fit_all_of_it() {
        let text = |text: &str| Some(text.to_owned());
        let any = Criteria::default();
        let fitting = [
            any.clone(),
            Criteria { component: text("shop"), branch: text("main"), commit: text("abc"), ..any.clone() },
            Criteria { outcomes: vec![None, Some(Outcome::Error)], ..any.clone() },
            Criteria { since: Some(100), until: Some(101), ..any.clone() },
            Criteria { before: Some((101, "a".into())), ..any.clone() },
            Criteria { before: Some((100, "c".into())), ..any.clone() },
            Criteria { text: text("unit"), ..any.clone() },
            Criteria { text: text("lost"), user: text("ada@example.com"), ..any.clone() },
            Criteria { text: text("release"), ..any.clone() },
        ];
        let other = [
            Criteria { component: text("sho"), ..any.clone() },
            Criteria { branch: text("mai"), ..any.clone() },
            Criteria { commit: text("bc"), ..any.clone() },
            Criteria { user: text("bob"), ..any.clone() },
            Criteria { outcomes: vec![None], ..any.clone() },
            Criteria { since: Some(101), ..any.clone() },
            Criteria { until: Some(100), ..any.clone() },
            Criteria { before: Some((100, "b".into())), ..any.clone() },
            Criteria { text: text("lint"), ..any.clone() },
        ];
        assert!(fitting.iter().all(|criteria| criteria.fits(&build())));
        for criteria in other {
            assert!(!criteria.fits(&build()), "{criteria:?}");
        }
    }

    #[test]
    fn a_backend_leaves_out_no_build_that_fits() {
        let criteria = Criteria {
            outcomes: vec![Some(Outcome::Error)],
            since: Some(50),
            until: Some(200),
            before: Some((150, "x".into())),
            branch: Some("main".into()),
            ..Criteria::default()
        };
        let filter = criteria.filter();
        assert_eq!(filter.outcomes, [Some(Outcome::Error), None], "one that is lost");
        assert_eq!((filter.started_after, filter.started_before), (Some(49), Some(151)));
        assert_eq!(filter.metadata, [("branch", "main".to_owned())]);
    }
}
