//! What a pipeline requires before its first step.

use globset::Glob;

use crate::{
    error::CommandError,
    facts::{Fact, Facts, Git},
    pipeline::{GitRequirement, Pipeline},
};

/// Refuses to go on when something is not as `require` wants it, and says all that is not.
pub(super) fn check(pipeline: &Pipeline, facts: &Facts) -> Result<(), CommandError> {
    let require = &pipeline.require;
    let mut unmet = Vec::new();
    if !require.git.is_empty() {
        match &facts.git {
            Fact::Known(git) => {
                unmet.extend(require.git.iter().filter_map(|wanted| unmet_by(&wanted.value, git)));
            }
            Fact::Absent(reason) => unmet.push(format!("a git repository: {reason}")),
            Fact::NotAsked => unmet.push("a git repository".to_owned()),
        }
    }
    if require.docker {
        if let Fact::Absent(reason) = &facts.container {
            unmet.push(format!("its own container to be known: {reason}"));
        } else if let Fact::Absent(reason) = &facts.image {
            unmet.push(format!("its own image to be known: {reason}"));
        }
    }
    if unmet.is_empty() {
        return Ok(());
    }
    let unmet: Vec<_> = unmet.iter().map(|unmet| unmet.trim_end_matches('.')).collect();
    let message = match unmet[..] {
        [one] => format!("the pipeline requires {one}"),
        _ => format!("the pipeline requires\n  {}", unmet.join("\n  ")),
    };
    Err(CommandError::environment(message).help("see `require` in the pipeline file; nothing was run"))
}

/// What is not as it should be.
fn unmet_by(wanted: &GitRequirement, git: &Git) -> Option<String> {
    match wanted {
        GitRequirement::Clean => match &git.dirty {
            Fact::Known(false) => None,
            Fact::Known(true) => {
                Some("a clean work tree, and this one has changes that are not committed".to_owned())
            }
            other => Some(format!("a clean work tree, which cannot be told{}", reason(other))),
        },
        GitRequirement::Pushed => match (&git.ahead, &git.upstream) {
            (Fact::Known(0), _) => None,
            (Fact::Known(ahead), upstream) => {
                let upstream = upstream.known().map_or("the upstream", String::as_str);
                Some(format!("pushed commits, and {upstream} lacks {ahead} of them"))
            }
            (other, _) => Some(format!("pushed commits, which cannot be told{}", reason(other))),
        },
        GitRequirement::Branch(glob) => {
            let fits =
                |branch: &String| Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(branch));
            match &git.branch {
                Fact::Known(branch) if fits(branch) => None,
                Fact::Known(branch) => Some(format!("the branch {glob}, and this is {branch}")),
                other => Some(format!("the branch {glob}, and there is none here{}", reason(other))),
            }
        }
    }
}

fn reason<T>(fact: &Fact<T>) -> String {
    match fact {
        Fact::Absent(reason) => format!(": {reason}"),
        Fact::Known(_) | Fact::NotAsked => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dirty: Fact<bool>, ahead: Fact<u64>, branch: &str) -> Git {
        Git {
            commit: Fact::NotAsked,
            tree: Fact::NotAsked,
            branch: Fact::Known(branch.to_owned()),
            remote: Fact::NotAsked,
            upstream: Fact::Known("origin/main".to_owned()),
            ahead,
            behind: Fact::NotAsked,
            dirty,
            diff_sha256: Fact::NotAsked,
            root: String::new(),
        }
    }

    #[test]
    fn what_is_not_met_is_said() {
        let good = git(Fact::Known(false), Fact::Known(0), "release/1.2");
        let bad = git(Fact::Known(true), Fact::Known(2), "main");
        let unknown = git(Fact::absent("no index"), Fact::absent("no upstream"), "main");
        let wanted =
            [GitRequirement::Clean, GitRequirement::Pushed, GitRequirement::Branch("release/*".to_owned())];
        let said =
            |git: &Git| -> Vec<_> { wanted.iter().filter_map(|wanted| unmet_by(wanted, git)).collect() };
        assert_eq!(said(&good), Vec::<String>::new());
        assert_eq!(
            said(&bad),
            [
                "a clean work tree, and this one has changes that are not committed",
                "pushed commits, and origin/main lacks 2 of them",
                "the branch release/*, and this is main",
            ]
        );
        assert_eq!(
            said(&unknown)[..2],
            [
                "a clean work tree, which cannot be told: no index",
                "pushed commits, which cannot be told: no upstream",
            ]
        );
    }
}
