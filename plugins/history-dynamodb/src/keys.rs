//! Which item is where.
//!
//! `#` separates, since a component's name has none. Numbers have a fixed width, so that they sort as they count.

use dcd_plugin_sdk::history::BuildId;

use crate::item::Key;

/// Sorts after every sort key that begins with what stands before it.
const END: char = '~';
/// The widest number.
const WIDTH: usize = 20;

/// The partition of a component's builds.
pub(crate) fn builds(component: &str) -> String {
    format!("build#{component}")
}

/// A build's record.
pub(crate) fn build(id: &BuildId) -> Key {
    Key::new(builds(&id.component), digits(id.number))
}

/// What a run's build is looked for by.
pub(crate) fn run(component: &str, run_id: &str) -> Key {
    Key::new(format!("run#{component}"), run_id)
}

/// The partition that lists builds of all components by their start.
pub(crate) const STARTS: &str = "start";

/// A build's place in that list.
pub(crate) fn start(started_at: u64, component: &str, run_id: &str) -> Key {
    Key::new(STARTS, format!("{}#{component}#{run_id}", digits(started_at)))
}

/// The first sort key of what started at this time or later.
pub(crate) fn started(at: u64) -> String {
    digits(at)
}

/// The last sort key of what started at this time or earlier.
pub(crate) fn started_until(at: u64) -> String {
    format!("{}#{END}", digits(at))
}

/// The start, component and run id of a place in the list of starts.
pub(crate) fn parse_start(sk: &str) -> Option<(u64, &str, &str)> {
    let mut parts = sk.splitn(3, '#');
    Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}

/// The partition of what is said of a build's chunks.
pub(crate) fn chunks(id: &BuildId) -> String {
    format!("chunk#{}#{}", id.component, id.number)
}

/// The head of the chunk that begins with `first`, written under the lease with this fence.
pub(crate) fn chunk(id: &BuildId, first: u64, fence: u64) -> Key {
    Key::new(chunks(id), format!("{}#{}", digits(first), digits(fence)))
}

/// The first sort key of chunks that begin with `first` or later.
pub(crate) fn chunk_from(first: u64) -> String {
    digits(first)
}

/// The last sort key of chunks that begin with `first` or earlier.
pub(crate) fn chunk_until(first: u64) -> String {
    format!("{}#{END}", digits(first))
}

/// The event that a chunk begins with, from its sort key.
pub(crate) fn parse_first(sk: &str) -> Option<u64> {
    sk.split('#').next()?.parse().ok()
}

/// The partition of what chunks hold, where that is not in their heads.
pub(crate) fn parts(id: &BuildId) -> String {
    format!("data#{}#{}", id.component, id.number)
}

/// The `index`th part of the data with this id, of the chunk that begins with `first`.
pub(crate) fn part(id: &BuildId, first: u64, data: &str, index: u64) -> Key {
    Key::new(parts(id), format!("{}#{data}#{index:03}", digits(first)))
}

/// The partition of locks.
pub(crate) const LOCKS: &str = "lock";

/// A lock.
pub(crate) fn lock(name: &str) -> Key {
    Key::new(LOCKS, name)
}

fn digits(number: u64) -> String {
    format!("{number:0WIDTH$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_numbers_count() {
        let id = BuildId { component: "shop/web".into(), number: 7 };
        assert_eq!(build(&id), Key::new("build#shop/web", "00000000000000000007"));
        let (nine, ten) = (chunk(&id, 9, 1), chunk(&id, 10, 1));
        assert!(nine.sk < ten.sk && ten.sk < chunk(&id, 10, 2).sk);
        assert!(chunk_from(10) < ten.sk && chunk(&id, 10, u64::MAX).sk < chunk_until(10));
        assert!(chunk_until(10) < chunk_from(11));
        assert_eq!(parse_first(&ten.sk), Some(10));
        let place = start(1_763_000_000_000, "shop/web", "run#7");
        assert_eq!(parse_start(&place.sk), Some((1_763_000_000_000, "shop/web", "run#7")));
        assert!(started(1_763_000_000_000) < place.sk && place.sk < started_until(1_763_000_000_000));
    }
}
