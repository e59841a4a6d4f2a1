//! Which file is where.

use std::path::{Path, PathBuf};

use dcd_plugin_sdk::Error;
use shared::segment;

use crate::files;

/// A component's directory.
#[derive(Clone, Debug)]
pub(crate) struct ComponentDir {
    /// Where all components are.
    pub(crate) root: PathBuf,
    pub(crate) name: String,
    path: PathBuf,
}

/// One build's directory, which may not be there yet.
#[derive(Clone, Debug)]
pub(crate) struct BuildDir {
    pub(crate) component: ComponentDir,
    pub(crate) number: u64,
}

impl ComponentDir {
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        Self { root: root.to_owned(), name: name.to_owned(), path: root.join(encode(name)) }
    }

    /// All components that have builds, by name.
    pub(crate) fn all(root: &Path) -> Result<Vec<Self>, Error> {
        let mut all: Vec<_> = files::names(root)?
            .iter()
            .filter_map(|name| decode(name))
            .map(|name| Self::new(root, &name))
            .filter(|component| component.numbers().is_dir())
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn numbers(&self) -> PathBuf {
        self.path.join("numbers")
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    pub(crate) fn run(&self, run_id: &str) -> PathBuf {
        self.runs().join(encode(run_id))
    }

    pub(crate) fn build(&self, number: u64) -> BuildDir {
        BuildDir { component: self.clone(), number }
    }

    /// The numbers that were given, in any order.
    pub(crate) fn given(&self) -> Result<Vec<u64>, Error> {
        Ok(files::names(&self.numbers())?.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

impl BuildDir {
    pub(crate) fn new(root: &Path, component: &str, number: u64) -> Self {
        ComponentDir::new(root, component).build(number)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.component.path.join(self.number.to_string())
    }

    /// What gave the number: the record as the build began.
    pub(crate) fn claim(&self) -> PathBuf {
        self.component.numbers().join(self.number.to_string())
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.path().join("build.json")
    }

    /// Up to which event output was dropped. A file of its own: whoever writes it changes nothing that others write.
    pub(crate) fn pruned(&self) -> PathBuf {
        self.path().join("pruned")
    }

    pub(crate) fn lease(&self) -> PathBuf {
        self.path().join("lease.json")
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.path().join("events")
    }
}

/// A name as one path segment that no file system and no person misunderstands.
pub(crate) fn encode(name: &str) -> String {
    segment::encode(name, '%')
}

/// The name that [`encode`] made a segment of; none for other files.
pub(crate) fn decode(segment: &str) -> Option<String> {
    segment::decode(segment, '%')
}
