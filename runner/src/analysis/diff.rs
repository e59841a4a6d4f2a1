//! What differs between two builds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    build::{Build, Step},
    event::Outcome,
    facts::{Fact, Facts, Git, Plugin},
};

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What they ran on, with and in.
    pub facts: Vec<Change>,
    /// How they ended, where that differs.
    pub outcome: Option<Change>,
    /// Every step of either, in the order of the second one, then those that it has not.
    pub steps: Vec<StepChange>,
    /// Tests that say no now, and did not.
    pub newly_failing: Vec<TestName>,
    /// Tests that said no, and do not any more.
    pub newly_passing: Vec<TestName>,
    /// Tests that only the second one has.
    pub added: Vec<TestName>,
    /// Tests that only the first one has.
    pub removed: Vec<TestName>,
}

/// Something that both have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is.
    pub what: String,
    /// Of the first build; `None` where it is not known.
    pub a: Option<String>,
    /// Of the second build; `None` where it is not known.
    pub b: Option<String>,
}

/// A step of either build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepChange {
    /// Its name.
    pub name: String,
    /// How it ended in the first build; `None` where that has no such step.
    pub a: Option<StepEnd>,
    /// How it ended in the second build; `None` where that has no such step.
    pub b: Option<StepEnd>,
    /// Its outcome differs, or only one build has it. How long it took does not count.
    pub different: bool,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepEnd {
    /// `None` while it is not decided.
    pub outcome: Option<Outcome>,
    /// Of all attempts together; `None` for a step that was not run.
    pub duration_ms: Option<u64>,
}

/// Which test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TestName {
    /// The step that ran it.
    pub step: String,
    /// Its suite; may be empty.
    pub suite: String,
    /// Its name.
    pub name: String,
}

impl Diff {
    /// Of the second build against the first.
    pub fn of(a: &Build, b: &Build) -> Self {
        let mut facts = Facing::default();
        facts.all(&a.facts, &b.facts);
        let outcome = |build: &Build| build.outcome.map(|outcome| outcome.as_str().to_owned());
        let mut diff = Diff { facts: facts.changes, steps: steps(a, b), ..Diff::default() };
        if a.outcome != b.outcome {
            diff.outcome = Some(Change { what: "outcome".to_owned(), a: outcome(a), b: outcome(b) });
        }
        diff.tests(&tests(a), &tests(b));
        diff
    }

    /// Whether there is any difference. Times are never the same, and are none.
    pub fn is_empty(&self) -> bool {
        let tests = [&self.newly_failing, &self.newly_passing, &self.added, &self.removed];
        self.facts.is_empty()
            && self.outcome.is_none()
            && self.steps.iter().all(|step| !step.different)
            && tests.iter().all(|tests| tests.is_empty())
    }

    fn tests(&mut self, a: &BTreeMap<TestName, bool>, b: &BTreeMap<TestName, bool>) {
        for (test, bad) in b {
            match (a.get(test), bad) {
                (None, false) => self.added.push(test.clone()),
                (None, true) => {
                    self.added.push(test.clone());
                    self.newly_failing.push(test.clone());
                }
                (Some(false), true) => self.newly_failing.push(test.clone()),
                (Some(true), false) => self.newly_passing.push(test.clone()),
                (Some(true), true) | (Some(false), false) => {}
            }
        }
        self.removed = a.keys().filter(|test| !b.contains_key(test)).cloned().collect();
    }
}

fn steps(a: &Build, b: &Build) -> Vec<StepChange> {
    let gone = a.steps.iter().filter(|step| b.step_named(&step.name).is_none());
    let change = |name: &str| {
        let (a, b) = (a.step_named(name).map(end), b.step_named(name).map(end));
        let different = a.map(|end| end.outcome) != b.map(|end| end.outcome);
        StepChange { name: name.to_owned(), a, b, different }
    };
    b.steps.iter().chain(gone).map(|step| change(&step.name)).collect()
}

fn end(step: &Step) -> StepEnd {
    let took = step.attempts.iter().filter_map(|attempt| attempt.duration_ms).sum();
    StepEnd { outcome: step.outcome, duration_ms: (!step.attempts.is_empty()).then_some(took) }
}

/// Every test, and whether it said no.
fn tests(build: &Build) -> BTreeMap<TestName, bool> {
    let name = |step: &Step, suite: &str, name: &str| TestName {
        step: step.name.clone(),
        suite: suite.to_owned(),
        name: name.to_owned(),
    };
    let mut tests = BTreeMap::new();
    for step in &build.steps {
        for test in &step.tests {
            *tests.entry(name(step, &test.suite, &test.name)).or_default() |= test.is_bad();
        }
    }
    tests
}

