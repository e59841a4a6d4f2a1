//! A history backend that fails on request, and otherwise keeps builds in memory. The runner's tests use it
//! to show that a broken backend never stops a step.

mod memory;
mod misdeed;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, NewBuild, Page, Status,
    WriteOutcome,
};
use dcd_plugin_sdk::{Error, HistoryBackend};
use schemars::JsonSchema;
use serde::Deserialize;

use memory::Memory;
use misdeed::Misdeed;

/// When and how to fail.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which call fails.
    #[serde(default)]
    pub fail: Call,
    /// How it fails.
    #[serde(default)]
    pub kind: Kind,
    /// A secret that is got first, and told to everybody.
    #[serde(default)]
    pub secret: Option<String>,
    /// How many such calls succeed before. A plugin that is started anew counts from 0 again.
    #[serde(default)]
    pub after: u32,
}

/// A call that can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// No call.
    #[default]
    None,
    /// Opening the backend.
    Open,
    /// Beginning a build.
    Begin,
    /// Appending events.
    Append,
    /// Finishing a build.
    Finish,
    /// Asking for a lock, and keeping it.
    Lock,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// With the error `unavailable`, which is tried again.
    #[default]
    Unavailable,
    /// With the error `denied`, which is not.
    Denied,
    /// By not having such an operation.
    Unsupported,
    /// By a trap, which ends the plugin.
    Trap,
    /// By never ending.
    Hang,
}

/// The backend.
#[derive(Debug)]
pub struct FixtureHistory {
    misdeed: Misdeed,
    memory: Memory,
}

impl HistoryBackend for FixtureHistory {
    const SUMMARY: &'static str = "Fail on request, for tests";
    const FEATURES: &'static [&'static str] = &["locks"];
    type Config = Config;

    fn open(config: Config) -> Result<Self, Error> {
        if let Some(name) = &config.secret {
            let value = dcd_plugin_sdk::secrets::get(name)?;
            eprintln!("the secret is {value}");
            if config.fail == Call::None {
                return Err(Error::other(format!("{name} is {value}, to be told to everybody")));
            }
        }
        let misdeed = Misdeed::new(config);
        misdeed.commit(Call::Open)?;
        Ok(Self { misdeed, memory: Memory::default() })
    }

    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error> {
        self.misdeed.commit(Call::Begin)?;
        Ok(self.memory.begin(build))
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        self.misdeed.commit(Call::Append)?;
        self.memory.append(&build, lease, first_seq, events)
    }

    fn finish_build(
        &self,
        build: BuildId,
        lease: &str,
        final_seq: u64,
        status: Status,
        at: u64,
        summary: String,
    ) -> Result<WriteOutcome, Error> {
        self.misdeed.commit(Call::Finish)?;
        self.memory.finish(&build, lease, final_seq, (status, at, summary))
    }

    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        self.memory.renew(&build, lease, ttl_ms)
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        Ok(self.memory.get(&build))
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        self.memory.list(&filter, &page)
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        self.memory.read(&build, step, from_seq, limit)
    }

    fn prune_output(&self, build: BuildId) -> Result<u64, Error> {
        self.memory.prune(&build)
    }

    fn acquire_lock(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Result<Lock, Error> {
        self.misdeed.commit(Call::Lock)?;
        Ok(self.memory.acquire(name, ticket, owner, ttl_ms))
    }

    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        self.misdeed.commit(Call::Lock)?;
        Ok(self.memory.renew_lock(name, ticket, ttl_ms))
    }

    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        Ok(self.memory.release(name, ticket))
    }

    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        Ok(self.memory.locks())
    }
}

dcd_plugin_sdk::export_history!(FixtureHistory, asks: { secrets: "to tell the secret that a test names" });

#[cfg(test)]
mod tests {
    use super::*;

    fn build(run_id: &str) -> NewBuild {
        NewBuild {
            component: "c".into(),
            run_id: run_id.into(),
            started_at: 1,
            lease_ttl_ms: 1000,
            metadata: "{}".into(),
        }
    }

    #[test]
    fn calls_fail_after_as_many_as_were_told() -> Result<(), Error> {
        let config = dcd_plugin_sdk::parse(r#"{"fail": "begin", "kind": "denied", "after": 2}"#)?;
        let backend = FixtureHistory::open(config)?;
        assert_eq!(backend.begin_build(build("a"))?.build.number, 1);
        assert_eq!(backend.begin_build(build("b"))?.build.number, 2);
        assert!(matches!(backend.begin_build(build("c")), Err(Error::Denied(_))));
        Ok(())
    }

    #[test]
    fn without_a_misdeed_builds_are_kept() -> Result<(), Error> {
        let backend = FixtureHistory::open(Config::default())?;
        let grant = backend.begin_build(build("a"))?;
        let (id, token) = (|| grant.build.clone(), grant.lease.token.as_str());
        let event = |seq| Event {
            seq,
            at: 1,
            kind: "k".into(),
            step: None,
            payload: dcd_plugin_sdk::history::Payload::Bytes(vec![0xff]),
            hash: vec![7; 32],
        };
        assert_eq!(backend.append(id(), token, 0, vec![event(0), event(1)])?, WriteOutcome::Stored(2));
        assert_eq!(backend.append(id(), token, 1, vec![event(1), event(2)])?, WriteOutcome::Stored(3));
        assert_eq!(backend.append(id(), token, 4, vec![event(4)])?, WriteOutcome::Gap(3));
        assert_eq!(backend.append(id(), "other", 3, vec![event(3)])?, WriteOutcome::Fenced);
        assert_eq!(
            backend.finish_build(id(), token, 3, Status::Success, 5, "{}".into())?,
            WriteOutcome::Stored(3)
        );
        assert_eq!(backend.read_events(id(), None, 1, 9)?.items, [event(1), event(2)]);
        assert_eq!(backend.begin_build(build("a"))?.build.number, 1);
        let page = backend.list_builds(
            BuildFilter {
                component: None,
                statuses: vec![],
                started_after: None,
                started_before: None,
                metadata: vec![],
            },
            Page { limit: 5, cursor: None },
        )?;
        assert_eq!(page.items.len(), 1);
        Ok(())
    }
}
