//! Builds, newest first.
//!
//! Within a component the higher number is newer; between components the later start is. So a page costs
//! about as many files as it has builds, however many there are. The cursor says for each component which
//! number comes next: builds that begin while somebody turns pages are on none of them, and none is shown
//! twice.

use std::collections::BTreeMap;
use std::path::Path;

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Build, BuildFilter, BuildPage, Page};

use crate::layout::{ComponentDir, decode, encode};
use crate::{clock, record};

const LONGEST_PAGE: u32 = 1000;

pub(crate) fn list(root: &Path, filter: &BuildFilter, page: &Page) -> Result<BuildPage, Error> {
    let limit = page.limit.clamp(1, LONGEST_PAGE) as usize;
    let cursor = page.cursor.as_deref().map(read_cursor).transpose()?;
    let components = match &filter.component {
        Some(name) => vec![ComponentDir::new(root, name)],
        None => ComponentDir::all(root)?,
    };
    let mut queues = Vec::new();
    for component in components {
        queues.extend(Queue::new(component, cursor.as_ref())?);
    }
    let now = clock::now(root)?;
    let mut items = Vec::new();
    loop {
        for queue in &mut queues {
            queue.fill(filter, now)?;
        }
        queues.retain(|queue| queue.head.is_some());
        if queues.is_empty() {
            return Ok(BuildPage { items, next: None });
        }
        if items.len() == limit {
            return Ok(BuildPage { items, next: Some(write_cursor(&queues)) });
        }
        let newest = queues.iter_mut().max_by_key(|queue| queue.head.as_ref().map(|build| build.started_at));
        items.extend(newest.and_then(|queue| queue.head.take()));
    }
}

/// What is left of one component.
struct Queue {
    component: ComponentDir,
    /// In rising order.
    numbers: Vec<u64>,
    head: Option<Build>,
}

impl Queue {
    /// None for a component that is not, or no more, on the pages that the cursor belongs to.
    fn new(component: ComponentDir, cursor: Option<&BTreeMap<String, u64>>) -> Result<Option<Self>, Error> {
        let highest = match cursor {
            None => u64::MAX,
            Some(cursor) => match cursor.get(&component.name) {
                Some(highest) => *highest,
                None => return Ok(None),
            },
        };
        let mut numbers = component.given()?;
        numbers.retain(|number| *number <= highest);
        numbers.sort_unstable();
        Ok(Some(Self { component, numbers, head: None }))
    }

    /// Finds the next build that the filter lets through.
    fn fill(&mut self, filter: &BuildFilter, now: u64) -> Result<(), Error> {
        while self.head.is_none() {
            let Some(number) = self.numbers.pop() else { break };
            let build = record::build(&self.component.build(number), now)?;
            self.head = build.filter(|build| filter.fits(build));
        }
        Ok(())
    }
}

fn write_cursor(queues: &[Queue]) -> String {
    let entry = |queue: &Queue| {
        let head = queue.head.as_ref().map_or(0, |build| build.id.number);
        format!("{}={head}", encode(&queue.component.name))
    };
    queues.iter().map(entry).collect::<Vec<_>>().join(",")
}

fn read_cursor(cursor: &str) -> Result<BTreeMap<String, u64>, Error> {
    let entry = |entry: &str| {
        let (name, number) = entry.split_once('=')?;
        Some((decode(name)?, number.parse().ok()?))
    };
    let entries: Option<BTreeMap<_, _>> = cursor.split(',').map(entry).collect();
    entries.ok_or_else(|| Error::other("the cursor is not one that this backend gave"))
}
