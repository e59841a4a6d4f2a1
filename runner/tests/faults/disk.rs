//! A disk that can be filled.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// A small file system in memory. Unmounted when it is dropped.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one at a directory; the error says why that is not possible.
    pub(crate) fn mount(path: &Path) -> Result<Self, String> {
        fs::create_dir_all(path).unwrap();
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount a file system".to_owned());
        }
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,mode=755", "none"]).arg(path).output();
        let mount = mount.map_err(|error| format!("mount: {error}"))?;
        if mount.status.success() {
            Ok(Disk { path: path.to_owned() })
        } else {
            Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned())
        }
    }

    /// Takes all room but so many bytes.
    pub(crate) fn fill(&self, left: u64) {
        let room = rustix::fs::statvfs(&self.path).unwrap();
        let room = room.f_bavail * room.f_frsize;
        let ballast = File::create(self.ballast()).unwrap();
        let flags = rustix::fs::FallocateFlags::empty();
        // Others write meanwhile: what is not there any more is not taken.
        let _ = rustix::fs::fallocate(&ballast, flags, 0, room.saturating_sub(left).max(1));
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        let _ = fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
