//! Who may write a build: `lease.json`.

use dcd_plugin_sdk::history::Lease;
use dcd_plugin_sdk::{Error, Help as _, serde_json};
use serde::{Deserialize, Serialize};

use crate::layout::BuildDir;
use crate::{clock, files};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    token: String,
    fence: u64,
    pub(crate) expires_at: u64,
}

/// The lease as it stands; none when nobody ever had one.
pub(crate) fn read(dir: &BuildDir) -> Result<Option<Held>, Error> {
    match files::read(&dir.lease())? {
        Some(text) => {
            serde_json::from_str(&text).map(Some).context(format!("{} is damaged", dir.lease().display()))
        }
        None => Ok(None),
    }
}

/// Takes the build over from whoever had it.
pub(crate) fn take(dir: &BuildDir, ttl_ms: u32) -> Result<Lease, Error> {
    let fence = read(dir)?.map_or(0, |held| held.fence) + 1;
    write(dir, Held { token: files::random()?, fence, expires_at: expiry(dir, ttl_ms)? })
}

/// Whether this lease is the build's. One that ran out holds until another is given.
pub(crate) fn is_held(dir: &BuildDir, token: &str) -> Result<bool, Error> {
    Ok(read(dir)?.is_some_and(|held| held.token == token))
}

/// Prolongs the lease; none when another was given.
pub(crate) fn renew(dir: &BuildDir, token: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
    match read(dir)?.filter(|held| held.token == token) {
        Some(held) => write(dir, Held { expires_at: expiry(dir, ttl_ms)?, ..held }).map(Some),
        None => Ok(None),
    }
}

fn write(dir: &BuildDir, held: Held) -> Result<Lease, Error> {
    files::replace(&dir.lease(), &serde_json::to_vec(&held)?)?;
    Ok(Lease { token: held.token, fence: held.fence, expires_at: held.expires_at })
}

fn expiry(dir: &BuildDir, ttl_ms: u32) -> Result<u64, Error> {
    Ok(clock::now(&dir.component.root)?.saturating_add(ttl_ms.into()))
}
