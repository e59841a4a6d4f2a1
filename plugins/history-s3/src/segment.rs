//! Objects with the records of many builds, for lists: lines of JSON, compressed.

use std::collections::BTreeMap;

use dcd_plugin_sdk::{Error, Help as _, serde_json};

use crate::backoff::Backoff;
use crate::record::Entry;
use crate::store::Store;
use crate::{chunk, layout};

/// How often a change is tried while others make theirs.
const TURNS: u32 = 16;

/// The builds of a segment's object, and how many bytes they are.
pub(crate) fn read(key: &str, bytes: &[u8]) -> Result<(Vec<Entry>, usize), Error> {
    let text = chunk::decompress(key, bytes)?;
    let entries = serde_json::Deserializer::from_slice(&text).into_iter();
    let entries = entries.map(|entry| entry.context(format!("{key} is damaged")));
    Ok((entries.collect::<Result<_, Error>>()?, text.len()))
}

/// A segment's object.
pub(crate) fn write<'a>(entries: impl Iterator<Item = &'a Entry>) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry)?;
        text.push(b'\n');
    }
    chunk::compress(&text)
}

/// Puts builds into a segment, or in place of what it has of them. What is newer there stays.
pub(crate) fn merge(store: &Store, component: &str, segment: u64, entries: &[Entry]) -> Result<(), Error> {
    let key = layout::segment(component, segment);
    let mut backoff = Backoff::new(store);
    for _ in 0..TURNS {
        let object = store.get(&key)?;
        let mut all = BTreeMap::new();
        if let Some(object) = &object {
            all.extend(read(&key, &object.bytes)?.0.into_iter().map(|entry| (entry.number, entry)));
        }
        let mut is_changed = false;
        for entry in entries {
            if all.get(&entry.number).is_none_or(|known| known.revision < entry.revision) {
                all.insert(entry.number, entry.clone());
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(());
        }
        let bytes = write(all.values())?;
        let written = match &object {
            Some(object) => store.replace(&key, &bytes, &object.etag)?,
            None => store.create(&key, &bytes)?,
        };
        if written.is_some() {
            return Ok(());
        }
        backoff.wait()?;
    }
    Err(Error::unavailable(format!("{key} is being changed by others all the time")))
}
