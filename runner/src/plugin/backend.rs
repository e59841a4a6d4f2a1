//! History backends.

use std::{sync::Arc, time::Duration};

use wasmtime::Store;

use crate::{
    engine::ports::backend::{Backend, BackendError, Grant, Listed, NewBuild, Written},
    event::{Body, Event, Outcome, Payload, UnixMs},
    pipeline::Json,
    plugin::{
        Grants, Host, Kind, PluginError, Usage,
        bindings::{
            history::{
                HistoryBackend,
                dcd::plugin::build_types,
                exports::dcd::plugin::history::{self, BuildFilter, Page, WriteOutcome},
            },
            types::Error,
        },
        call::limited,
        describe,
        engine::Compiled,
        given::{Given, Secrets},
        guest::{Guest, Io, Tail},
        locate::Located,
        step::{expect_kind, plugin_error},
        warden::Warden,
    },
    redact::Redactor,
};

/// How long a backend may take for one call.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How many builds or events are asked for at once.
const PAGE: u32 = 200;

/// A history backend that is ready to be used. Its calls run where they are awaited: on the plugins' runtime.
pub struct HistoryPlugin {
    compiled: Compiled,
    config: String,
    /// Made with the first call, and again after one that broke it.
    instance: Option<Instance>,
    tail: Tail,
    /// Of all its instances.
    usage: Usage,
    given: Given,
    /// What the plugin says may hold the secrets that it got.
    redactor: Redactor,
}

struct Instance {
    store: Store<Guest>,
    guest: HistoryBackend,
}

impl HistoryPlugin {
    /// Compiles the plugin and checks its config by the schema. The second value is what is wrong with that.
    pub fn load(
        host: &Host,
        located: &Located,
        grants: Grants,
        secrets: Secrets,
        with: &Json,
    ) -> Result<(Self, Vec<PluginError>), PluginError> {
        expect_kind(located, Kind::HistoryBackend, "`history`")?;
        let (compiled, schema) = describe::load(host, located, grants)?;
        let wrong = schema.check(with);
        let config = with.value.to_string();
        let redactor = Redactor::new(secrets.values().filter_map(|secret| secret.as_ref().ok()));
        let given = Given { secrets: Arc::new(secrets), ..Given::default() };
        let (usage, tail) = (Usage::new(&compiled.name), Tail::default());
        Ok((HistoryPlugin { compiled, config, instance: None, tail, usage, given, redactor }, wrong))
    }

    /// The same plugin with the same config, as another runner would have it.
    pub(crate) fn another(&self) -> Self {
        HistoryPlugin {
            compiled: self.compiled.clone(),
            config: self.config.clone(),
            instance: None,
            tail: Tail::default(),
            usage: Usage::new(&self.compiled.name),
            given: self.given.clone(),
            redactor: self.redactor.clone(),
        }
    }

