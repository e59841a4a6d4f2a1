//! What a build has of a history backend: its journal there, and its lock.

mod lock;
mod uploader;

pub use lock::{LOCK_TTL, LockKeeper, LockNews, WantedLock};
pub use uploader::{LEASE_MS, PATIENCE, UploadError, Uploader};
