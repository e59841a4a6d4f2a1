//! The files that `--report` asks for.
//!
//! They are made from the journal when the build is over, so they hold what the history holds, also of a build
//! that broke, and cost nothing while it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{ReportArg, ReportKind},
    commands::output::warn,
    error::Exit,
    journal::{BuildDir, Reader, Store},
    owner::Owner,
    report::{self, Junit},
};

/// Reports that are written at the latest when this is dropped.
pub(super) struct Reports {
    asked: Vec<ReportArg>,
    workspace: PathBuf,
    build: Option<(Store, BuildDir)>,
}

impl Reports {
    pub(super) fn new(asked: &[ReportArg], workspace: &Path) -> Self {
        Reports { asked: asked.to_vec(), workspace: workspace.to_owned(), build: None }
    }

    /// The build that they are about. To be dropped after its journal.
    pub(super) fn build(&mut self, store: &Store, place: &BuildDir) {
        self.build = Some((store.clone(), place.clone()));
    }

    /// Writes them. A build without its reports is no success.
    pub(super) fn finish(mut self, exit: Exit) -> Exit {
        if !self.write() && exit == Exit::Success { Exit::Environment } else { exit }
    }

    fn write(&mut self) -> bool {
        let Some((store, place)) = self.build.take() else { return true };
        let mut all = true;
        for asked in &self.asked {
            let file = self.workspace.join(&asked.file);
            let text = text(asked.kind, &store, &place);
            if let Err(error) = text.and_then(|text| write(Owner::of(&self.workspace), &file, &text)) {
                warn(&format!("the report {} cannot be written: {error}", file.display()));
                all = false;
            }
        }
        all
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.write();
    }
}

fn text(kind: ReportKind, store: &Store, place: &BuildDir) -> io::Result<String> {
    let mut build = place.read()?;
    if build.number.is_none() {
        build.number = store.numbers_of(&build.component).get(&build.id).copied();
    }
    match kind {
        ReportKind::Json => Ok(format!("{:#}\n", report::document(&build))),
        ReportKind::Junit => {
            let mut junit = Junit::default();
            let mut reader = Reader::open(&place.journal())?;
            while let Some(event) = reader.next_event()? {
                junit.event(&event);
            }
            junit.finish(&build)
        }
    }
}

/// Writes a file, and makes the directories that it lies in. What is new is the workspace owner's.
fn write(owner: Owner, file: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        owner.make_dirs(directory)?;
    }
    let is_new = !file.exists();
    fs::write(file, text)?;
    if is_new {
        owner.give(file);
    }
    Ok(())
}
