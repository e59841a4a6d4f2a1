//! Dropping what a build's steps printed from its journal. All else stays, and so do the hashes.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
};

use rustix::{fs::FlockOperation, io::Errno};
use sha2::{Digest, Sha256};

use crate::{
    event::{Body, OutputPruned, Payload, Record, STEP_OUTPUT},
    journal::{
        BuildDir, Reader, Store,
        format::{self, Encoder},
    },
    text::hex,
};

/// What became of a journal whose output was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// The steps had printed so many bytes.
    Dropped(u64),
    /// Somebody writes the journal.
    Running,
}

impl Store {
    /// Drops what the build's steps printed. Whenever this is interrupted, either the old journal is there or the new
    /// one. A damaged journal is left as it is.
    pub fn prune(&self, build: &BuildDir) -> io::Result<Pruned> {
        let journal = build.journal();
        // Nobody else is to begin writing what is about to be replaced.
        let old = File::open(&journal)?;
        match rustix::fs::flock(&old, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Pruned::Running),
            Err(error) => return Err(error.into()),
        }
        let new = build.path.join("journal.new");
        let written = copy(&mut Reader::open(&journal)?, &new);
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = fs::remove_file(&new);
                return Err(error);
            }
        };
        self.owner.give(&new);
        fs::rename(&new, &journal)?;
        let mark = build.pruned_mark();
        fs::write(&mark, "")?;
        self.owner.give(&mark);
        File::open(&build.path)?.sync_all()?;
        Ok(Pruned::Dropped(bytes))
    }
}

/// Writes the records without their output. Answers how much that was.
fn copy(from: &mut Reader, to: &std::path::Path) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(256 << 10, File::create(to)?);
    let mut encoder = Encoder::default();
    let mut bytes = 0;
    out.write_all(&format::header())?;
    while let Some(mut record) = from.next_record()? {
        bytes += drop_output(&mut record);
        encoder.clear();
        encoder.copy(&record);
        out.write_all(encoder.records())?;
    }
    if let Some(damage) = from.torn() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, damage.clone()));
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(bytes)
}

/// Puts a digest in the place of output. Answers how many bytes there were.
fn drop_output(record: &mut Record) -> u64 {
    let (STEP_OUTPUT, Payload::Bytes(output)) = (record.kind.as_str(), &record.payload) else { return 0 };
    let bytes = output.len() as u64;
    let left = OutputPruned { bytes, sha256: hex(&Sha256::digest(output)) };
    record.payload = Body::OutputPruned(left).payload();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::Verifier,
        event::{AttemptStarted, BuildStarted},
    };

    #[test]
    fn output_goes_and_the_chain_holds() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let (dir, mut writer) = store.create_build("0a").unwrap();
        let plan = crate::event::StepPlan { name: "a".into(), ..Default::default() };
        let started = BuildStarted { id: "0a".into(), steps: vec![plan], ..BuildStarted::default() };
        writer.append(None, Body::BuildStarted(started)).unwrap();
        writer.append(Some("a".into()), Body::AttemptStarted(AttemptStarted { attempt: 1 })).unwrap();
        for text in ["secret\n", "more\n"] {
            writer.append(Some("a".into()), Body::StepOutput(text.repeat(2000).into())).unwrap();
        }
        assert_eq!(store.prune(&dir).unwrap(), Pruned::Running);
        writer.finish().unwrap();
        let before = dir.read().unwrap();

        assert_eq!(store.prune(&dir).unwrap(), Pruned::Dropped(24_000));
        let mut after = dir.read().unwrap();
        assert!(after.pruned && dir.is_pruned());
        after.pruned = false;
        assert_eq!(after, before, "also how much was printed");
        let mut reader = Reader::open(&dir.journal()).unwrap();
        let mut verifier = Verifier::default();
        while let Some(record) = reader.next_record().unwrap() {
            verifier.check(&record).unwrap();
        }
        assert_eq!((verifier.checked(), verifier.last()), (4, before.hash));
        assert_eq!(store.prune(&dir).unwrap(), Pruned::Dropped(0), "it may be repeated");
    }

    #[test]
    fn a_damaged_journal_stays_as_it_is() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let (dir, mut writer) = store.create_build("0a").unwrap();
        writer.append(None, Body::StepOutput("one".into())).unwrap();
        writer.finish().unwrap();
        let mut bytes = fs::read(dir.journal()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(dir.journal(), &bytes).unwrap();
        assert_eq!(store.prune(&dir).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read(dir.journal()).unwrap(), bytes);
        assert!(!dir.path.join("journal.new").exists());
    }
}
