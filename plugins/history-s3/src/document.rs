//! JSON objects that several writers change: each change is made to a version that was read, and written only in its
//! place.

use dcd_plugin_sdk::{Error, Help as _, serde_json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backoff::Backoff;
use crate::store::{Object, Store, random};

/// How often a change is tried while others write, too.
const TURNS: u32 = 16;

/// What such an object holds.
pub(crate) trait Document: Clone + Serialize + DeserializeOwned {
    /// Who wrote this version: so that a writer whose answer was lost finds that it was there.
    fn stamp(&self) -> &str;
    fn set_stamp(&mut self, stamp: String);
}

/// A version that was read or written.
#[derive(Clone, Debug)]
pub(crate) struct Version<D> {
    pub(crate) document: D,
    pub(crate) etag: String,
}

/// What is made of a version.
pub(crate) enum Change<T> {
    /// Nothing is to be written.
    Leave(T),
    /// The document was changed, and is to be written.
    Write(T),
}

/// Reads a document.
pub(crate) fn read<D: Document>(store: &Store, key: &str) -> Result<Option<Version<D>>, Error> {
    store.get(key)?.map(|object| parse(key, object)).transpose()
}

/// The document in an object.
pub(crate) fn parse<D: Document>(key: &str, object: Object) -> Result<Version<D>, Error> {
    let document = serde_json::from_slice(&object.bytes).context(format!("{key} is damaged"))?;
    Ok(Version { document, etag: object.etag })
}

/// A document as it is written.
pub(crate) fn to_json<D: Document>(document: &D) -> Result<Vec<u8>, Error> {
    let mut json = serde_json::to_vec(document)?;
    json.push(b'\n');
    Ok(json)
}

/// Changes a document, which is `new` where there is none; none when there is neither.
///
/// It begins with `known`, where this is given: which may be an old version, so that what is decided on it counts only if
/// it could be written. `decide` is asked anew whenever another writer was quicker.
pub(crate) fn update<D: Document, T>(
    store: &Store,
    key: &str,
    mut known: Option<Version<D>>,
    new: Option<&D>,
    mut decide: impl FnMut(&mut D) -> Result<Change<T>, Error>,
) -> Result<Option<(T, Version<D>)>, Error> {
    let mut read_anew = None;
    let mut backoff = Backoff::new(store);
    for turn in 0..TURNS {
        let old = known.take();
        let may_be_old = old.is_some();
        let (mut document, etag) = match (old.or(read_anew.take()), new) {
            (Some(Version { document, etag }), _) => (document, Some(etag)),
            (None, new) => match (read(store, key)?, new) {
                (Some(Version { document, etag }), _) => (document, Some(etag)),
                (None, Some(new)) => (new.clone(), None),
                (None, None) => return Ok(None),
            },
        };
        let answer = match decide(&mut document) {
            Ok(Change::Write(answer)) => answer,
            // On an old version: so with the newest, once more.
            Ok(Change::Leave(_)) | Err(_) if may_be_old => continue,
            Ok(Change::Leave(answer)) => {
                let etag = etag.unwrap_or_default();
                return Ok(Some((answer, Version { document, etag })));
            }
            Err(error) => return Err(error),
        };
        let stamp = random()?;
        document.set_stamp(stamp.clone());
        let json = to_json(&document)?;
        let written = match &etag {
            Some(etag) => store.replace(key, &json, etag)?,
            None => store.create(key, &json)?,
        };
        if let Some(etag) = written {
            return Ok(Some((answer, Version { document, etag })));
        }
        // What the quicker writer did may be all that was wanted.
        if turn > 0 {
            backoff.wait()?;
        }
        // It may be there all the same: the answer to an earlier try was lost.
        match read::<D>(store, key)? {
            Some(version) if version.document.stamp() == stamp => return Ok(Some((answer, version))),
            version => read_anew = version,
        }
    }
    Err(Error::unavailable(format!("{key} is being changed by others all the time")))
}
