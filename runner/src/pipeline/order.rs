//! The order of a file's steps: which names there are, who needs whom, and that nobody waits for himself.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    Diagnostic, Span,
    diagnostic::{did_you_mean, printable},
    draft::{Body, Element, FileDraft, Order},
};

/// Who has that many faults of one kind is told of these first; each takes a look at the whole file.
const MAX_REPORTED: usize = 20;

/// Puts the elements of a file in order. `broken`: some are missing, and names with them.
pub(super) fn order(
    elements: &[Element],
    broken: bool,
    drafts: &[FileDraft],
    errors: &mut Vec<Diagnostic>,
) -> Order {
    let names = names(elements, drafts, errors);
    let needs = needs(elements, &names, broken, errors);
    Order { elements: sort(elements, &needs, errors), names }
}

/// A file's names by element: each step, each step with a matrix as a whole and each combination of it, each use of a
/// file and the steps in it.
fn names(elements: &[Element], drafts: &[FileDraft], errors: &mut Vec<Diagnostic>) -> HashMap<String, usize> {
    let mut names = HashMap::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let inner = match &element.body {
            Body::File(used) => used.file.map(|file| &drafts[file].order.names),
            Body::Step { .. } => None,
        };
        let mut taken: Option<(String, usize)> = None;
        let mut insert = |name: String| {
            let earlier = *names.entry(name.clone()).or_insert(index);
            if earlier != index && taken.as_ref().is_none_or(|(first, _)| name < *first) {
                taken = Some((name, earlier));
            }
        };
        let whole =
            element.name.as_ref().filter(|_| element.cells.iter().any(|cell| !cell.suffix.is_empty()));
        if let Some(name) = whole {
            insert(name.value.clone());
        }
        for cell in &element.cells {
            let name = element.cell_name(cell);
            for inner in inner.into_iter().flat_map(HashMap::keys) {
                insert(if element.name.is_some() { format!("{name}/{inner}") } else { inner.clone() });
            }
            if element.name.is_some() {
                insert(name);
            }
        }
        if let Some((name, earlier)) = taken {
            errors.extend(same_name(&name, element, &elements[earlier]));
        }
    }
    names
}

fn same_name(name: &str, element: &Element, earlier: &Element) -> Option<Diagnostic> {
    let both = element.name.as_ref().zip(earlier.name.as_ref());
    if both.is_some_and(|(one, other)| one.value == other.value) {
        // Said when the names themselves were read.
        return None;
    }
    let message = format!("two steps have the name `{}`", printable(name));
    let help = if element.name.is_none() || earlier.name.is_none() {
        "write `uses` instead of `include`, with a `name`: then the file's steps are called NAME/STEP"
    } else {
        "give each step a name of its own"
    };
    let diagnostic = Diagnostic::new(element.at.clone(), message).label("again here");
    Some(diagnostic.related(earlier.at.clone(), "first here").help(help))
}

/// What an element waits for in its file, and where it says so, if it does.
type Need = (usize, Option<Span>);

fn needs(
    elements: &[Element],
    names: &HashMap<String, usize>,
    broken: bool,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Vec<Need>> {
    let mut unknown = 0;
    let mut all = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let Some(named) = &element.needs else {
            all.push(index.checked_sub(1).map(|above| (above, None)).into_iter().collect());
            continue;
        };
        let mut needs = Vec::with_capacity(named.len());
        for name in named {
            match names.get(&name.value) {
                Some(found) if *found == index => {
                    let message = format!("{} needs itself", shown(element));
                    errors.push(Diagnostic::new(name.span.clone(), message).help("name the steps before it"));
                }
                Some(found) => needs.push((*found, Some(name.span.clone()))),
                None if broken || unknown == MAX_REPORTED => {}
                None => {
                    unknown += 1;
                    errors.push(no_such_step(&name.value, &name.span, names));
                }
            }
        }
        all.push(needs);
    }
    all
}

