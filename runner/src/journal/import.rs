//! Taking a build's journal in that was written elsewhere.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
};

use crate::{
    build::Build,
    chain::Verifier,
    journal::{
        BuildDir, Reader, Store, StoreError,
        store::{encode, io_error},
    },
};

/// The file beside the journal of a build that came from an archive.
const IMPORTED: &str = "imported";

/// A journal that is not a build of this workspace yet.
pub struct Importing<'s> {
    store: &'s Store,
    /// Removed when it is not taken in.
    path: PathBuf,
}

/// A journal that was checked.
pub struct Imported {
    /// What its events add up to.
    pub build: Build,
    /// How many there are.
    pub events: u64,
}

impl Store {
    /// Takes the bytes of a journal, which may be anything.
    pub fn import(&self, from: &mut impl Read) -> Result<Importing<'_>, StoreError> {
        self.make_root()?;
        let path = self.root.join(format!("import-{}", std::process::id()));
        self.make_dir(&path)?;
        let importing = Importing { store: self, path };
        let journal = importing.journal();
        let mut file = File::create(&journal).map_err(|error| io_error("create", &journal, error))?;
        io::copy(from, &mut file)
            .and_then(|_| file.sync_all())
            .map_err(|error| io_error("write", &journal, error))?;
        self.owner.give(&journal);
        Ok(importing)
    }

    /// The builds that have this number.
    pub fn builds_numbered(&self, component: &str, number: u64) -> Vec<String> {
        let path = self.root.join("numbers").join(encode(component)).join(number.to_string());
        let ids = fs::read_to_string(path).unwrap_or_default();
        ids.lines().map(str::to_owned).collect()
    }
}

impl BuildDir {
    /// Whether it came from an archive: its events may say anything.
    pub fn is_imported(&self) -> bool {
        self.path().join(IMPORTED).exists()
    }
}

impl Importing<'_> {
    /// Reads all of it. The error says what is wrong with it.
    pub fn check(&self) -> Result<Imported, String> {
        let mut reader = Reader::open(&self.journal()).map_err(|error| error.to_string())?;
        let (mut build, mut verifier) = (Build::default(), Verifier::default());
        while let Some(record) = reader.next_record().map_err(|error| error.to_string())? {
            verifier.check(&record).map_err(|broken| broken.to_string())?;
            build.apply(&record.into_event());
        }
        match reader.torn() {
            Some(damage) => Err(damage.to_string()),
            None => Ok(Imported { build, events: verifier.checked() }),
        }
    }

    /// Makes it a build of this workspace. `false`: there is one with this id, and it stays.
    pub fn take_in(self, id: &str, pruned: bool) -> Result<bool, StoreError> {
        let builds = self.store.root.join("builds");
        self.store.make_dir(&builds)?;
        let place = BuildDir { id: id.to_owned(), path: builds.join(id) };
        let mark = |name| {
            let mark = self.path.join(name);
            fs::write(&mark, "").map_err(|error| io_error("write", &mark, error))?;
            self.store.owner.give(&mark);
            Ok(())
        };
        mark(IMPORTED)?;
        if pruned {
            mark("pruned")?;
        }
        // A directory takes the place of an empty one only, which is no build.
        match fs::rename(&self.path, &place.path) {
            Ok(()) => {}
            Err(_) if place.path.exists() => return Ok(false),
            Err(error) => return Err(io_error("create", &place.path, error)),
        }
        let _ = File::open(&builds).and_then(|directory| directory.sync_all());
        Ok(true)
    }

    fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }
}

impl Drop for Importing<'_> {
    fn drop(&mut self) {
        // Gone already when it was taken in.
        let _ = fs::remove_dir_all(&self.path);
    }
}
