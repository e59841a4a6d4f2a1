//! A directory for one test.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Goes with all that is in it.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn new() -> io::Result<Self> {
        let directory = std::env::temp_dir();
        fs::create_dir_all(&directory)?;
        // Without links: a plugin is told of the directory by the path that it is granted by.
        let path = directory.canonicalize()?.join(format!("dcd-test-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir(&path)?;
        Ok(Temporary(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
