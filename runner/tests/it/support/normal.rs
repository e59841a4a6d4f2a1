//! Text without what differs from run to run.

use std::path::{Path, PathBuf};

/// Replaces ids, times, durations, digests, versions and paths.
pub(crate) struct Cleaner {
    root: PathBuf,
}

impl Cleaner {
    pub(crate) fn new(root: &Path) -> Self {
        Cleaner { root: root.to_owned() }
    }

    pub(crate) fn clean(&self, text: &str) -> String {
        let text = text.replace(&*self.root.to_string_lossy(), "[ROOT]");
        let mut clean = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() || ".:-".contains(c) {
                word.push(c);
                continue;
            }
            let end = word.trim_end_matches(['.', ':', '-']).len();
            // Where in a journal depends on what is recorded of the machine.
            let is_place = clean.ends_with("at byte ");
            let named = if is_place { Some("[OFFSET]") } else { name(&word[..end]) };
            clean.push_str(named.unwrap_or(&word[..end]));
            clean.push_str(&word[end..]);
            word.clear();
            clean.push(c);
        }
        clean.pop();
        clean
    }
}

/// What stands for such a word.
fn name(word: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) {
        return Some("[ID]");
    }
    if word.ends_with('Z') && word.parse::<jiff::Timestamp>().is_ok() {
        return Some("[AT]");
    }
    if word.len() == 8 && word.split(':').map(|part| part.len() == 2 && digits(part)).eq([true; 3]) {
        return Some("[TIME]");
    }
    if word == env!("CARGO_PKG_VERSION") {
        return Some("[VERSION]");
    }
    if let Some((kind, digest)) = word.split_once(':')
        && kind == "sha256"
        && hex(digest)
    {
        return Some("[SHA256]");
    }
    if matches!(word.len(), 40 | 64) && hex(word) {
        return Some("[SHA]");
    }
    if word.strip_prefix("0x").is_some_and(hex) {
        return Some("[OFFSET]");
    }
    let seconds = word.strip_suffix('s').and_then(|rest| rest.split_once('.'));
    let is_duration = word.strip_suffix("ms").is_some_and(digits)
        || seconds.is_some_and(|(whole, tenth)| digits(whole) && tenth.len() == 1 && digits(tenth));
    is_duration.then_some("[TOOK]")
}