    /// The optional operations that it names.
    pub(crate) async fn features(&mut self) -> Result<Vec<String>, BackendError> {
        let describe = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_describe(store).await.map(|info| Ok(info.features))
        };
        self.call("describe", describe).await
    }

    /// What it makes use of, also after it was given away.
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// Whether there is an instance that works.
    pub(crate) fn is_open(&self) -> bool {
        self.instance.is_some()
    }

    /// Makes and opens an instance, if there is none.
    async fn open(&mut self) -> Result<(), BackendError> {
        if self.instance.is_some() {
            return Ok(());
        }
        let warden = self.compiled.warden(Io::Tail(self.tail.clone())).noting_in(&self.usage);
        // A directory that is not there will not come while the build waits.
        let store = self.compiled.store(&warden, self.given.clone());
        let mut store = store.map_err(|error| BackendError { transient: false, ..self.broken(error) })?;
        let opened = limited(&warden, "open", self.limit(), async {
            let instance = self.compiled.pre.instantiate_async(&mut store).await?;
            let guest = HistoryBackend::new(&mut store, &instance)?;
            let answer = guest.dcd_plugin_history().call_open(&mut store, &self.config).await?;
            Ok((guest, answer))
        });
        let (guest, answer) = opened.await.map_err(|error| self.broken(error))?;
        answer.map_err(|error| self.refused(error, &warden))?;
        self.instance = Some(Instance { store, guest });
        Ok(())
    }

    /// One call. Whatever breaks the instance costs it; the next call makes a new one.
    pub(crate) async fn call<T>(
        &mut self,
        what: &'static str,
        call: impl AsyncFnOnce(&history::Guest, &mut Store<Guest>) -> wasmtime::Result<Result<T, Error>>,
    ) -> Result<T, BackendError> {
        self.open().await?;
        let Some(mut instance) = self.instance.take() else {
            return Err(self.broken(PluginError::new(format!("plugin {} is not open", self.compiled.name))));
        };
        let warden = instance.store.data().warden.clone();
        let calling = call(instance.guest.dcd_plugin_history(), &mut instance.store);
        let answer = limited(&warden, what, self.limit(), calling).await;
        let answer = answer.map_err(|error| self.broken(error))?;
        self.instance = Some(instance);
        answer.map_err(|error| self.refused(error, &warden))
    }

    fn limit(&self) -> Duration {
        self.compiled.grants.limits().call_timeout.unwrap_or(CALL_LIMIT)
    }

    /// The instance trapped, took too long, or could not be made.
    fn broken(&self, error: PluginError) -> BackendError {
        let said = self.tail.take();
        let message =
            if said.is_empty() { error.message } else { format!("{}; it said: {said}", error.message) };
        let message = self.redactor.text(&message).into_owned();
        BackendError { message, help: error.help, transient: true }
    }

    /// The plugin answered with an error.
    fn refused(&self, error: Error, warden: &Warden) -> BackendError {
        let transient = matches!(error, Error::Unavailable(_));
        // What it was refused explains it best.
        let refused = warden.take_notes().refused;
        let error = plugin_error(&self.compiled.name, error);
        let lacking = refused.or_else(|| self.compiled.lacking_for(&error.message));
        let mask = |text: String| self.redactor.text(&text).into_owned();
        BackendError { message: mask(error.message), help: error.help.map(mask).or(lacking), transient }
    }
}

impl Backend for HistoryPlugin {
    fn name(&self) -> &str {
        &self.compiled.name
    }

    async fn begin(&mut self, build: &NewBuild) -> Result<Grant, BackendError> {
        let build = history::NewBuild {
            component: build.component.clone(),
            run_id: build.id.clone(),
            started_at: build.started_at,
            lease_ttl_ms: build.lease_ms,
            metadata: serde_json::to_string(&build.metadata).unwrap_or_else(|_| "{}".to_owned()),
        };
        let grant = self
            .call("begin-build", async |guest, store| guest.call_begin_build(store, &build).await)
            .await?;
        Ok(Grant { number: grant.build.number, lease: grant.lease.token, next_seq: grant.next_seq })
    }

