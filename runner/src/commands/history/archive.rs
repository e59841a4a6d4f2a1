//! The file that builds are carried in: a tar with a list first, then each build's journal.

use serde::{Deserialize, Serialize};

/// The form of the archive. A reader refuses a later one.
pub(super) const VERSION: u32 = 1;
/// The list's name.
pub(super) const LIST: &str = "dcd-history.json";

/// What is in the archive.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct List {
    /// [`VERSION`].
    pub(super) version: u32,
    /// The builds, oldest first.
    pub(super) builds: Vec<Listed>,
}

/// A build in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Its id.
    pub(super) id: String,
    /// Its number, once it has one.
    pub(super) number: Option<u64>,
    /// What was built.
    pub(super) component: String,
}

/// Where the build's journal lies.
pub(super) fn path(id: &str) -> String {
    format!("builds/{id}/journal")
}

/// The build whose journal lies there; `None` for anything else.
pub(super) fn id(path: &str) -> Option<&str> {
    let id = path.strip_prefix("builds/")?.strip_suffix("/journal")?;
    let is_uuid = id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let is_hex = |id: &str| id.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9' | b'a'..=b'f'));
    (is_uuid && is_hex(id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_builds_own_place_is_one() {
        let known = "01a203e2-3295-7162-b630-1285573927c9";
        assert_eq!(id(&path(known)), Some(known));
        for wrong in ["../../etc/passwd", "/etc", "..", "01A203E2-3295-7162-b630-1285573927c9", "a/b", ""] {
            assert_eq!(id(&path(wrong)), None, "{wrong}");
        }
        assert_eq!(id(&format!("x/builds/{known}/journal")), None);
        assert_eq!(id(&format!("builds/{known}/journal/../x")), None);
    }
}
