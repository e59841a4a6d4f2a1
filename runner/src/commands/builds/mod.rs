//! The builds that can be looked at: this workspace's journals and, where the pipeline names one, the history
//! backend. What both have is taken from the journal, which is never behind.

mod criteria;
mod find;
mod newest;

use std::{collections::HashSet, ops::ControlFlow, path::Path};

pub(super) use criteria::Criteria;
pub(super) use newest::Newest;
use newest::{Local, Remote};

use crate::{
    analysis::Sample,
    brief::Brief,
    build::Build,
    cli::SourceArgs,
    commands::{load, output::warn},
    engine::ports::backend::{Answer, Backend, BackendError, Listed, RecordPage},
    error::CommandError,
    event::{Event, Record},
    journal::{BuildDir, Corruption, Reader, Store, StoreError},
    plugin::{Host, backend::HistoryPlugin},
    report::Summary,
};

/// Where to look.
pub(super) struct Builds {
    store: Store,
    backend: Option<(Host, HistoryPlugin)>,
    /// The pipeline names a backend, or might, and it could not be opened: that was said.
    unopened: bool,
    /// Only builds of this component.
    component: Option<String>,
    /// What the pipeline says that it builds.
    own: Option<String>,
    /// That a journal is damaged is said once.
    damage_said: bool,
}

/// A build that was found.
#[derive(Clone)]
pub(super) enum Found {
    /// In this workspace.
    Local(BuildDir),
    /// In the history backend.
    Remote(Box<Summary>),
}

impl Builds {
    pub(super) fn open(args: &SourceArgs) -> Result<Self, CommandError> {
        let workspace = load::workspace()?;
        let (own, opened) = pipeline(&workspace, args);
        let unopened = opened.is_err();
        Ok(Builds {
            store: Store::at(&workspace),
            backend: opened.ok().flatten(),
            unopened,
            component: args.component.clone(),
            own,
            damage_said: false,
        })
    }

    /// The component that was named.
    pub(super) fn component(&self) -> Option<&str> {
        self.component.as_deref()
    }

    /// The component that the pipeline names.
    pub(super) fn own_component(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// The workspace's builds.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Refuses to answer for all builds where those of the backend are not known.
    pub(super) fn need_backend(&self) -> Result<(), CommandError> {
        if self.unopened {
            let error =
                CommandError::environment("the history backend's builds are not known, for the reason above");
            return Err(error.help("mend that, or look at this workspace's builds only: --local"));
        }
        Ok(())
    }

    /// All builds that fit, newest first, or an error where the backend does not tell all of its own.
    pub(super) fn all(&mut self, criteria: &Criteria) -> Result<Vec<Summary>, CommandError> {
        self.need_backend()?;
        let places = self.store.builds().map_err(|error| store_error(&error))?;
        let local = Local::new(&self.store, places, criteria.clone());
        let remote = Remote::new(self.backend.as_mut(), criteria.clone(), usize::MAX).silent();
        let mut newest = Newest::new(local, remote);
        let all = newest.by_ref().collect();
        match newest.failed() {
            Some(error) => {
                let own = error.help.as_deref().unwrap_or("try again later");
                let help = format!("{own}; or look at this workspace only: --local");
                Err(backend_error(error).help(help))
            }
            None => Ok(all),
        }
    }

    /// The builds that fit, newest first. About `wanted` of them will be looked at.
    pub(super) fn newest(&mut self, criteria: &Criteria, wanted: usize) -> Result<Newest<'_>, CommandError> {
        let places = self.store.builds().map_err(|error| store_error(&error))?;
        let local = Local::new(&self.store, places, criteria.clone());
        Ok(Newest::new(local, Remote::new(self.backend.as_mut(), criteria.clone(), wanted)))
    }

    /// The builds that fit, to be counted. What a backend says of a build spares reading its journal.
    pub(super) fn samples(&mut self, criteria: &Criteria) -> Result<Vec<Sample>, CommandError> {
        let places = self.store.builds().map_err(|error| store_error(&error))?;
        let mut known = HashSet::new();
        let mut samples = Vec::new();
        for listed in Remote::new(self.backend.as_mut(), criteria.clone(), usize::MAX) {
            // One that runs, or was not sent whole, is further in its journal.
            if listed.outcome.is_none() && self.store.place(&listed.id).journal().exists() {
                continue;
            }
            let (id, brief) = (listed.id.clone(), listed.brief.clone());
            let summary = Summary::listed(listed);
            if known.insert(id) && criteria.fits(&summary) {
                samples.push(sample(summary, brief));
            }
        }
        for summary in Local::new(&self.store, places, criteria.clone()).without(&known) {
            let build = self.store.place(&summary.id).read().ok();
            let brief = build.map(|build| Brief::of(&build, build.hash));
            samples.push(sample(summary, brief));
        }
        Ok(samples)
    }

