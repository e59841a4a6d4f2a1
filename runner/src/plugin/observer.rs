//! Build observers.

use std::{sync::Arc, time::Duration};

use wasmtime::Store;

use crate::{
    event::Event,
    pipeline::Json,
    plugin::{
        Grants, Host, Kind, PluginError, Usage,
        bindings::{
            observer::{BuildObserver, exports::dcd::plugin::observer},
            types::Error,
        },
        call::{QUICK, limited},
        convert, describe,
        engine::Compiled,
        given::{Given, Secrets},
        guest::{Guest, Io, Tail},
        locate::Located,
        step::{expect_kind, findings, plugin_error},
        warden::Warden,
    },
    redact::Redactor,
};

/// How long an observer may take for one call.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// An observer that is ready to be used. Its calls run where they are awaited: on the plugins' runtime.
pub struct ObserverPlugin {
    compiled: Compiled,
    config: String,
    tail: Tail,
    usage: Usage,
    given: Given,
    /// What the plugin says may hold the secrets that it got.
    redactor: Redactor,
}

/// An observer at work.
pub struct Observing {
    plugin: ObserverPlugin,
    store: Store<Guest>,
    guest: BuildObserver,
}

impl ObserverPlugin {
    /// Compiles the plugin and checks its config. The second value is what is wrong with that.
    pub fn load(
        host: &Host,
        located: &Located,
        grants: Grants,
        secrets: Secrets,
        with: &Json,
    ) -> Result<(Self, Vec<PluginError>), PluginError> {
        expect_kind(located, Kind::BuildObserver, "`observers`")?;
        let (compiled, schema) = describe::load(host, located, grants)?;
        let mut wrong = schema.check(with);
        let redactor = Redactor::new(secrets.values().filter_map(|secret| secret.as_ref().ok()));
        let given = Given { secrets: Arc::new(secrets), ..Given::default() };
        let (config, tail, usage) = (with.value.to_string(), Tail::default(), Usage::new(&compiled.name));
        let plugin = ObserverPlugin { compiled, config, tail, usage, given, redactor };
        if wrong.is_empty() {
            wrong = plugin.validate(with)?;
        }
        Ok((plugin, wrong))
    }

    fn validate(&self, with: &Json) -> Result<Vec<PluginError>, PluginError> {
        let (plugin, config) = (self.compiled.clone(), self.config.clone());
        let answer = self.compiled.runtime.block_on(async move {
            let warden = plugin.strict_warden();
            let mut store = plugin.store(&warden, Given::default())?;
            limited(&warden, "validate", QUICK, async {
                let instance = plugin.pre.instantiate_async(&mut store).await?;
                let guest = BuildObserver::new(&mut store, &instance)?;
                guest.dcd_plugin_observer().call_validate(&mut store, &config).await
            })
            .await
        })?;
        findings(&self.compiled.name, answer, with)
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.compiled.name
    }

    /// What it makes use of, also after it was given away.
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// Opens it for a build.
    pub async fn open(self, build: &String) -> Result<Observing, PluginError> {
        let warden = self.compiled.warden(Io::Tail(self.tail.clone())).noting_in(&self.usage);
        let mut store = self.compiled.store(&warden, self.given.clone())?;
        let opened = limited(&warden, "open", self.limit(), async {
            let instance = self.compiled.pre.instantiate_async(&mut store).await?;
            let guest = BuildObserver::new(&mut store, &instance)?;
            let answer = guest.dcd_plugin_observer().call_open(&mut store, &self.config, build).await?;
            Ok((guest, answer))
        });
        let (guest, answer) = opened.await.map_err(|error| self.broken(&warden, error))?;
        answer.map_err(|error| self.refused(error))?;
        Ok(Observing { plugin: self, store, guest })
    }

    fn limit(&self) -> Duration {
        self.compiled.grants.limits().call_timeout.unwrap_or(CALL_LIMIT)
    }

    /// The instance trapped or took too long.
    fn broken(&self, warden: &Warden, mut error: PluginError) -> PluginError {
        let said = self.tail.take();
        // What a panic said is in the message.
        if !said.is_empty() && warden.panic().is_none() {
            error.message = format!("{}; it said: {said}", error.message);
        }
        self.redactor.string(&mut error.message);
        error
    }

    /// The plugin answered with an error.
    fn refused(&self, error: Error) -> PluginError {
        let mut error = plugin_error(&self.compiled.name, error);
        self.redactor.string(&mut error.message);
        if let Some(help) = &mut error.help {
            self.redactor.string(help);
        }
        error.help = error.help.or_else(|| self.compiled.lacking_for(&error.message));
        error
    }
}

impl Observing {
    /// Tells it of events. The outer error ends the observer: its instance is broken.
    pub async fn observe(&mut self, events: Vec<Event>) -> Result<Result<(), PluginError>, PluginError> {
        let events: Vec<_> = events.into_iter().map(convert::told).collect();
        let call = async |guest: &observer::Guest, store: &mut Store<Guest>| {
            guest.call_observe(store, &events).await
        };
        self.call("observe", call).await
    }

    /// Tells it that no event follows.
    pub async fn close(mut self) -> Result<(), PluginError> {
        let call = async |guest: &observer::Guest, store: &mut Store<Guest>| guest.call_close(store).await;
        self.call("close", call).await?
    }

    async fn call(
        &mut self,
        what: &'static str,
        call: impl AsyncFnOnce(&observer::Guest, &mut Store<Guest>) -> wasmtime::Result<Result<(), Error>>,
    ) -> Result<Result<(), PluginError>, PluginError> {
        let warden = self.store.data().warden.clone();
        let calling = call(self.guest.dcd_plugin_observer(), &mut self.store);
        let answer = limited(&warden, what, self.plugin.limit(), calling).await;
        let answer = answer.map_err(|error| self.plugin.broken(&warden, error))?;
        Ok(answer.map_err(|error| self.plugin.refused(error)))
    }
}
