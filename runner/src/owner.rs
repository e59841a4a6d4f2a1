//! Files that dcd itself writes belong to the workspace's owner, also when it runs as root in a container.

use std::{
    fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
};

use rustix::fs::{Gid, Uid};

/// Whom new files are given to.
#[derive(Clone, Copy, Debug)]
pub struct Owner(Option<(Uid, Gid)>);

impl Owner {
    /// The owner of the workspace, when we are root and they are not; else nothing is to be done.
    pub fn of(workspace: &Path) -> Self {
        let owner = fs::metadata(workspace)
            .ok()
            .filter(|metadata| metadata.uid() != 0 && rustix::process::geteuid().is_root())
            .map(|metadata| (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid())));
        Owner(owner)
    }

    /// Gives a file or directory that was just made. Where that is refused, the file is all the same there.
    pub fn give(self, path: &Path) {
        if let Some((uid, gid)) = self.0 {
            let _ = rustix::fs::chown(path, Some(uid), Some(gid));
        }
    }

    /// [`Owner::give`] for a file that is open, whatever its path leads to meanwhile.
    pub fn give_open(self, file: impl AsFd) {
        if let Some((uid, gid)) = self.0 {
            let _ = rustix::fs::fchown(file, Some(uid), Some(gid));
        }
    }

    /// Makes a directory and those above it that are missing.
    pub fn make_dirs(self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Ok(()) => self.give(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !path.is_dir() {
                    return Err(rustix::io::Errno::NOTDIR.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link that leads nowhere is there, and still cannot be gone into.
                let missing =
                    |parent: &&Path| !parent.as_os_str().is_empty() && parent.symlink_metadata().is_err();
                let Some(parent) = path.parent().filter(missing) else { return Err(error) };
                self.make_dirs(parent)?;
                return self.make_dirs(path);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