/// What is said of one of them.
type Say<T, Said> = fn(&T) -> Said;

/// Puts the facts of two builds side by side.
#[derive(Default)]
struct Facing {
    changes: Vec<Change>,
}

impl Facing {
    fn compare(&mut self, what: impl Into<String>, a: Option<String>, b: Option<String>) {
        if a != b {
            self.changes.push(Change { what: what.into(), a, b });
        }
    }

    fn all(&mut self, a: &Facts, b: &Facts) {
        let both = |say: fn(&Facts) -> Option<String>| (say(a), say(b));
        let said: [(&str, Say<Facts, Option<String>>); 10] = [
            ("commit", |facts| git(facts, |git| git.commit.known().cloned())),
            ("changes", |facts| git(facts, changes)),
            ("image", image),
            ("definition", |facts| facts.definition.known().map(|file| file.sha256.clone())),
            ("docker", |facts| facts.docker.known().map(|docker| docker.version.clone())),
            ("os", |facts| facts.host.known().and_then(|host| host.os.known().cloned())),
            ("kernel", |facts| facts.host.known().map(|host| host.kernel.clone())),
            ("architecture", |facts| facts.host.known().map(|host| host.architecture.clone())),
            ("dcd", |facts| Some(facts.dcd_version.clone()).filter(|version| !version.is_empty())),
            ("secrets", |facts| Some(facts.secrets.join(", ")).filter(|names| !names.is_empty())),
        ];
        for (what, say) in said {
            let (a, b) = both(say);
            self.compare(what, a, b);
        }
        self.named("file", &includes(a), &includes(b));
        self.named("param", &params(a), &params(b));
        self.plugins(&a.plugins, &b.plugins);
    }

    fn named(&mut self, what: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) {
        for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            self.compare(format!("{what} {name}"), a.get(name).cloned(), b.get(name).cloned());
        }
    }

    fn plugins(&mut self, a: &[Plugin], b: &[Plugin]) {
        let find =
            |plugins: &'_ [Plugin], name: &str| plugins.iter().find(|plugin| plugin.name == *name).cloned();
        for name in a.iter().chain(b).map(|plugin| plugin.name.as_str()).collect::<BTreeSet<_>>() {
            let (a, b) = (find(a, name), find(b, name));
            let both = |say: fn(&Plugin) -> String| (a.as_ref().map(say), b.as_ref().map(say));
            let said: [(&str, Say<Plugin, String>); 3] = [
                ("version", |plugin| plugin.version.clone()),
                ("digest", |plugin| plugin.sha256.clone()),
                ("grants", |plugin| {
                    let said =
                        plugin.grants.iter().map(|(kind, list)| format!("{kind}: {}", list.join(", ")));
                    Some(said.collect::<Vec<_>>().join("; "))
                        .filter(|said| !said.is_empty())
                        .unwrap_or("nothing".into())
                }),
            ];
            for (what, say) in said {
                let (a, b) = both(say);
                self.compare(format!("plugin {name} {what}"), a, b);
            }
        }
    }
}

fn git<T>(facts: &Facts, say: impl FnOnce(&Git) -> Option<T>) -> Option<T> {
    facts.git.known().and_then(say)
}

/// What is there besides the commit.
fn changes(git: &Git) -> Option<String> {
    match (&git.dirty, &git.diff_sha256) {
        (Fact::Known(true), Fact::Known(digest)) => Some(digest.clone()),
        (Fact::Known(true), _) => Some("some".to_owned()),
        (Fact::Known(false), _) => Some("none".to_owned()),
        (Fact::Absent(_) | Fact::NotAsked, _) => None,
    }
}

/// The digest, or where it was never pushed the id.
fn image(facts: &Facts) -> Option<String> {
    let image = facts.image.known()?;
    Some(image.digest.known().unwrap_or(&image.id).clone())
}

fn includes(facts: &Facts) -> BTreeMap<String, String> {
    let files = facts.definition.known().into_iter().flat_map(|definition| &definition.includes);
    files.map(|file| (file.path.clone(), file.sha256.clone())).collect()
}