/// Says that a file has no step of this name.
pub(super) fn no_such_step(name: &str, at: &Span, names: &HashMap<String, usize>) -> Diagnostic {
    let diagnostic = Diagnostic::new(at.clone(), format!("there is no step `{}`", printable(name)));
    let mut candidates: Vec<_> = names.iter().map(|(name, element)| (*element, name.as_str())).collect();
    candidates.sort_unstable();
    match did_you_mean(name, candidates.into_iter().map(|(_, name)| name)) {
        Some(meant) => diagnostic.label(format!("did you mean `{}`?", printable(meant))),
        None => diagnostic.help("name a step of the same file"),
    }
}

/// Kahn's algorithm: of those that wait for nothing more, the first in the file comes next.
fn sort(elements: &[Element], needs: &[Vec<Need>], errors: &mut Vec<Diagnostic>) -> Vec<usize> {
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut dependents = vec![Vec::new(); elements.len()];
    for (index, needs) in needs.iter().enumerate() {
        for (need, _) in needs {
            dependents[*need].push(index);
        }
    }
    let mut ready: BinaryHeap<_> =
        (0..elements.len()).filter(|index| waiting[*index] == 0).map(Reverse).collect();
    let mut done = vec![false; elements.len()];
    let mut sorted = Vec::with_capacity(elements.len());
    let mut cycles = 0;
    let mut first_left = 0;
    loop {
        while let Some(Reverse(index)) = ready.pop() {
            if std::mem::replace(&mut done[index], true) {
                continue;
            }
            sorted.push(index);
            for dependent in &dependents[index] {
                waiting[*dependent] = waiting[*dependent].saturating_sub(1);
                if waiting[*dependent] == 0 {
                    ready.push(Reverse(*dependent));
                }
            }
        }
        while done.get(first_left) == Some(&true) {
            first_left += 1;
        }
        if first_left == elements.len() || cycles == MAX_REPORTED {
            return sorted;
        }
        cycles += 1;
        let cycle = find_cycle(first_left, needs, &done);
        errors.push(cyclic(elements, needs, &cycle));
        // As if the cycle were cut here, so that others are found, too.
        ready.extend(cycle.first().copied().map(Reverse));
    }
}

/// A cycle that can be reached from `start`, each followed by one that it needs.
fn find_cycle(start: usize, needs: &[Vec<Need>], done: &[bool]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut place = HashMap::new();
    let mut at = start;
    while !place.contains_key(&at) {
        place.insert(at, path.len());
        path.push(at);
        // Who is left has a need that is left.
        let Some((next, _)) = needs[at].iter().find(|(need, _)| !done[*need]) else { break };
        at = *next;
    }
    path.split_off(place.get(&at).copied().unwrap_or_default())
}

fn cyclic(elements: &[Element], needs: &[Vec<Need>], cycle: &[usize]) -> Diagnostic {
    let mut span = None;
    let mut parts = Vec::with_capacity(cycle.len());
    for (place, index) in cycle.iter().enumerate() {
        let next = cycle[(place + 1) % cycle.len()];
        let at = needs[*index].iter().find(|(need, _)| *need == next).and_then(|(_, at)| at.clone());
        let why = if at.is_some() { "" } else { " (the one above it)" };
        parts.push(format!("{} needs {}{why}", shown(&elements[*index]), shown(&elements[next])));
        span = span.or(at);
    }
    // A need that nobody wrote goes upwards only, so one of the others is there.
    let span = span.unwrap_or_else(|| elements[cycle.first().copied().unwrap_or_default()].at.clone());
    let message = format!("these steps wait for each other: {}", parts.join(", "));
    Diagnostic::new(span, message)
        .help("take one of these needs out; a step without `needs` needs the one above it, with `[]` none")
}

fn shown(element: &Element) -> String {
    match (&element.name, &element.body) {
        (Some(name), _) => format!("`{}`", printable(&name.value)),
        (None, Body::File(used)) => format!("the include of {}", printable(&used.path.value)),
        (None, Body::Step { .. }) => "a step".to_owned(),
    }
}
