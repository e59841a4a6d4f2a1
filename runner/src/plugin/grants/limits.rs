//! How much a plugin may use.

use std::time::Duration;

use crate::pipeline;

/// How much memory an instance may have.
const MEMORY: u64 = 256 << 20;
/// How many connections an instance may have open at the same time.
const CONNECTIONS: u32 = 32;
/// How long the body of a request or an answer may be.
const HTTP_BODY: u64 = 64 << 20;

/// The limits that hold: those that are set, else the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: u64,
    /// `None`: as long as calls of its kind usually may.
    pub(crate) call_timeout: Option<Duration>,
    pub(crate) connections: u32,
    /// Bytes.
    pub(crate) http_body: u64,
}

impl Limits {
    pub(super) fn new(set: &pipeline::Limits) -> Self {
        Limits {
            memory: set.memory.as_ref().map_or(MEMORY, |memory| memory.value),
            call_timeout: set.call_timeout.as_ref().map(|limit| limit.value),
            connections: set.connections.as_ref().map_or(CONNECTIONS, |connections| connections.value),
            http_body: set.http_body.as_ref().map_or(HTTP_BODY, |size| size.value),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new(&pipeline::Limits::default())
    }
}
