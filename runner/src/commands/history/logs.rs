//! `dcd history logs`

use std::{
    collections::{HashMap, HashSet},
    io::{self, BufWriter, IsTerminal, Write},
};

use bytes::Bytes;

use super::{
    follow::{Look, Source},
    last_lines::LastLines,
    selection::size,
};
use crate::{
    cli::LogsArgs,
    commands::{
        builds::{Builds, Found, backend_error, unreadable},
        output::{self, Stdout, note, warn},
    },
    error::{CommandError, Exit},
    event::{Body, BuildStarted, Event, Record, StepName},
    journal::Reader,
    report::json_line,
    text,
};

pub(super) fn logs(args: &LogsArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let found = builds.find(&args.build)?;
    let terminal = io::stdout().is_terminal() && !args.json;
    let mut logs = Logs::new(args, terminal, &found);
    if args.step.is_some() || terminal {
        logs.begun(first_event(&mut builds, &found)?)?;
    }
    let mut source = Source::open(&found, args.step.as_deref())?;
    loop {
        let went = match source.look(&mut builds, args.follow)? {
            Look::Events(events) => events.into_iter().try_for_each(|event| logs.event(event)),
            Look::Nothing(pause) if args.follow => {
                let went = logs.caught_up();
                if went.is_ok() && output::closed_within(pause) {
                    return Ok(Exit::Success);
                }
                went
            }
            Look::Nothing(_) | Look::Over => break,
        };
        if went.is_err() {
            output::written(went)?;
            return Ok(Exit::Success);
        }
    }
    output::written(logs.caught_up())?;
    logs.end(args)?;
    if args.follow && source.is_lost() {
        warn("the build has no end: its runner is lost");
    }
    if let Some((journal, damage)) = source.damage() {
        warn(&format!("{}: {damage}; what follows it is not shown", journal.display()));
    }
    Ok(Exit::Success)
}

/// What the build's first event says, if there is one yet.
fn first_event(builds: &mut Builds, found: &Found) -> Result<Option<BuildStarted>, CommandError> {
    let event = match found {
        Found::Local(place) => {
            let event = Reader::open(&place.journal()).and_then(|mut reader| reader.next_event());
            event.map_err(|error| unreadable(place, &error))?
        }
        Found::Remote(build) => {
            let page = builds.page(build, None, 0).map_err(|error| backend_error(&error))?;
            page.records.into_iter().next().map(Record::into_event)
        }
    };
    Ok(match event.map(|event| event.body) {
        Some(Body::BuildStarted(started)) => Some(started),
        _ => None,
    })
}

/// Prints what is wanted of a build's events.
struct Logs<'a> {
    args: &'a LogsArgs,
    out: BufWriter<Stdout>,
    terminal: bool,
    /// The build comes from where anybody may write.
    foreign: bool,
    /// Steps that are plugins.
    guests: HashSet<String>,
    attempts: HashMap<StepName, u32>,
    /// Until all that is there was read.
    last: Option<LastLines<Event>>,
    /// Output that was dropped.
    pruned: u64,
}

impl<'a> Logs<'a> {
    fn new(args: &'a LogsArgs, terminal: bool, found: &Found) -> Self {
        Logs {
            args,
            out: output::stdout(),
            terminal,
            // What a backend or an archive says of a step's kind may be wrong, and what it holds may come from anywhere.
            foreign: match found {
                Found::Local(place) => place.is_imported(),
                Found::Remote(_) => true,
            },
            guests: HashSet::new(),
            attempts: HashMap::new(),
            last: args.tail.map(LastLines::new),
            pruned: 0,
        }
    }

    /// Which steps there are.
    fn begun(&mut self, started: Option<BuildStarted>) -> Result<(), CommandError> {
        let Some(started) = started else { return Ok(()) };
        if let Some(step) = &self.args.step
            && started.steps.iter().all(|known| known.name != *step)
        {
            let names: Vec<_> = started.steps.iter().map(|step| format!("`{}`", step.name)).collect();
            return Err(CommandError::usage(
                format!("the build has no step `{step}`"),
                format!("its steps are {}", names.join(", ")),
            ));
        }
        let guests = started.steps.into_iter().filter(|step| !matches!(step.kind.as_str(), "shell" | "exec"));
        self.guests = guests.map(|step| step.name).collect();
        Ok(())
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        let Some(step) = event.step.clone() else { return Ok(()) };
        if self.args.step.as_deref().is_some_and(|wanted| wanted != &*step) {
            return Ok(());
        }
        if let Body::AttemptStarted(started) = &event.body {
            self.attempts.insert(step, started.attempt);
            return Ok(());
        }
        if !self.wants(&step, &event) {
            return Ok(());
        }
        if let Body::OutputPruned(pruned) = &event.body {
            self.pruned += pruned.bytes;
        }
        let Body::StepOutput(bytes) = &event.body else { return Ok(()) };
        let bytes = bytes.clone();
        match &mut self.last {
            Some(last) => {
                last.push(event, bytes);
                Ok(())
            }
            None => self.print(event, bytes),
        }
    }

    fn wants(&self, step: &StepName, event: &Event) -> bool {
        self.args.attempt.is_none_or(|wanted| self.attempts.get(step) == Some(&wanted))
            && self.args.since.is_none_or(|since| event.at >= since)
    }

    /// Prints bytes that are the event's, or a part of them.
    fn print(&mut self, mut event: Event, bytes: Bytes) -> io::Result<()> {
        let is_guest = || event.step.as_deref().is_some_and(|step| self.guests.contains(step));
        if self.args.json {
            event.body = Body::StepOutput(bytes);
            self.out.write_all(&json_line(&event))
        } else if self.terminal && (self.foreign || is_guest()) {
            // A plugin's output may hold what would drive a terminal; a pipe gets every byte as it was.
            self.out.write_all(&text::harmless(&bytes))
        } else {
            self.out.write_all(&bytes)
        }
    }

    /// All that is there was read.
    fn caught_up(&mut self) -> io::Result<()> {
        if let Some(last) = self.last.take() {
            for (event, bytes) in last.take() {
                self.print(event, bytes)?;
            }
        }
        self.out.flush()
    }

    fn end(&self, args: &LogsArgs) -> Result<(), CommandError> {
        if self.pruned > 0 {
            note(&format!("{} of output were dropped by `dcd history prune`", size(self.pruned)));
        }
        let (Some(wanted), Some(step)) = (args.attempt, &args.step) else { return Ok(()) };
        let count = self.attempts.get(step.as_str()).copied().unwrap_or_default();
        if (1..=count).contains(&wanted) {
            return Ok(());
        }
        let had = if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
        Err(CommandError::usage(
            format!("there is no attempt {wanted} of the step `{step}`"),
            format!("it had {had}; without --attempt you get all of them"),
        ))
    }
}
