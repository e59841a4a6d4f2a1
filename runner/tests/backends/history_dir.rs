//! history-dir: a directory, and no server.

use serde_json::json;
use tempfile::TempDir;

use crate::harness::Backend;

/// What it keeps is in the directory.
fn backend() -> (Backend, TempDir) {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let with = json!({ "path": directory.path() });
    let allow = json!({ "fs": [{ "path": directory.path(), "access": "rw" }] });
    (Backend::new("history-dir", with, allow), directory)
}

#[test]
fn keeps_the_contract() {
    backend().0.keeps_the_contract();
}

#[test]
fn is_shared_by_two_machines() {
    let (backend, _directory) = backend();
    backend.is_shared_by_two_machines("shop");
}
