//! What comes when, and what went wrong before it.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use super::StepSpec;
use crate::engine::message::StepIndex;

/// The steps' order.
#[derive(Debug)]
pub(super) struct Graph {
    needs: Vec<Vec<StepIndex>>,
    dependents: Vec<Vec<StepIndex>>,
    /// How many of a step's needs are not decided.
    missing: Vec<usize>,
    /// Those whose turn has come; the first goes first.
    ready: BTreeSet<StepIndex>,
    /// For each decided step, those that ended badly among it and all before it.
    bad: Vec<StepSet>,
}

impl Graph {
    pub(super) fn new(specs: &[StepSpec]) -> Self {
        let mut dependents = vec![Vec::new(); specs.len()];
        for (step, spec) in specs.iter().enumerate() {
            for need in &spec.needs {
                dependents[*need].push(step);
            }
        }
        Graph {
            needs: specs.iter().map(|spec| spec.needs.clone()).collect(),
            dependents,
            missing: specs.iter().map(|spec| spec.needs.len()).collect(),
            ready: BTreeSet::new(),
            bad: vec![StepSet::default(); specs.len()],
        }
    }

    /// The steps that need nothing are ready.
    pub(super) fn begin(&mut self) {
        self.ready.extend((0..self.missing.len()).filter(|step| self.missing[*step] == 0));
    }

    /// Takes the first that is ready.
    pub(super) fn next(&mut self) -> Option<StepIndex> {
        self.ready.pop_first()
    }

    /// A step's turn has come again.
    pub(super) fn again(&mut self, step: StepIndex) {
        self.ready.insert(step);
    }

    /// Those that ended badly among all that the step needs, directly or through others, which are decided.
    pub(super) fn bad_before(&self, step: StepIndex) -> StepSet {
        let sets = self.needs[step].iter().map(|need| &self.bad[*need]);
        sets.fold(StepSet::default(), StepSet::union)
    }

    /// A step is decided: others may be ready now.
    pub(super) fn decide(&mut self, step: StepIndex, badly: bool) {
        self.ready.remove(&step);
        let before = self.bad_before(step);
        self.bad[step] = if badly { before.with(step) } else { before };
        for dependent in &self.dependents[step] {
            self.missing[*dependent] -= 1;
            if self.missing[*dependent] == 0 {
                self.ready.insert(*dependent);
            }
        }
    }
}

/// A set of steps, a bit for each. Sets that are alike are shared, and nearly all are: after the one failure of
/// a build of 10,000 steps they all hold it alone. Whatever fails, a step costs no more than 1,250 bytes there.
#[derive(Clone, Debug, Default)]
pub(super) struct StepSet(Option<Arc<[u64]>>);

impl StepSet {
    fn words(&self) -> &[u64] {
        self.0.as_deref().unwrap_or_default()
    }

    fn contains_all(&self, other: &StepSet) -> bool {
        let ours = self.words().iter().chain(std::iter::repeat(&0));
        other.words().iter().zip(ours).all(|(theirs, ours)| theirs & !ours == 0)
    }

    fn union(self, other: &StepSet) -> StepSet {
        let same = match (&self.0, &other.0) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
        };
        if same || self.contains_all(other) {
            return self;
        }
        if other.contains_all(&self) {
            return other.clone();
        }
        let mut words = self.words().to_vec();
        words.resize(words.len().max(other.words().len()), 0);
        for (ours, theirs) in words.iter_mut().zip(other.words()) {
            *ours |= theirs;
        }
        StepSet(Some(words.into()))
    }

    fn with(&self, step: StepIndex) -> StepSet {
        let mut words = self.words().to_vec();
        words.resize(words.len().max(step / 64 + 1), 0);
        words[step / 64] |= 1 << (step % 64);
        StepSet(Some(words.into()))
    }

    /// Those in the range, rising.
    pub(super) fn within(&self, range: Range<StepIndex>) -> impl Iterator<Item = StepIndex> {
        let words = self.words().iter().enumerate().skip(range.start / 64);
        let steps = words.filter(|(_, word)| **word != 0).flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        });
        steps.skip_while(move |step| *step < range.start).take_while(move |step| *step < range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_is_a_set(
            one in proptest::collection::btree_set(0_usize..300, 0..20),
            two in proptest::collection::btree_set(0_usize..300, 0..20),
            range in (0_usize..320, 0_usize..320),
        ) {
            let set = |steps: &BTreeSet<usize>| {
                steps.iter().fold(StepSet::default(), |set, step| set.with(*step))
            };
            let union = set(&one).union(&set(&two));
            let all: BTreeSet<usize> = one.union(&two).copied().collect();
            prop_assert_eq!(union.within(0..400).collect::<BTreeSet<_>>(), all.clone());
            let range = range.0..range.1;
            let expected: Vec<_> = all.into_iter().filter(|step| range.contains(step)).collect();
            prop_assert_eq!(union.within(range).collect::<Vec<_>>(), expected);
            prop_assert!(union.contains_all(&set(&one)) && union.contains_all(&set(&two)));
        }
    }
}
