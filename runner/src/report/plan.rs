//! What would run: as text, as JSON, as a graph.

use serde_json::{Value, json};

use crate::{
    pipeline::{Action, Command, Pipeline, Step},
    report::Style,
    text::{self, harmless_line},
};

/// A pipeline, and for each of its steps why it is left out, if it is.
pub struct Plan<'p> {
    /// The pipeline.
    pub pipeline: &'p Pipeline,
    /// As long as its steps.
    pub left_out: &'p [Option<String>],
}

/// What runs a step: `shell`, `exec`, or a plugin's name.
pub fn kind(action: &Action) -> &str {
    match action {
        Action::Run(command) => match command.value {
            Command::Shell { .. } => "shell",
            Command::Exec(_) => "exec",
        },
        Action::Uses { plugin, .. } => &plugin.value,
    }
}

impl Plan<'_> {
    /// For people.
    pub fn text(&self, style: Style) -> String {
        let steps = &self.pipeline.steps;
        let runs = self.left_out.iter().filter(|reason| reason.is_none()).count();
        let count = match steps.len() {
            1 => "1 step".to_owned(),
            many if many == runs => format!("{many} steps"),
            many => format!("{runs} of {many} steps"),
        };
        let mut page = format!("{}: {count}\n", style.bold(&harmless_line(&self.pipeline.name)));
        let levels = self.levels();
        let width = |text: &dyn Fn(&Step) -> usize| steps.iter().map(text).max().unwrap_or_default();
        let names = width(&|step| step.name.value.chars().count()).min(50);
        let kinds = width(&|step| kind(&step.action).chars().count());
        for (index, step) in steps.iter().enumerate() {
            let name = harmless_line(&step.name.value);
            let kind = kind(&step.action);
            let (mark, why) = match &self.left_out[index] {
                Some(reason) => ("-".to_owned(), format!("skipped: {reason}")),
                None => ((levels[index] + 1).to_string(), self.why(step)),
            };
            let line = format!("{mark:>3}  {name:names$}  {kind:kinds$}  {}", harmless_line(&why));
            let line = line.trim_end();
            page.push_str(&if self.left_out[index].is_some() { style.dim(line) } else { line.to_owned() });
            page.push('\n');
        }
        page
    }

    /// The object of `dcd plan --json`.
    pub fn document(&self) -> Value {
        let levels = self.levels();
        let steps = self.pipeline.steps.iter().enumerate();
        let steps: Vec<_> = steps
            .map(|(index, step)| {
                json!({
                    "name": step.name.value,
                    "type": kind(&step.action),
                    "needs": self.needs(step).collect::<Vec<_>>(),
                    "level": levels[index],
                    "runs": self.left_out[index].is_none(),
                    "reason": self.left_out[index],
                    "if": conditions(step).collect::<Vec<_>>(),
                    "matrix": step.matrix,
                    "attempts": step.retry.attempts,
                    "timeout_ms": step.timeout.map(|timeout| timeout.as_millis()),
                    "continue_on_error": step.continue_on_error,
                    "secrets": step.secrets.iter().map(|secret| &secret.value).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({ "pipeline": self.pipeline.name, "component": self.pipeline.component, "steps": steps })
    }

    /// A flow chart for Mermaid.
    pub fn mermaid(&self) -> String {
        let mut graph = String::from("flowchart TD\n");
        for (index, step) in self.pipeline.steps.iter().enumerate() {
            // Mermaid has no escape but its own entities.
            let name = harmless_line(&step.name.value).replace('#', "#35;").replace('"', "#quot;");
            let class = if self.left_out[index].is_some() { ":::skipped" } else { "" };
            graph.push_str(&format!("  s{index}[\"{name}\"]{class}\n"));
        }
        for (index, step) in self.pipeline.steps.iter().enumerate() {
            for need in &step.needs {
                graph.push_str(&format!("  s{need} --> s{index}\n"));
            }
        }
        if self.left_out.iter().any(Option::is_some) {
            graph.push_str("  classDef skipped stroke-dasharray: 4\n");
        }
        graph
    }

    /// A directed graph for Graphviz.
    pub fn dot(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut graph = format!("digraph {} {{\n", quoted(&harmless_line(&self.pipeline.name)));
        graph.push_str("  node [shape=box];\n");
        for (index, step) in self.pipeline.steps.iter().enumerate() {
            let style = if self.left_out[index].is_some() { ", style=dashed" } else { "" };
            let name = quoted(&harmless_line(&step.name.value));
            graph.push_str(&format!("  s{index} [label={name}{style}];\n"));
        }
        for (index, step) in self.pipeline.steps.iter().enumerate() {
            for need in &step.needs {
                graph.push_str(&format!("  s{need} -> s{index};\n"));
            }
        }
        graph.push_str("}\n");
        graph
    }

    /// How many steps come before each one at least, one after the other.
    fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::with_capacity(self.pipeline.steps.len());
        for step in &self.pipeline.steps {
            let before =
                step.needs.iter().map(|need| levels[*need] + usize::from(self.left_out[*need].is_none()));
            levels.push(before.max().unwrap_or_default());
        }
        levels
    }

    fn needs<'s>(&'s self, step: &'s Step) -> impl Iterator<Item = &'s str> {
        step.needs.iter().map(|need| self.pipeline.steps[*need].name.value.as_str())
    }

    /// When it starts, and what is special about it.
    fn why(&self, step: &Step) -> String {
        /// More names than this make a line that nobody reads.
        const NAMED: usize = 4;
        let mut needs: Vec<_> = self.needs(step).take(NAMED).map(|name| format!("`{name}`")).collect();
        if step.needs.len() > NAMED {
            needs.push(format!("{} more", step.needs.len() - NAMED));
        }
        let mut why =
            if needs.is_empty() { "at once".to_owned() } else { format!("after {}", needs.join(", ")) };
        for condition in conditions(step) {
            why.push_str(&format!(", if {condition}"));
        }
        if step.retry.attempts > 1 {
            why.push_str(&format!(", up to {} attempts", step.retry.attempts));
        }
        if let Some(timeout) = step.timeout {
            why.push_str(&format!(", at most {}", text::duration(timeout)));
        }
        if step.continue_on_error {
            why.push_str(", its failure does not count");
        }
        why
    }
}

fn conditions(step: &Step) -> impl Iterator<Item = &str> {
    step.conditions.iter().filter_map(|condition| Some(condition.expression.as_ref()?.value.source()))
}
