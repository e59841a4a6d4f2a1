//! Builds as pages of text.

use crate::{
    build::{Attempt, Build, Step},
    event::{Artifact, Outcome, PluginUsed},
    facts::{Container, Docker, Fact, Verification},
    report::{Style, Summary, words},
    text::{self, harmless_line, rfc3339},
};

/// A table of builds.
pub fn list(builds: &[Summary], style: Style) -> String {
    let rows: Vec<[String; 6]> = builds.iter().map(row).collect();
    let header = ["BUILD", "OUTCOME", "STARTED", "TOOK", "COMMIT", "ID"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells
    };
    let mut page = format!("{}\n", style.bold(line(&header).join("  ").trim_end()));
    for (row, build) in rows.iter().zip(builds) {
        let mut cells = line(row);
        cells[1] = paint(style, build.outcome, &cells[1]);
        page.push_str(cells.join("  ").trim_end());
        page.push('\n');
    }
    page
}

fn row(build: &Summary) -> [String; 6] {
    let number = build.number.map_or_else(|| "pending".to_owned(), |number| number.to_string());
    let outcome = build.outcome.map_or("running", Outcome::as_str);
    let reason = build.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let commit = build.metadata.commit.as_deref().unwrap_or("-");
    let dirty = if build.metadata.dirty == Some(true) { "+" } else { "" };
    [
        harmless_line(&format!("{} #{number}", build.component)),
        harmless_line(&format!("{outcome}{reason}")),
        rfc3339(build.started_at),
        build.duration_ms.map_or_else(|| "-".to_owned(), text::millis),
        harmless_line(&format!("{}{dirty}", commit.chars().take(10).collect::<String>())),
        harmless_line(&build.id),
    ]
}

/// One build: its steps, and what was recorded of where it ran.
pub fn show(build: &Build, style: Style) -> String {
    let mut page = Page { text: String::new(), style };
    let number = build.number.map_or_else(|| "(number pending)".to_owned(), |number| format!("#{number}"));
    page.title(&format!("{} {number}", build.component));
    let outcome = build.outcome.map_or("running", Outcome::as_str);
    let reason = build.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    page.painted("outcome", &format!("{}{}", paint(style, build.outcome, outcome), harmless_line(&reason)));
    page.row("id", &build.id);
    page.row("pipeline", &build.pipeline);
    page.row("started", &rfc3339(build.started_at));
    if let Some(first) = &build.retry_of {
        page.row("again", first);
    }
    if let Some(finished) = build.finished_at {
        let took =
            build.duration_ms.map_or_else(String::new, |took| format!(" (took {})", text::millis(took)));
        page.row("finished", &format!("{}{took}", rfc3339(finished)));
    }
    page.row("hash", &build.hash.to_string());
    if build.pruned {
        page.row("pruned", "what the steps printed was dropped");
    }
    page.title("Steps");
    let mut above: Option<&Step> = None;
    for step in &build.steps {
        page.step(step, above);
        above = Some(step);
    }
    page.facts(build);
    page.text
}

struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn title(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{gap}{}\n", self.style.bold(&harmless_line(title))));
    }

    /// A line whose value may come from anybody.
    fn row(&mut self, name: &str, value: &str) {
        self.painted(name, &harmless_line(value));
    }

    /// A line whose value holds our own colours, and is harmless already.
    fn painted(&mut self, name: &str, value: &str) {
        let line = format!("  {name:<10} {value}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn step(&mut self, step: &Step, above: Option<&Step>) {
        let outcome = step.outcome.map_or("not decided", Outcome::as_str);
        let forgiven = match (step.outcome, step.conclusion) {
            (Some(outcome), Some(conclusion)) if outcome != conclusion => {
                format!(" (counts as {conclusion})")
            }
            _ => String::new(),
        };
        let flaky = if step.flaky { " (flaky)" } else { "" };
        let looked = if step.shells > 0 { " (somebody opened a shell)" } else { "" };
        let reason =
            step.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", harmless_line(reason)));
        let details = step.attempts.last().map_or_else(String::new, details);
        let word = paint(self.style, step.outcome, outcome);
        self.painted(
            &word,
            &format!("{}{details}{forgiven}{flaky}{looked}{reason}", harmless_line(&step.name)),
        );
        // That a step waits for the one above goes without saying.
        let is_next = above.is_some_and(|above| step.needs == [above.name.as_str()]);
        if !step.needs.is_empty() && !is_next {
            self.row("", &format!("needs {}", step.needs.join(", ")));
        }
        match step.attempts.as_slice() {
            [] => {}
            [only] => self.told(only),
            several => several.iter().for_each(|attempt| self.attempt(attempt)),
        }
        self.results(step);
    }

    /// One of several.
    fn attempt(&mut self, attempt: &Attempt) {
        let outcome = attempt.outcome.map_or("running", Outcome::as_str);
        self.row("", &format!("attempt {}: {outcome}{}", attempt.attempt, details(attempt)));
        self.told(attempt);
    }

    fn used(&mut self, used: &PluginUsed) {
        let kinds = used.kinds().map(|(kind, used)| {
            format!("{kind}: {}", used.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        });
        self.row("", &format!("used {}", kinds.collect::<Vec<_>>().join("; ")));
    }

    /// What it used, and what was wrong.
    fn told(&mut self, attempt: &Attempt) {
        if let Some(used) = &attempt.used {
            self.used(used);
        }
        if let Some(problem) = &attempt.problem {
            self.row("", &problem.message);
            if let Some(help) = &problem.help {
                self.row("", &format!("help: {help}"));
            }
        }
    }

    /// What the step gave.
    fn results(&mut self, step: &Step) {
        if !step.tests.is_empty() {
            self.row("", &words::test_counts(&step.tests));
        }
        for case in step.tests.iter().filter(|case| words::is_bad(case.outcome)) {
            self.row("", &format!("  {} {}", case.outcome, words::test_name(case)));
            for line in case.message.iter().flat_map(|message| message.lines()) {
                self.row("", &format!("    {line}"));
            }
        }
        for artifact in &step.artifacts {
            let Artifact { path, size, sha256 } = artifact;
            self.row("", &format!("artifact {path}  {size} bytes  sha256:{sha256}"));
        }
        for line in step.summary.iter().flat_map(|summary| summary.lines()) {
            self.row("", line);
        }
        for (name, value) in &step.outputs {
            self.row("", &format!("{name} = {value}"));
        }
    }

    fn facts(&mut self, build: &Build) {
        let facts = &build.facts;
        self.title("Recorded");
        self.row("image", &words::image(facts));
        if let Some(image) = facts.image.known() {
            self.row("image id", &image.id);
        }
        self.fact("container", &facts.container, container);
        self.fact("docker", &facts.docker, docker);
        self.row("commit", &words::commit(&facts.git));
        if let Some(git) = facts.git.known() {
            self.fact("remote", &git.remote, Clone::clone);
            self.fact("tree", &git.tree, Clone::clone);
        }
        self.fact("user", &facts.user, |user| format!("{} (from {})", user.name, user.source));
        self.fact("host", &facts.host, |host| {
            format!("{}, {} {}, {} CPUs", host.name, host.kernel, host.architecture, host.cpus)
        });
        self.fact("definition", &facts.definition, |definition| {
            format!("{} sha256:{}", definition.path, definition.sha256)
        });
        for plugin in &facts.plugins {
            let grants: Vec<_> =
                plugin.grants.iter().map(|(kind, list)| format!("{kind}: {}", list.join(", "))).collect();
            let grants = if grants.is_empty() { "nothing".to_owned() } else { grants.join("; ") };
            self.row(
                "plugin",
                &harmless_line(&format!(
                    "{} {} sha256:{} granted {grants}",
                    plugin.name, plugin.version, plugin.sha256
                )),
            );
            build.used.iter().filter(|used| used.plugin == plugin.name).for_each(|used| self.used(used));
        }
        self.row("dcd", &facts.dcd_version);
    }

    fn fact<T>(&mut self, name: &str, fact: &Fact<T>, say: impl Fn(&T) -> String) {
        match fact {
            Fact::Known(value) => self.row(name, &say(value)),
            Fact::Absent(reason) => {
                self.painted(name, &self.style.dim(&harmless_line(&format!("unknown: {reason}"))));
            }
            Fact::NotAsked => {}
        }
    }
}

fn details(attempt: &Attempt) -> String {
    let took = attempt.duration_ms.map_or_else(String::new, |took| format!("  {}", text::millis(took)));
    let code = attempt.exit_code.filter(|code| *code != 0);
    let code = code.map_or_else(String::new, |code| format!(", exit code {code}"));
    format!("{took}{code}")
}

fn container(container: &Container) -> String {
    let proof = match container.verified_by {
        Verification::UpperDir => "verified by its root's upper directory",
        Verification::RandomFile => "verified by a random file",
        Verification::Unverified => "not verified",
    };
    format!("{} {} ({proof})", container.id, container.name)
}

fn docker(docker: &Docker) -> String {
    format!("{} at {} (API {})", docker.version, docker.endpoint, docker.api_version)
}

fn paint(style: Style, outcome: Option<Outcome>, text: &str) -> String {
    match outcome {
        Some(Outcome::Success) => style.good(text),
        Some(Outcome::Skip) => style.dim(text),
        Some(Outcome::Failure | Outcome::Timeout | Outcome::Error | Outcome::Cancellation) => style.bad(text),
        None => style.warning(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::story::{Story, parallel};

    fn build(story: &Story) -> Build {
        let mut build = Build::default();
        story.events.iter().for_each(|event| build.apply(event));
        build
    }

    #[test]
    fn a_step_says_all_that_it_gave() {
        let page = show(&build(&parallel()), Style::PLAIN);
        let steps = &page[page.find("Steps").unwrap()..page.find("\nRecorded").unwrap()];
        insta::assert_snapshot!(steps, @r#"
        Steps
          success    test  1.2s (flaky)
                     needs base
                     attempt 1: failure  1.2s, exit code 1
                     attempt 2: success  1.2s
                     3 tests: 1 passed, 1 failed, 1 skipped
                       failure unit divides
                         1 / 0
                         at math.rs:3
                     artifact dist/a.tar  1234 bytes  sha256:abababababababababababababababababababababababababababababababab
                     ## Tested
                     All of it.
          success    lint  1.2s
                     needs base
        "#);
    }

    #[test]
    fn programs_get_every_test() {
        let document = crate::report::document(&build(&parallel()));
        let step = &document["steps"][0];
        assert_eq!((&step["flaky"], &step["needs"]), (&true.into(), &serde_json::json!(["base"])));
        assert_eq!(document["retry_of"], "01a203e1");
        insta::assert_snapshot!(format!("{:#}", step["tests"]), @r#"
        {
          "cases": [
            {
              "duration_ms": 10,
              "message": null,
              "name": "adds",
              "outcome": "success",
              "suite": "unit"
            },
            {
              "duration_ms": 10,
              "message": "1 / 0\nat math.rs:3",
              "name": "divides",
              "outcome": "failure",
              "suite": "unit"
            },
            {
              "duration_ms": 10,
              "message": null,
              "name": "rounds",
              "outcome": "skip",
              "suite": "unit"
            }
          ],
          "error": 0,
          "failure": 1,
          "skip": 1,
          "success": 1,
          "total": 3
        }
        "#);
        insta::assert_snapshot!(step["artifacts"].to_string(), @r#"[{"path":"dist/a.tar","sha256":"abababababababababababababababababababababababababababababababab","size":1234}]"#);
    }
}