fn params(facts: &Facts) -> BTreeMap<String, String> {
    facts.params.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        build::Attempt,
        event::{Body, BuildStarted, Event, StepPlan, TestCase},
        facts::Definition,
    };

    /// A step's name, its outcome, and those of its tests.
    type Told<'a> = (&'a str, Outcome, &'a [(&'a str, Outcome)]);

    fn build(steps: &[Told<'_>]) -> Build {
        let plan = |name: &str| StepPlan { name: name.into(), ..StepPlan::default() };
        let steps_of = steps.iter().map(|(name, ..)| plan(name)).collect();
        let started = BuildStarted { steps: steps_of, ..BuildStarted::default() };
        let body = Body::BuildStarted(started);
        let mut build = Build::default();
        build.apply(&Event { seq: 0, at: 0, step: None, body, hash: crate::chain::Hash::default() });
        for (step, (_, outcome, tests)) in build.steps.iter_mut().zip(steps) {
            step.outcome = Some(*outcome);
            step.attempts = vec![Attempt { duration_ms: Some(5), ..Attempt::default() }];
            let case = |(name, outcome): &(&str, Outcome)| TestCase {
                suite: "cart".into(),
                name: (*name).into(),
                outcome: *outcome,
                duration_ms: None,
                message: None,
            };
            step.tests = tests.iter().map(case).collect();
        }
        build
    }

    #[test]
    fn the_same_build_again_has_no_difference() {
        let a = build(&[("test", Outcome::Success, &[("adds", Outcome::Success)])]);
        let mut b = a.clone();
        b.steps[0].attempts[0].duration_ms = Some(50);
        b.duration_ms = Some(70);
        assert!(Diff::of(&a, &b).is_empty(), "times are none");
    }

    #[test]
    fn steps_and_tests_are_set_against_each_other() {
        use Outcome::{Failure, Skip, Success};
        let a = build(&[
            ("old", Success, &[]),
            ("test", Success, &[("adds", Success), ("gone", Failure), ("waits", Failure), ("skips", Skip)]),
        ]);
        let b = build(&[
            ("test", Failure, &[("adds", Failure), ("new", Success), ("waits", Success), ("skips", Success)]),
            ("lint", Success, &[]),
        ]);
        let diff = Diff::of(&a, &b);
        let names = |tests: &[TestName]| tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&diff.newly_failing), ["adds"]);
        assert_eq!(names(&diff.newly_passing), ["waits"]);
        assert_eq!(
            (names(&diff.added), names(&diff.removed)),
            (vec!["new".to_owned()], vec!["gone".to_owned()])
        );
        let steps: Vec<_> = diff.steps.iter().map(|step| (step.name.as_str(), step.different)).collect();
        assert_eq!(steps, [("test", true), ("lint", true), ("old", true)]);
        assert_eq!(diff.steps[0].b, Some(StepEnd { outcome: Some(Failure), duration_ms: Some(5) }));
    }

    #[test]
    fn what_they_ran_with_is_set_against_each_other() {
        let facts = |sha256: &str, version: &str, param: Option<u32>| {
            let definition = Definition {
                path: "dcd.json".into(),
                sha256: sha256.into(),
                text: "{}".into(),
                includes: Vec::new(),
            };
            let plugin = Plugin {
                name: "http".into(),
                version: version.into(),
                kind: "step-type".into(),
                api: String::new(),
                path: String::new(),
                sha256: "77".into(),
                grants: BTreeMap::new(),
                image_grants: BTreeMap::new(),
            };
            let params = param.map(|value| ("level".to_owned(), value.into())).into_iter().collect();
            let (definition, plugins) = (Fact::Known(definition), vec![plugin]);
            Facts { definition, plugins, params, dcd_version: "0.1.0".into(), ..Facts::default() }
        };
        let a = Build { facts: facts("aa", "1.0", None), ..Build::default() };
        let b =
            Build { facts: facts("bb", "2.0", Some(3)), outcome: Some(Outcome::Success), ..Build::default() };
        let diff = Diff::of(&a, &b);
        let said: Vec<_> = diff
            .facts
            .iter()
            .map(|change| (change.what.as_str(), change.a.as_deref(), change.b.as_deref()))
            .collect();
        let expected = [
            ("definition", Some("aa"), Some("bb")),
            ("param level", None, Some("3")),
            ("plugin http version", Some("1.0"), Some("2.0")),
        ];
        assert_eq!(said, expected);
        assert_eq!(diff.outcome.map(|change| (change.a, change.b)), Some((None, Some("success".into()))));
        assert!(Diff::of(&a, &a).is_empty());
    }
}
