//! Replicating a build's journal to a history backend.

mod uploader;

pub use uploader::{LEASE_MS, PATIENCE, UploadError, Uploader};
