//! Files that appear complete or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dcd_plugin_sdk::{Error, Help as _};

/// How often a directory is listed whose files come and go.
const LISTINGS: u32 = 100;

/// 128 random bits, as text.
pub(crate) fn random() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::other(format!("there is no randomness: {error}")))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// A directory for what comes and goes. Nobody lists it: a list that something goes from has to be made again.
pub(crate) fn passing(root: &Path) -> io::Result<PathBuf> {
    let dir = root.join(".tmp");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Writes a file under a name that nobody reads, and syncs it.
pub(crate) fn write_hidden(dir: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
    let path = dir.join(format!(".tmp-{}", random()?));
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write()
        .context(format!("cannot write to {}", dir.display()))
        .help("grant the directory with \"access\": \"rw\", and let the user that dcd runs as write to it")?;
    Ok(path)
}

/// Makes or replaces a file.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let hidden = write_hidden(dir, bytes)?;
    fs::rename(&hidden, path).context(format!("cannot write {}", path.display()))?;
    sync_dir(dir);
    Ok(())
}

/// The file's text; none when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(format!("cannot read {}", path.display())),
    }
}

/// The names in a directory; none when there is no such directory.
///
/// A file that goes while its directory is listed, as other writers' hidden files do all the time, makes the
/// host's answer "not found": then the list is made again.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut tries = 0;
    loop {
        match list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < LISTINGS => {
                if !dir.exists() {
                    return Ok(Vec::new());
                }
                tries += 1;
            }
            listed => return listed.context(format!("cannot list {}", dir.display())),
        }
    }
}

fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

/// Gives a finished file its name, unless there is a file of that name already: then the answer is false.
pub(crate) fn link(hidden: &Path, path: &Path) -> Result<bool, Error> {
    match fs::hard_link(hidden, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::other(format!("cannot make the hard link {}: {error}", path.display()))
            .help("build numbers need hard links: use a local directory or NFS; most FUSE and SMB drives have none")),
    }
}

/// Makes what was linked or renamed survive a power cut. Not every drive can, and none needs it to be
/// correct.
pub(crate) fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        _ = dir.sync_all();
    }
}

/// Does what a build needs, and leaves nothing behind.
pub(crate) fn probe(dir: &Path) -> Result<(), Error> {
    let hidden = write_hidden(dir, b"probe")?;
    let linked = dir.join(format!(".tmp-{}", random()?));
    let result = link(&hidden, &linked);
    _ = fs::remove_file(&linked);
    fs::remove_file(&hidden)?;
    result.map(|_| ())
}
