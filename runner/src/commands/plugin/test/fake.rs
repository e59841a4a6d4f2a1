//! What stands in for programs and the network.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    engine::{
        message::{StepContent, StepIndex, StepMessage, Stop},
        ports::programs::{Landing, Launch, Launched, Programs},
    },
    event::Problem,
    pipeline::{Case, FakeAnswer, FakeCommand},
    plugin::Answers,
};

/// What a case has for its plugin, and what the plugin asked for.
#[derive(Default)]
pub(super) struct Fakes {
    /// Where programs are found.
    bin: PathBuf,
    commands: Vec<FakeCommand>,
    answers: Vec<FakeAnswer>,
    asked: Mutex<Asked>,
}

/// What a plugin asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) commands: Vec<String>,
    /// Method and URL, and body.
    pub(super) requests: Vec<(String, String)>,
}

impl Fakes {
    /// Makes a file for each program in `bin`, so that it is found as any other; none of them is ever executed.
    pub(super) fn new(case: &Case, bin: &Path) -> io::Result<Arc<Self>> {
        fs::create_dir_all(bin)?;
        for command in &case.commands {
            let program = command.run.split(' ').next().unwrap_or_default();
            if !program.is_empty() && !program.contains(['/', '*']) {
                fs::write(bin.join(program), "")?;
                fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755))?;
            }
        }
        let (commands, answers) = (case.commands.clone(), case.http.clone());
        Ok(Arc::new(Fakes { bin: bin.to_owned(), commands, answers, asked: Mutex::default() }))
    }

    /// What was asked for.
    pub(super) fn asked(&self) -> Asked {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Programs for Fakes {
    fn launch(
        &self,
        launch: Launch,
        step: StepIndex,
        messages: mpsc::Sender<StepMessage>,
        _: mpsc::UnboundedReceiver<Stop>,
    ) -> Launched {
        let (program, args) =
            launch.argv.split_first().map_or((String::new(), &[][..]), |(program, args)| {
                let name = Path::new(program).strip_prefix(&self.bin).unwrap_or(Path::new(program));
                (name.display().to_string(), args)
            });
        let run = std::iter::once(program).chain(args.iter().cloned()).collect::<Vec<_>>().join(" ");
        self.note(|asked| asked.commands.push(run.clone()));
        let command = self.commands.iter().find(|command| fits(&command.run, &run)).cloned();
        Box::pin(async move {
            let Some(FakeCommand { exit_code, stdout, stderr, .. }) = command else {
                let help = "add it to `commands`, with what it prints and how it ends";
                return Err(Problem::new(format!("the case has no command `{run}`"), help));
            };
            for text in [&stdout, &stderr] {
                let content = StepContent::Output(Bytes::from(text.clone()));
                // Nobody listens any more when the case took too long.
                let _ = messages.send(StepMessage { step, content }).await;
            }
            let (mut truncated, limit) = (false, launch.capture_limit);
            let mut captured = |wanted: bool, text: String| {
                let mut bytes = if wanted { text.into_bytes() } else { Vec::new() };
                truncated |= bytes.len() > limit;
                bytes.truncate(limit);
                bytes
            };
            let (stdout, stderr) = (captured(launch.stdout, stdout), captured(launch.stderr, stderr));
            Ok(Landing { exit_code: Some(exit_code), signal: None, stdout, stderr, truncated })
        })
    }
}

impl Answers for Fakes {
    fn answer(&self, request: http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        let asked = format!("{} {}", request.method(), request.uri());
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let answer = self.answers.iter().find(|answer| fits(&answer.request, &asked));
        self.note(|all| all.requests.push((asked, body)));
        let answer = answer?;
        let mut response = http::Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(name, value);
        }
        response.body(Bytes::from(answer.body.clone())).ok()
    }
}

/// Whether a text fits a pattern, in which `*` stands for anything.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let fitting = [
            ("a b", "a b"),
            ("a *", "a "),
            ("a *", "a b c"),
            ("*", ""),
            ("*b*d", "abcd"),
            ("a*a", "aa"),
            ("*/x", "/x/x"),
        ];
        for (pattern, text) in fitting {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        let other =
            [("a b", "a b c"), ("a *", "a"), ("*b*d", "adb"), ("a*a", "a"), ("", "a"), ("a*bc", "abc bc d")];
        for (pattern, text) in other {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
