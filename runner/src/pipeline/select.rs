//! Which of a pipeline's steps are run.

use globset::GlobBuilder;

use super::{Pipeline, diagnostic::did_you_mean};

/// What the command line asks for. Nothing: every step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
    /// This and what needs it.
    pub from: Option<String>,
}

/// Why nothing was selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No step has that name.
    #[error("the pipeline has no step `{asked}`")]
    Unknown {
        /// What was asked for.
        asked: String,
        /// A step whose name is near.
        meant: Option<String>,
    },
    /// Every step is left out.
    #[error("no step is left to run")]
    Nothing,
}

impl Pipeline {
    /// For each step why it is left out, if it is.
    pub fn select(&self, selection: &Selection) -> Result<Vec<Option<String>>, SelectionError> {
        let mut reasons: Vec<Option<String>> = vec![None; self.steps.len()];
        let mut leave_out = |chosen: &[bool], wanted: bool, reason: &str| {
            for (step, chosen) in chosen.iter().enumerate() {
                if *chosen != wanted {
                    reasons[step].get_or_insert_with(|| reason.to_owned());
                }
            }
        };
        if let Some(from) = &selection.from {
            let chosen = self.with_dependents(self.named(from)?);
            leave_out(&chosen, true, &format!("does not need `{from}` (--from)"));
        }
        if !selection.only.is_empty() {
            leave_out(&self.named_any(&selection.only)?, true, "left out by --only");
        }
        leave_out(&self.named_any(&selection.skip)?, false, "left out by --skip");
        if reasons.iter().all(Option::is_some) {
            return Err(SelectionError::Nothing);
        }
        Ok(reasons)
    }

    /// The steps that are marked, and all that need them, directly or through others.
    pub fn with_dependents(&self, mut marked: Vec<bool>) -> Vec<bool> {
        // Each step stands after those that it needs.
        for (index, step) in self.steps.iter().enumerate() {
            marked[index] |= step.needs.iter().any(|need| marked[*need]);
        }
        marked
    }

    /// The steps that the name means.
    pub fn named(&self, asked: &str) -> Result<Vec<bool>, SelectionError> {
        let names = || self.steps.iter().map(|step| step.name.value.as_str());
        let mut found: Vec<bool> = names().map(|name| name == asked).collect();
        if !found.contains(&true) {
            found = names().map(|name| is_part(name, asked)).collect();
        }
        if !found.contains(&true) && asked.contains('*') {
            let glob = GlobBuilder::new(asked).literal_separator(false).build();
            if let Ok(glob) = glob.map(|glob| glob.compile_matcher()) {
                found = names().map(|name| glob.is_match(name)).collect();
            }
        }
        if found.contains(&true) {
            return Ok(found);
        }
        let meant = did_you_mean(asked, names()).map(str::to_owned);
        Err(SelectionError::Unknown { asked: asked.to_owned(), meant })
    }

    fn named_any(&self, asked: &[String]) -> Result<Vec<bool>, SelectionError> {
        let mut found = vec![false; self.steps.len()];
        for asked in asked {
            for (found, here) in found.iter_mut().zip(self.named(asked)?) {
                *found |= here;
            }
        }
        Ok(found)
    }
}

/// Whether the step is one of those that the shorter name means: a matrix, or the steps of a used file.
fn is_part(name: &str, asked: &str) -> bool {
    name.strip_prefix(asked).is_some_and(|rest| rest.starts_with('/') || rest.starts_with(" ("))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::parse;

    fn pipeline(names: &[&str]) -> Pipeline {
        let steps: Vec<_> =
            names.iter().map(|name| serde_json::json!({ "name": name, "run": "true" })).collect();
        parse(&serde_json::json!({ "steps": steps }).to_string(), "dcd.json", &mut |_| Err(String::new()))
            .unwrap()
    }

    fn left(names: &[&str], selection: &Selection) -> Vec<usize> {
        let reasons = pipeline(names).select(selection).unwrap();
        (0..names.len()).filter(|index| reasons[*index].is_none()).collect()
    }

    #[test]
    fn names_mean_steps() {
        let names = ["test", "test (a)", "test (b)", "web/lint", "web/test", "webs"];
        let only = |asked: &[&str]| {
            let only = asked.iter().map(ToString::to_string).collect();
            left(&names, &Selection { only, ..Selection::default() })
        };
        assert_eq!(only(&["test"]), [0]);
        assert_eq!(only(&["web"]), [3, 4]);
        assert_eq!(only(&["web/*", "test (b)"]), [2, 3, 4]);
        assert_eq!(only(&["*test*"]), [0, 1, 2, 4]);
    }

    #[test]
    fn from_takes_what_needs_it_and_skip_takes_away() {
        let selection = Selection { from: Some("b".into()), skip: vec!["c".into()], ..Selection::default() };
        assert_eq!(left(&["a", "b", "c", "d"], &selection), [1, 3]);
    }

    #[test]
    fn nothing_left_and_unknown_names_are_errors() {
        let pipeline = pipeline(&["build", "test"]);
        let skip = |names: &[&str]| {
            let skip = names.iter().map(ToString::to_string).collect();
            pipeline.select(&Selection { skip, ..Selection::default() }).unwrap_err()
        };
        assert_eq!(skip(&["build", "test"]), SelectionError::Nothing);
        let meant = Some("test".to_owned());
        assert_eq!(skip(&["tset"]), SelectionError::Unknown { asked: "tset".into(), meant });
    }
}
