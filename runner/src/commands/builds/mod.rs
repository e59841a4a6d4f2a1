//! The builds that can be looked at: this workspace's journals and, where the pipeline names one, the history
//! backend. What both have is taken from the journal, which is never behind.

use std::{
    io::ErrorKind,
    ops::ControlFlow,
};

use crate::{
    build::Build,
    cli::SourceArgs,
    commands::{load, output::warn},
    engine::ports::backend::{Backend, BackendError, Filter},
    error::CommandError,
    event::{Event, Record},
    journal::{BuildDir, Corruption, Lookup, Reader, Store, StoreError},
    plugin::{Host, backend::HistoryPlugin},
    report::Summary,
};

/// How many of a backend's newest builds are searched for an id.
const SEARCHED: usize = 1000;

/// Where to look.
pub(super) struct Builds {
    store: Store,
    backend: Option<(Host, HistoryPlugin)>,
    component: Option<String>,
    /// That a journal is damaged is said once.
    damage_said: bool,
}

/// A build that was found.
pub(super) enum Found {
    /// In this workspace.
    Local(BuildDir),
    /// In the history backend.
    Remote(Box<Summary>),
}

impl Builds {
    pub(super) fn open(args: &SourceArgs) -> Result<Self, CommandError> {
        let workspace = load::workspace()?;
        let backend = if args.local { None } else { backend(&workspace, args) };
        Ok(Builds {
            store: Store::at(&workspace),
            backend,
            component: args.component.clone(),
            damage_said: false,
        })
    }

    /// The newest builds.
    pub(super) fn list(&mut self, limit: usize) -> Result<Vec<Summary>, CommandError> {
        let mut found = Vec::new();
        for place in self.store.builds().map_err(|error| store_error(&error))? {
            if found.len() == limit {
                break;
            }
            match place.read() {
                Ok(build) if build.id.is_empty() => {}
                Ok(build) if self.component.as_ref().is_some_and(|wanted| *wanted != build.component) => {}
                Ok(mut build) => {
                    self.number(&mut build);
                    found.push(Summary::of(&build));
                }
                Err(error) if never_was(&error) => {}
                Err(error) => warn(&format!("the journal of build {} cannot be read: {error}", place.id)),
            }
        }
        let remote = self.remote(limit);
        let known: Vec<_> = found.iter().map(|build| build.id.clone()).collect();
        found.extend(remote.into_iter().filter(|build| !known.contains(&build.id)));
        found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| b.id.cmp(&a.id)));
        found.truncate(limit);
        Ok(found)
    }

    /// The build that a person means.
    pub(super) fn find(&mut self, build: &str) -> Result<Found, CommandError> {
        let lookup = Lookup { build: build.to_owned(), component: self.component.clone() };
        let local = self.store.find(&lookup);
        if build == "latest" && self.backend.is_some() {
            let newest = self.list(1)?.pop();
            return match (newest, local) {
                (Some(newest), Ok(place)) if newest.id == place.id => Ok(Found::Local(place)),
                (Some(newest), _) => Ok(Found::Remote(Box::new(newest))),
                (None, _) => Err(self.not_found(build)),
            };
        }
        match local {
            Ok(place) => Ok(Found::Local(place)),
            Err(StoreError::NotFound(_)) => {
                let mut fits = self.remote(SEARCHED);
                fits.retain(|found| {
                    found.number.is_some_and(|number| number.to_string() == build)
                        || found.id.starts_with(build)
                });
                match fits.len() {
                    0 => Err(self.not_found(build)),
                    1 => Ok(Found::Remote(Box::new(fits.remove(0)))),
                    _ => {
                        let ids = fits
                            .iter()
                            .take(8)
                            .map(|found| format!("{} ({})", found.component, found.id))
                            .collect();
                        Err(store_error(&StoreError::Ambiguous { asked: build.to_owned(), found: ids }))
                    }
                }
            }
            Err(error) => Err(store_error(&error)),
        }
    }

    /// What the build's events add up to.
    pub(super) fn read(&mut self, found: &Found) -> Result<Build, CommandError> {
        match found {
            Found::Local(place) => {
                let (mut build, damage) = place.examine().map_err(|error| unreadable(place, &error))?;
                self.number(&mut build);
                self.say_damaged(place, damage.as_ref());
                Ok(build)
            }
            Found::Remote(summary) => {
                let mut build = Build::default();
                self.events(found, None, &mut |event| {
                    build.apply(&event);
                    ControlFlow::Continue(())
                })?;
                build.number = summary.number;
                if build.outcome.is_none() && summary.outcome.is_some() {
                    build.mark_lost();
                }
                Ok(build)
            }
        }
    }

    /// Each event of the build; a backend is asked only for those of `step`, if one is named.
    pub(super) fn events(
        &mut self,
        found: &Found,
        step: Option<&str>,
        each: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(), CommandError> {
        match (found, &mut self.backend) {
            (Found::Local(place), _) => {
                let mut reader = Reader::open(&place.journal()).map_err(|error| unreadable(place, &error))?;
                while let Some(event) = reader.next_event().map_err(|error| unreadable(place, &error))? {
                    if each(event).is_break() {
                        return Ok(());
                    }
                }
                let damage = reader.torn().filter(|_| !place.is_running());
                self.say_damaged(place, damage);
                Ok(())
            }
            (Found::Remote(summary), Some((host, backend))) => {
                let number = summary.number.unwrap_or_default();
                let mut next = Some(0);
                while let Some(from) = next {
                    let page = host
                        .block_on(backend.read(&summary.component, number, step, from))
                        .map_err(|error| backend_error(&error))?;
                    // A build that runs has no last page: what is there now is all that is shown.
                    next = page.next.filter(|next| *next > from);
                    let events = page.records.into_iter().map(Record::into_event);
                    if events.into_iter().try_for_each(&mut *each).is_break() {
                        return Ok(());
                    }
                }
                Ok(())
            }
            (Found::Remote(_), None) => Ok(()),
        }
    }

    fn say_damaged(&mut self, place: &BuildDir, damage: Option<&Corruption>) {
        if let (Some(damage), false) = (damage, self.damage_said) {
            warn(&format!("{}: {damage}; what follows it is not shown", place.journal().display()));
            self.damage_said = true;
        }
    }

    /// The number of a build that got it after its journal was closed.
    fn number(&self, build: &mut Build) {
        if build.number.is_none() {
            build.number = self.store.number_of(&build.component, &build.id);
        }
    }

    fn remote(&mut self, limit: usize) -> Vec<Summary> {
        let Some((host, backend)) = &mut self.backend else { return Vec::new() };
        let filter = Filter { component: self.component.clone(), ..Filter::default() };
        match host.block_on(backend.list(&filter, limit, None)) {
            Ok(page) => page.builds.into_iter().map(Summary::listed).collect(),
            Err(error) => {
                warn(&format!("only the builds of this workspace are looked at: {}", error.message));
                Vec::new()
            }
        }
    }

    fn not_found(&self, build: &str) -> CommandError {
        let place = if self.backend.is_some() {
            "in this workspace or in the history backend"
        } else {
            "in this workspace"
        };
        let help = match self.store.builds() {
            Ok(builds) if builds.is_empty() => "run one first: dcd run",
            _ => "`dcd history list` shows which builds there are",
        };
        CommandError::usage(format!("there is no build `{build}` {place}"), help)
    }
}

