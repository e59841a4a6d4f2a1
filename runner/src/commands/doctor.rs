//! `dcd doctor`

mod machine;
mod pipeline;
mod surroundings;

use std::io;

use serde_json::{Value, json};

use crate::{
    cli::DoctorArgs,
    commands::{
        load,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    report::Style,
    text::harmless_line,
};

/// What one look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    /// Builds run, but lack something.
    Warning,
    /// Builds do not run, or not as the pipeline wants them.
    Problem,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
        }
    }
}

/// One line of the answer.
#[derive(Debug)]
struct Check {
    name: &'static str,
    state: State,
    text: String,
    /// What to do.
    help: Option<String>,
}

impl Check {
    fn new(name: &'static str, state: State, text: impl Into<String>) -> Self {
        Check { name, state, text: text.into(), help: None }
    }

    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, State::Ok, text)
    }

    fn warning(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, State::Warning, text)
    }

    fn problem(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, State::Problem, text)
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn line(&self, style: Style) -> String {
        let word = format!("{:<7}", self.state.word());
        let word = match self.state {
            State::Ok => style.good(&word),
            State::Warning => style.warning(&word),
            State::Problem => style.bad(&word),
        };
        let help = self.help.iter().map(|help| format!("{:21}{}\n", "", harmless_line(help)));
        format!("{word}  {:<10}  {}\n{}", self.name, harmless_line(&self.text), help.collect::<String>())
    }

    fn document(&self) -> Value {
        json!({ "name": self.name, "state": self.state.word(), "text": self.text, "help": self.help })
    }
}

pub(super) fn doctor(args: &DoctorArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let style = Style::of(&io::stdout());
    let mut all: Vec<Check> = Vec::new();
    // Each is shown as soon as it is known: some wait for others to answer.
    let mut say = |checks: Vec<Check>| {
        if !args.json {
            print(&checks.iter().map(|check| check.line(style)).collect::<String>())?;
        }
        all.extend(checks);
        Ok::<_, CommandError>(())
    };
    say(machine::checks(&workspace))?;
    say(vec![surroundings::git(&workspace)])?;
    let loaded = pipeline::load(&workspace, &args.file);
    let required = loaded.as_ref().is_ok_and(|loaded| loaded.pipeline.require.docker);
    say(surroundings::docker(required))?;
    if let Ok(loaded) = &loaded {
        say(vec![pipeline::check(&workspace, loaded)])?;
    }
    say(pipeline::plugins(&workspace, loaded.as_ref().ok()))?;
    match loaded {
        Ok(loaded) => say(vec![pipeline::history(&workspace, &loaded)])?,
        Err(check) => say(vec![check])?,
    }
    let worst = all.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    if args.json {
        let checks: Value = all.iter().map(Check::document).collect();
        print_json(&json!({ "state": worst.word(), "checks": checks }))?;
    }
    Ok(exit(&all))
}

/// A wrong pipeline file alone is its author's to mend; all else is the surroundings'.
fn exit(checks: &[Check]) -> Exit {
    let mut problems = checks.iter().filter(|check| check.state == State::Problem).peekable();
    if problems.peek().is_none() {
        Exit::Success
    } else if problems.all(|check| check.name == pipeline::NAME) {
        Exit::Usage
    } else {
        Exit::Environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_problems_count_and_the_pipelines_alone_is_a_usage_error() {
        let ok = || Check::ok("git", "");
        let warning = || Check::warning("docker", "");
        let wrong = || Check::problem(pipeline::NAME, "");
        let broken = || Check::problem("journal", "");
        assert_eq!(exit(&[]), Exit::Success);
        assert_eq!(exit(&[ok(), warning()]), Exit::Success);
        assert_eq!(exit(&[warning(), wrong()]), Exit::Usage);
        assert_eq!(exit(&[wrong(), broken()]), Exit::Environment);
    }

    #[test]
    fn help_stands_below_what_it_is_for() {
        let check = Check::warning("docker", "no\nsocket").help("mount it");
        insta::assert_snapshot!(check.line(Style::PLAIN), @r"
        warning  docker      no socket
                             mount it
        ");
    }
}