    async fn append(
        &mut self,
        component: &str,
        grant: &Grant,
        events: Vec<Event>,
    ) -> Result<Written, BackendError> {
        let id = build_id(component, grant.number);
        let first = events.first().map_or(0, |event| event.seq);
        let events: Vec<_> = events.into_iter().map(to_wit).collect();
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_append(store, &id, &grant.lease, first, &events).await
        };
        self.call("append", call).await.map(written)
    }

    async fn finish(
        &mut self,
        component: &str,
        grant: &Grant,
        end: u64,
        outcome: Outcome,
        at: UnixMs,
    ) -> Result<Written, BackendError> {
        let id = build_id(component, grant.number);
        let status = to_status(outcome);
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_finish_build(store, &id, &grant.lease, end, status, at).await
        };
        self.call("finish-build", call).await.map(written)
    }

    async fn renew(&mut self, component: &str, grant: &Grant, lease_ms: u32) -> Result<bool, BackendError> {
        let id = build_id(component, grant.number);
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_renew_lease(store, &id, &grant.lease, lease_ms).await
        };
        Ok(self.call("renew-lease", call).await?.is_some())
    }

    async fn list(&mut self, component: Option<&str>, limit: usize) -> Result<Vec<Listed>, BackendError> {
        let filter = BuildFilter {
            component: component.map(str::to_owned),
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
        };
        let mut builds = Vec::new();
        let mut cursor = None;
        loop {
            let wanted = u32::try_from(limit - builds.len()).unwrap_or(PAGE).min(PAGE);
            let page = Page { limit: wanted, cursor: cursor.take() };
            let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
                guest.call_list_builds(store, &filter, &page).await
            };
            let page = self.call("list-builds", call).await?;
            builds.extend(page.items.into_iter().map(listed));
            builds.truncate(limit);
            match page.next {
                Some(next) if builds.len() < limit => cursor = Some(next),
                _ => return Ok(builds),
            }
        }
    }

    async fn read(
        &mut self,
        component: &str,
        number: u64,
        step: Option<&str>,
        from: u64,
    ) -> Result<(Vec<Event>, Option<u64>), BackendError> {
        let id = build_id(component, number);
        let step = step.map(str::to_owned);
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_read_events(store, &id, step.as_deref(), from, PAGE).await
        };
        let page = self.call("read-events", call).await?;
        Ok((page.items.into_iter().map(from_wit).collect(), page.next_seq))
    }
}

fn build_id(component: &str, number: u64) -> build_types::BuildId {
    build_types::BuildId { component: component.to_owned(), number }
}

fn written(outcome: WriteOutcome) -> Written {
    match outcome {
        WriteOutcome::Stored(next) => Written::Stored(next),
        WriteOutcome::Gap(from) => Written::Gap(from),
        WriteOutcome::Fenced => Written::Fenced,
    }
}

pub(super) fn to_wit(event: Event) -> build_types::Event {
    build_types::Event {
        seq: event.seq,
        at: event.at,
        kind: event.body.kind().to_owned(),
        step: event.step.map(|step| step.to_string()),
        payload: match event.body.payload() {
            Payload::Json(text) => build_types::Payload::Json(text),
            Payload::Bytes(bytes) => build_types::Payload::Bytes(bytes.to_vec()),
        },
    }
}

fn from_wit(event: build_types::Event) -> Event {
    let payload = match event.payload {
        build_types::Payload::Json(text) => Payload::Json(text),
        build_types::Payload::Bytes(bytes) => Payload::Bytes(bytes.into()),
    };
    Event {
        seq: event.seq,
        at: event.at,
        step: event.step.map(Into::into),
        body: Body::from_parts(&event.kind, payload),
    }
}

/// A build is never skipped; should one be, it did what it should.
fn to_status(outcome: Outcome) -> build_types::Status {
    match outcome {
        Outcome::Success | Outcome::Skip => build_types::Status::Success,
        Outcome::Failure => build_types::Status::Failure,
        Outcome::Timeout => build_types::Status::Timeout,
        Outcome::Error => build_types::Status::Error,
        Outcome::Cancellation => build_types::Status::Cancellation,
    }
}

fn listed(build: build_types::Build) -> Listed {
    let outcome = match build.status {
        build_types::Status::Running => None,
        build_types::Status::Success => Some(Outcome::Success),
        build_types::Status::Failure => Some(Outcome::Failure),
        build_types::Status::Error => Some(Outcome::Error),
        build_types::Status::Timeout => Some(Outcome::Timeout),
        build_types::Status::Cancellation => Some(Outcome::Cancellation),
    };
    Listed {
        id: build.run_id,
        number: build.id.number,
        component: build.id.component,
        outcome,
        started_at: build.started_at,
        finished_at: build.finished_at,
        lease_expires_at: build.lease_expires_at,
        metadata: serde_json::from_str(&build.metadata).unwrap_or_default(),
    }
}
