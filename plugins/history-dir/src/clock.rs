//! The clock of the place where builds are kept.
//!
//! The clocks of two machines may be far apart, so a lease that one of them gave cannot be judged by the other's. A
//! file server has one clock, and shows it on what is made there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dcd_plugin_sdk::{Error, Help as _};

use crate::files;

/// Milliseconds since the Unix epoch, by the clock of the file system.
pub(crate) fn now(root: &Path) -> Result<u64, Error> {
    let name = files::random()?;
    let shown = files::passing(root).and_then(|dir| {
        // A directory, not a file: what clients know of files before the server does is no concern then.
        let probe = dir.join(name);
        fs::create_dir(&probe)?;
        let shown = modified(&probe);
        _ = fs::remove_dir(&probe);
        shown
    });
    match shown {
        Ok(time) => Ok(since_epoch(time)),
        // Who may only read has no other clock than its own.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Ok(since_epoch(SystemTime::now()))
        }
        Err(error) => Err(error).context(format!("cannot tell the time of {}", root.display())),
    }
}

/// When something was last changed, by the same clock.
pub(crate) fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

pub(crate) fn since_epoch(time: SystemTime) -> u64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
