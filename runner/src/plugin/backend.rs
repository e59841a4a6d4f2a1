//! History backends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wasmtime::Store;

use crate::{
    engine::ports::backend::{
        Answer, Backend, BackendError, End, Filter, Grant, ListPage, Listed, Lock, Locks, NewBuild,
        RecordPage, Written,
    },
    event::Record,
    pipeline::Json,
    plugin::{
        Grants, Host, Kind, PluginError, Usage,
        bindings::{
            history::{
                HistoryBackend,
                dcd::plugin::build_types,
                exports::dcd::plugin::history::{self, Page},
            },
            types::Error,
        },
        call::limited,
        convert, describe,
        engine::Compiled,
        given::{Given, Secrets},
        guest::{Guest, Io, Tail},
        install,
        locate::Located,
        step::{expect_kind, plugin_error},
        warden::Warden,
    },
    redact::Redactor,
};

/// How long a backend may take for one call.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How many events are asked for at once.
const EVENT_PAGE: u32 = 200;

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

    /// [`HistoryPlugin::another`], on a machine whose clock is so many milliseconds ahead of this one's.
    pub(crate) fn another_with_clock(&self, ahead_ms: i64) -> Self {
        let mut another = self.another();
        another.given.clock_ahead_ms = ahead_ms;
        another
    }

    /// Writes the plugin, and what it was compiled to, into a directory of plugins: there other processes find it without
    /// compiling it again.
    pub fn save(&self, located: &Located, directory: &Path) -> Result<PathBuf, PluginError> {
        install::save(located, &self.compiled, directory)
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
        BackendError { message, help: error.help, transient: true, unsupported: false }
    }

    /// The plugin answered with an error.
    fn refused(&self, error: Error, warden: &Warden) -> BackendError {
        let (transient, unsupported) =
            (matches!(error, Error::Unavailable(_)), matches!(error, Error::Unsupported(_)));
        // What it was refused explains it best.
        let refused = warden.take_notes().refused;
        let error = plugin_error(&self.compiled.name, error);
        let lacking = refused.or_else(|| self.compiled.lacking_for(&error.message));
        let mask = |text: String| self.redactor.text(&text).into_owned();
        let help = error.help.map(mask).or(lacking);
        BackendError { message: mask(error.message), help, transient, unsupported }
    }
}

impl Backend for HistoryPlugin {
    fn name(&self) -> &str {
        &self.compiled.name
    }

    async fn check(&mut self) -> Answer<()> {
        self.call("check", async |guest, store| guest.call_check(store).await).await
    }

    async fn begin(&mut self, build: &NewBuild) -> Answer<Grant> {
        let build = history::NewBuild {
            component: build.component.clone(),
            run_id: build.id.clone(),
            started_at: build.started_at,
            lease_ttl_ms: build.lease_ms,
            metadata: json(&build.metadata),
        };
        let grant = self
            .call("begin-build", async |guest, store| guest.call_begin_build(store, &build).await)
            .await?;
        Ok(Grant { number: grant.build.number, lease: grant.lease.token, next_seq: grant.next_seq })
    }

    async fn append(&mut self, component: &str, grant: &Grant, records: Vec<Record>) -> Answer<Written> {
        let id = build_id(component, grant.number);
        let first = records.first().map_or(0, |record| record.seq);
        let events: Vec<_> = records.into_iter().map(convert::event).collect();
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_append(store, &id, &grant.lease, first, &events).await
        };
        self.call("append", call).await.map(convert::written)
    }

    async fn finish(&mut self, component: &str, grant: &Grant, end: &End) -> Answer<Written> {
        let id = build_id(component, grant.number);
        let (status, brief) = (convert::status(Some(end.outcome)), json(&end.brief));
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_finish_build(store, &id, &grant.lease, end.events, status, end.at, &brief).await
        };
        self.call("finish-build", call).await.map(convert::written)
    }

    async fn renew(&mut self, component: &str, grant: &Grant, lease_ms: u32) -> Answer<bool> {
        let id = build_id(component, grant.number);
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_renew_lease(store, &id, &grant.lease, lease_ms).await
        };
        Ok(self.call("renew-lease", call).await?.is_some())
    }

    async fn get(&mut self, component: &str, number: u64) -> Answer<Option<Listed>> {
        let id = build_id(component, number);
        let build = self.call("get-build", async |guest, store| guest.call_get_build(store, &id).await);
        Ok(build.await?.map(convert::listed))
    }

    async fn list(&mut self, filter: &Filter, limit: usize, cursor: Option<String>) -> Answer<ListPage> {
        let filter = convert::filter(filter);
        let page = Page { limit: u32::try_from(limit).unwrap_or(u32::MAX), cursor };
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_list_builds(store, &filter, &page).await
        };
        let page = self.call("list-builds", call).await?;
        Ok(ListPage { builds: page.items.into_iter().map(convert::listed).collect(), next: page.next })
    }

    async fn read(
        &mut self,
        component: &str,
        number: u64,
        step: Option<&str>,
        from: u64,
    ) -> Answer<RecordPage> {
        let id = build_id(component, number);
        let step = step.map(str::to_owned);
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_read_events(store, &id, step.as_deref(), from, EVENT_PAGE).await
        };
        let page = self.call("read-events", call).await?;
        let records = page.items.into_iter().map(convert::record).collect::<Option<_>>();
        let records = records.ok_or_else(|| {
            self.broken(PluginError::new(format!(
                "plugin {} gave an event whose hash has not 32 bytes",
                self.compiled.name
            )))
        })?;
        Ok(RecordPage { records, next: page.next_seq })
    }

    async fn prune(&mut self, component: &str, number: u64) -> Answer<u64> {
        let id = build_id(component, number);
        self.call("prune-output", async |guest, store| guest.call_prune_output(store, &id).await).await
    }
}

impl Locks for HistoryPlugin {
    async fn acquire(&mut self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Answer<Lock> {
        let (name, ticket, owner) = (name.to_owned(), ticket.to_owned(), owner.to_owned());
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_acquire_lock(store, &name, &ticket, &owner, ttl_ms).await
        };
        self.call("acquire-lock", call).await.map(convert::lock)
    }

    async fn renew_lock(&mut self, name: &str, ticket: &str, ttl_ms: u32) -> Answer<Option<Lock>> {
        let (name, ticket) = (name.to_owned(), ticket.to_owned());
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_renew_lock(store, &name, &ticket, ttl_ms).await
        };
        Ok(self.call("renew-lock", call).await?.map(convert::lock))
    }

    async fn release(&mut self, name: &str, ticket: &str) -> Answer<bool> {
        let (name, ticket) = (name.to_owned(), ticket.to_owned());
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_release_lock(store, &name, &ticket).await
        };
        self.call("release-lock", call).await
    }

    async fn locks(&mut self) -> Answer<Vec<Lock>> {
        let locks = self.call("list-locks", async |guest, store| guest.call_list_locks(store).await).await?;
        Ok(locks.into_iter().map(convert::lock).collect())
    }
}

fn build_id(component: &str, number: u64) -> build_types::BuildId {
    build_types::BuildId { component: component.to_owned(), number }
}

/// Our own types always serialise.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}
