//! What a build's expressions can read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    commands::steps::BuildContext,
    event::{Outcome, StepFinished},
    facts::{Fact, Facts},
    pipeline::{
        Pipeline,
        expression::{Root, Status, Variables},
    },
};

/// The values of one build, as far as they are known.
pub(super) struct Values {
    /// Those that are the same everywhere: `build`, `git`, `image`.
    fixed: BTreeMap<&'static str, Value>,
    /// Of each scope.
    params: Vec<Value>,
    /// dcd's own environment, without the variables that hold secrets.
    own_env: Vec<(String, String)>,
    /// What `steps.NAME` reads, by the step's place.
    steps: Vec<Option<Value>>,
}

/// The place that an expression stands in.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) scope: usize,
    pub(super) matrix: &'p BTreeMap<String, Value>,
    pub(super) reads: &'p BTreeMap<String, Vec<usize>>,
    /// What the environment has beside dcd's own.
    pub(super) env: &'p [(String, String)],
    pub(super) status: Status,
}

impl Values {
    /// `hidden`: the variables that hold secrets.
    pub(super) fn new(
        pipeline: &Pipeline,
        context: &BuildContext,
        params: &[BTreeMap<String, Value>],
        hidden: &[String],
    ) -> Self {
        let own_env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| !hidden.contains(name))
            .collect();
        Values {
            fixed: fixed(pipeline, context),
            params: params.iter().map(|params| json!(params)).collect(),
            own_env,
            steps: vec![None; pipeline.steps.len()],
        }
    }

    /// A step is decided. One that succeeded in the build that this one takes up again did so for expressions, too.
    pub(super) fn decided(&mut self, step: usize, result: &StepFinished) {
        let succeeded_then = result.left_out && result.attempts > 0;
        let said = |outcome| if succeeded_then { Outcome::Success } else { outcome };
        self.steps[step] = Some(json!({
            "outcome": said(result.outcome),
            "conclusion": said(result.conclusion),
            "outputs": result.outputs,
            "attempt": result.attempts,
        }));
    }

    /// The outputs of a step that is decided.
    pub(super) fn outputs(&self, step: usize) -> impl Iterator<Item = (&String, &Value)> {
        self.steps[step].iter().filter_map(|step| step["outputs"].as_object()).flatten()
    }

    /// What an expression at this place reads that starts with these names.
    pub(super) fn variables(&self, place: Place<'_>, roots: impl Iterator<Item = Root>) -> Variables {
        let roots = roots.map(|root| (root.name(), self.root(root, place))).collect();
        Variables { roots, status: place.status }
    }

    fn root(&self, root: Root, place: Place<'_>) -> Value {
        match root {
            Root::Params => self.params[place.scope].clone(),
            Root::Matrix => json!(place.matrix),
            Root::Env => {
                let env = self.own_env.iter().chain(place.env);
                Value::Object(env.map(|(name, value)| (name.clone(), value.as_str().into())).collect())
            }
            Root::Steps => {
                let read = |(name, steps): (&String, &Vec<usize>)| Some((name.clone(), self.read(steps)?));
                Value::Object(place.reads.iter().filter_map(read).collect())
            }
            Root::Build | Root::Git | Root::Image => self.fixed.get(root.name()).cloned().unwrap_or_default(),
        }
    }

    /// A step as others see it; of several, those of a matrix, the worst.
    fn read(&self, steps: &[usize]) -> Option<Value> {
        let mut known = steps.iter().filter_map(|step| self.steps[*step].as_ref());
        if let [_] = steps {
            return known.next().cloned();
        }
        let worst = |field: &str| {
            let outcome = |step: &Value| serde_json::from_value::<Outcome>(step[field].clone()).ok();
            // A combination that was skipped makes the others no worse.
            known.clone().filter_map(outcome).max_by_key(|outcome| (*outcome != Outcome::Skip, *outcome))
        };
        Some(json!({ "outcome": worst("outcome"), "conclusion": worst("conclusion") }))
    }
}

fn fixed(pipeline: &Pipeline, context: &BuildContext) -> BTreeMap<&'static str, Value> {
    let Facts { git, image, .. } = &context.facts;
    let text = |fact: Option<&Fact<String>>| fact.and_then(Fact::known).cloned();
    let (git, image) = (git.known(), image.known());
    BTreeMap::from([
        (
            "build",
            json!({
                "id": context.id,
                "number": context.number,
                "component": context.component,
                "pipeline": pipeline.name,
            }),
        ),
        (
            "git",
            json!({
                "commit": text(git.map(|git| &git.commit)),
                "tree": text(git.map(|git| &git.tree)),
                "branch": text(git.map(|git| &git.branch)),
                "dirty": git.and_then(|git| git.dirty.known()),
                "remote": text(git.map(|git| &git.remote)),
            }),
        ),
        (
            "image",
            json!({
                "digest": text(image.map(|image| &image.digest)),
                "id": image.map(|image| image.id.clone()),
            }),
        ),
    ])
}
