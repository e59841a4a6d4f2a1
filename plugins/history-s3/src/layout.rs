//! Which object is where. All that stands in a key is a letter, a digit or one of `-._~/`: what every server and every URL
//! takes as it is.

/// How many builds a segment holds.
pub(crate) const SEGMENT: u64 = 500;

/// Proves by being there that the store refuses to make it again.
pub(crate) const PROOF: &str = ".dcd/conditional-writes";
/// What the keys of `check` begin with.
pub(crate) const CHECK: &str = ".dcd/check-";
pub(crate) const COMPONENTS: &str = "components/";
pub(crate) const LOCKS: &str = "locks/";

/// The component's numbers, and which of its builds are in segments.
pub(crate) fn component(component: &str) -> String {
    format!("{COMPONENTS}{}", encode(component))
}

/// The component that a key of [`component`] is of.
pub(crate) fn component_of(key: &str) -> Option<String> {
    decode(key.strip_prefix(COMPONENTS)?)
}

/// Which number a run has, or tries to have.
pub(crate) fn run(component: &str, run_id: &str) -> String {
    format!("runs/{}/{}", encode(component), encode(run_id))
}

/// What the keys of a component's builds begin with.
pub(crate) fn builds(component: &str) -> String {
    format!("builds/{}/", encode(component))
}

/// A build's record. Being there gives the number.
pub(crate) fn build(component: &str, number: u64) -> String {
    format!("{}{number:010}", builds(component))
}

/// The number that a key of [`build`] has.
pub(crate) fn number_of(key: &str) -> Option<u64> {
    key.rsplit_once('/')?.1.parse().ok()
}

/// What the keys of a build's events begin with.
pub(crate) fn events(component: &str, number: u64) -> String {
    format!("events/{}/{number:010}/", encode(component))
}

/// The records of [`SEGMENT`] builds; the first is number `segment * SEGMENT + 1`.
pub(crate) fn segment(component: &str, segment: u64) -> String {
    format!("segments/{}/{:010}.jsonl.gz", encode(component), segment * SEGMENT + 1)
}

/// In which segment a build belongs.
pub(crate) fn segment_of(number: u64) -> u64 {
    number.saturating_sub(1) / SEGMENT
}

pub(crate) fn lock(name: &str) -> String {
    format!("{LOCKS}{}", encode(name))
}

/// A name as one part of a key: everything but letters, digits, `-`, `_` and inner dots becomes `~` and two hex digits.
pub(crate) fn encode(name: &str) -> String {
    shared::segment::encode(name, '~')
}

/// The name that [`encode`] made a part of a key of; none for other keys.
pub(crate) fn decode(part: &str) -> Option<String> {
    shared::segment::decode(part, '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_builds() {
        assert_eq!(build("team/shop", 7), "builds/team~2Fshop/0000000007");
        assert!(build("shop", 99) < build("shop", 100));
        assert_eq!(number_of(&build("shop", 100)), Some(100));
        assert_eq!(component_of(&component("team/shop")).as_deref(), Some("team/shop"));
        assert_eq!([1, 500, 501].map(segment_of), [0, 0, 1]);
        assert_eq!(segment("shop", 1), "segments/shop/0000000501.jsonl.gz");
    }
}