    /// What the build's events add up to.
    pub(super) fn read(&mut self, found: &Found) -> Result<Build, CommandError> {
        match found {
            Found::Local(place) => {
                let (mut build, damage) = place.examine().map_err(|error| unreadable(place, &error))?;
                if build.number.is_none() {
                    build.number = self.store.numbers_of(&build.component).get(&build.id).copied();
                }
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
                build.pruned |= summary.pruned;
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
        match found {
            Found::Local(place) => {
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
            Found::Remote(summary) => {
                let mut next = Some(0);
                while let Some(from) = next {
                    let page = self.page(summary, step, from).map_err(|error| backend_error(&error))?;
                    // A build that runs has no last page: what is there now is all that is shown.
                    next = page.next.filter(|next| *next > from);
                    let events = page.records.into_iter().map(Record::into_event);
                    if events.into_iter().try_for_each(&mut *each).is_break() {
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
    }

    /// Some of a build's records in the backend, from `from` on.
    pub(super) fn page(&mut self, build: &Summary, step: Option<&str>, from: u64) -> Answer<RecordPage> {
        let (number, component) = (build.number.unwrap_or_default(), build.component.as_str());
        match &mut self.backend {
            Some((host, backend)) => host.block_on(backend.read(component, number, step, from)),
            None => Ok(RecordPage::default()),
        }
    }

    /// A build's record in the backend.
    pub(super) fn record(&mut self, component: &str, number: u64) -> Answer<Option<Listed>> {
        match &mut self.backend {
            Some((host, backend)) => host.block_on(backend.get(component, number)),
            None => Ok(None),
        }
    }

    /// The backend's record of the build with this id. It may have another number there than the journal says, as when it
    /// was made without the backend and sent later: then that is noted.
    pub(super) fn record_of(&mut self, build: &Summary) -> Answer<Option<Listed>> {
        let noted = self.store.numbers_noted(&build.component, &build.id);
        let mut numbers: Vec<_> = build.number.into_iter().chain(noted).collect();
        numbers.dedup();
        for number in numbers {
            if let Some(record) =
                self.record(&build.component, number)?.filter(|record| record.id == build.id)
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Drops what a build printed from the backend. Answers how many bytes.
    pub(super) fn prune(&mut self, component: &str, number: u64) -> Answer<u64> {
        match &mut self.backend {
            Some((host, backend)) => host.block_on(backend.prune(component, number)),
            None => Ok(0),
        }
    }

    fn say_damaged(&mut self, place: &BuildDir, damage: Option<&Corruption>) {
        if let (Some(damage), false) = (damage, self.damage_said) {
            warn(&format!("{}: {damage}; what follows it is not shown", place.journal().display()));
            self.damage_said = true;
        }
    }
}

fn sample(summary: Summary, brief: Option<Brief>) -> Sample {
    let metadata = summary.metadata;
    Sample {
        component: summary.component,
        outcome: summary.outcome,
        duration_ms: summary.duration_ms,
        commit: metadata.commit.filter(|_| metadata.dirty == Some(false)),
        brief,
    }
}

/// A history backend, if there is one; `Err` where it could not be opened.
type Opened = Result<Option<(Host, HistoryPlugin)>, ()>;

/// What the pipeline builds, and its history backend, if it names one. What is wrong with that is said, and keeps nobody
/// from local builds.
fn pipeline(workspace: &Path, args: &SourceArgs) -> (Option<String>, Opened) {
    if !workspace.join(&args.file).exists() {
        return (None, Ok(None));
    }
    let Ok(loaded) = load::pipeline(workspace, &args.file) else {
        if !args.local {
            warn(&format!(
                "{} has errors (see `dcd validate`): only the builds of this workspace are looked at",
                args.file.display()
            ));
        }
        return (None, if args.local { Ok(None) } else { Err(()) });
    };
    let own = loaded.pipeline.component.clone();
    if args.local {
        return (own, Ok(None));
    }
    match load::history(workspace, &loaded) {
        Ok(backend) => (own, Ok(backend)),
        Err(error) => {
            error.print();
            warn("only the builds of this workspace are looked at");
            (own, Err(()))
        }
    }
}

pub(super) fn unreadable(place: &BuildDir, error: &std::io::Error) -> CommandError {
    CommandError::environment(format!("the journal {} cannot be read: {error}", place.journal().display()))
}

pub(super) fn store_error(error: &StoreError) -> CommandError {
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

/// The backend could not be asked, at all or for more, which keeps nobody from local builds.
fn warn_local(error: &BackendError, told_some: bool) {
    let help = error.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let what =
        if told_some { "not all builds of the history backend" } else { "only the builds of this workspace" };
    warn(&format!("{what} are looked at: {}{help}", error.message));
}

pub(super) fn backend_error(error: &BackendError) -> CommandError {
    let mut shown = CommandError::environment(error.message.clone());
    shown.help.clone_from(&error.help);
    shown
}