/// The backend of the pipeline, if it names one. What is wrong with that keeps nobody from local builds.
fn backend(workspace: &std::path::Path, args: &SourceArgs) -> Option<(Host, HistoryPlugin)> {
    if !workspace.join(&args.file).exists() {
        return None;
    }
    let Ok(loaded) = load::pipeline(workspace, &args.file) else {
        warn(&format!(
            "{} has errors (see `dcd validate`): only the builds of this workspace are looked at",
            args.file.display()
        ));
        return None;
    };
    match load::history(workspace, &loaded) {
        Ok(backend) => backend,
        Err(error) => {
            error.print();
            warn("only the builds of this workspace are looked at");
            None
        }
    }
}

/// A build whose runner ended before the journal's first bytes were written, or what is no build at all.
fn never_was(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::UnexpectedEof)
}

fn unreadable(place: &BuildDir, error: &std::io::Error) -> CommandError {
    CommandError::environment(format!("the journal {} cannot be read: {error}", place.journal().display()))
}

fn store_error(error: &StoreError) -> CommandError {
    match error {
        StoreError::Ambiguous { .. } => CommandError::usage(
            error.to_string(),
            "use more of the id, or name the component: --component NAME",
        ),
        StoreError::NotFound(_) => {
            CommandError::usage(error.to_string(), "`dcd history list` shows which builds there are")
        }
        StoreError::Io { .. } => CommandError::environment(error.to_string()),
    }
}

fn backend_error(error: &BackendError) -> CommandError {
    let mut shown = CommandError::environment(error.message.clone());
    shown.help.clone_from(&error.help);
    shown
}
