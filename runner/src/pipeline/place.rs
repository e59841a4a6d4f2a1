//! From files in order to the pipeline's steps: each use of a file in its place.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use super::{
    Condition, Diagnostic, Scope, Span, Spanned, Step,
    diagnostic::printable,
    draft::{Body, Element, FileDraft, Use},
    matrix::Cell,
    order::no_such_step,
};

/// What the files come to.
pub(super) struct Placed {
    pub scopes: Vec<Scope>,
    pub steps: Vec<Step>,
}

/// Puts all steps in their places.
pub(super) fn place(drafts: &[FileDraft], root: usize, errors: &mut Vec<Diagnostic>) -> Placed {
    let draft = &drafts[root];
    let scope = Scope {
        source: draft.source,
        parent: None,
        params: draft.params.clone(),
        given: BTreeMap::new(),
        matrix: BTreeMap::new(),
        env: draft.env.clone(),
    };
    let steps = Vec::with_capacity(draft.steps);
    let mut placer = Placer { drafts, scopes: vec![scope], steps, reads: Vec::new(), errors };
    placer.file(root, &Outer::default());
    placer.check_reads();
    Placed { scopes: placer.scopes, steps: placer.steps }
}

/// What a file's steps have from who uses it.
#[derive(Clone, Default)]
struct Outer {
    scope: usize,
    /// Before each name.
    prefix: String,
    /// What those need that need nothing of the file itself.
    needs: Vec<usize>,
    /// The `if`s of the steps that use the file.
    conditions: Vec<Condition>,
    /// The steps that the file's own conditions are about, where a user has an `if`.
    within: Option<Range<usize>>,
}

/// The steps of a name.
#[derive(Clone)]
struct Group {
    steps: Range<usize>,
    /// Those of them that no other of them needs: when they are decided, all are.
    last: Vec<usize>,
}

/// A file whose steps are being placed.
struct Local<'f> {
    draft: &'f FileDraft,
    outer: &'f Outer,
    /// The groups of the elements that have their place.
    elements: Vec<Option<Group>>,
    /// By their names within the file.
    names: HashMap<String, Group>,
}

/// An expression that reads a step.
struct Read {
    reader: usize,
    step: usize,
    at: Span,
    name: String,
}

struct Placer<'f, 'e> {
    drafts: &'f [FileDraft],
    scopes: Vec<Scope>,
    steps: Vec<Step>,
    reads: Vec<Read>,
    errors: &'e mut Vec<Diagnostic>,
}

impl Placer<'_, '_> {
    /// Places a file's steps; gives them, and their names within the file.
    fn file(&mut self, file: usize, outer: &Outer) -> (Group, HashMap<String, Group>) {
        let draft = &self.drafts[file];
        let start = self.steps.len();
        let elements = vec![None; draft.elements.len()];
        let names = HashMap::with_capacity(draft.order.names.len());
        let mut local = Local { draft, outer, elements, names };
        for index in &draft.order.elements {
            self.element(*index, &mut local);
        }
        (self.group(start), local.names)
    }

    /// The steps from `start` on.
    fn group(&self, start: usize) -> Group {
        let steps = start..self.steps.len();
        if steps.len() == 1 {
            return Group { last: vec![start], steps };
        }
        let needs = self.steps[steps.clone()].iter().flat_map(|step| &step.needs);
        let needed: HashSet<_> = needs.copied().collect();
        Group { last: steps.clone().filter(|step| !needed.contains(step)).collect(), steps }
    }

    fn element(&mut self, index: usize, local: &mut Local<'_>) {
        let element = &local.draft.elements[index];
        let needs = needs(index, element, local);
        let start = self.steps.len();
        for cell in &element.cells {
            let group = match &element.body {
                Body::Step { step, reads } => self.step(step, reads, element, cell, &needs, local),
                Body::File(used) => self.used(used, element, cell, &needs, local),
            };
            if element.name.is_some() && !cell.suffix.is_empty() {
                local.names.insert(element.cell_name(cell), group);
            }
        }
        let group = self.group(start);
        if let Some(name) = &element.name {
            local.names.insert(name.value.clone(), group.clone());
        }
        local.elements[index] = Some(group);
    }

    fn step(
        &mut self,
        step: &Step,
        reads: &[Spanned<String>],
        element: &Element,
        cell: &Cell,
        needs: &[usize],
        local: &Local<'_>,
    ) -> Group {
        let outer = local.outer;
        let index = self.steps.len();
        let mut conditions = outer.conditions.clone();
        if element.condition.is_some() || outer.within.is_some() {
            conditions.push(self.condition(element, cell, outer.within.clone(), index, local));
        }
        let mut step = step.clone();
        step.name.value = format!("{}{}", outer.prefix, element.cell_name(cell));
        step.scope = outer.scope;
        step.needs = needs.to_vec();
        step.conditions = conditions;
        step.matrix.clone_from(&cell.values);
        step.reads = self.reads(reads, index, local);
        self.steps.push(step);
        Group { steps: index..index + 1, last: vec![index] }
    }

    fn used(
        &mut self,
        used: &Use,
        element: &Element,
        cell: &Cell,
        needs: &[usize],
        local: &mut Local<'_>,
    ) -> Group {
        let start = self.steps.len();
        // Who was not read was reported, and nothing is placed then.
        let Some(file) = used.file else { return self.group(start) };
        let draft = &self.drafts[file];
        let name = element.name.as_ref().map(|_| element.cell_name(cell));
        let prefix = name.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
        let mut outer = local.outer.clone();
        outer.prefix.push_str(&prefix);
        outer.needs = needs.to_vec();
        if element.condition.is_some() {
            // It is about what the use needs, not about the steps in it.
            let before = outer.within.as_ref().map_or(0, |within| within.start)..start;
            outer.conditions.push(self.condition(element, cell, Some(before), start, local));
            outer.within = Some(start..start + draft.steps);
        }
        outer.scope = self.scopes.len();
        self.scopes.push(Scope {
            source: draft.source,
            parent: Some(local.outer.scope),
            params: draft.params.clone(),
            given: used.given.clone(),
            matrix: cell.values.clone(),
            env: [&draft.env[..], &used.env[..]].concat(),
        });
        let (group, names) = self.file(file, &outer);
        local.names.extend(names.into_iter().map(|(inner, group)| (prefix.clone() + &inner, group)));
        group
    }

    /// An element's own condition.
    fn condition(
        &mut self,
        element: &Element,
        cell: &Cell,
        within: Option<Range<usize>>,
        reader: usize,
        local: &Local<'_>,
    ) -> Condition {
        let condition = element.condition.as_ref();
        let reads = condition.map(|condition| self.reads(&condition.reads, reader, local));
        Condition {
            expression: condition.map(|condition| condition.expression.clone()),
            within,
            scope: local.outer.scope,
            matrix: cell.values.clone(),
            reads: reads.unwrap_or_default(),
        }
    }

    /// Where the steps are that expressions read; whether `reader` needs them is looked at in the end.
    fn reads(
        &mut self,
        reads: &[Spanned<String>],
        reader: usize,
        local: &Local<'_>,
    ) -> BTreeMap<String, Vec<usize>> {
        let mut found = BTreeMap::new();
        for read in reads {
            match local.names.get(&read.value) {
                Some(group) => {
                    found.insert(read.value.clone(), group.steps.clone().collect());
                    self.reads.extend(group.last.iter().map(|step| Read {
                        reader,
                        step: *step,
                        at: read.span.clone(),
                        name: read.value.clone(),
                    }));
                }
                None if local.draft.order.names.contains_key(&read.value) => {
                    self.errors.push(not_needed(&read.value, &read.span));
                }
                None => self.errors.push(no_such_step(&read.value, &read.span, &local.draft.order.names)),
            }
        }
        found
    }

    /// An expression can only read steps that are decided before it. Looks at 64 steps at a time, so that a pass over
    /// all needs serves them all.
    fn check_reads(&mut self) {
        let mut reads = std::mem::take(&mut self.reads);
        reads.sort_by_key(|read| read.step);
        let mut rest = &reads[..];
        while let Some(first) = rest.first() {
            let mut bits: HashMap<usize, u64> = HashMap::new();
            let count = rest
                .iter()
                .take_while(|read| {
                    let next = bits.len();
                    bits.contains_key(&read.step) || next < 64 && bits.insert(read.step, 1 << next).is_none()
                })
                .count();
            let base = first.step;
            let mut reached: Vec<u64> = Vec::with_capacity(self.steps.len() - base);
            for step in &self.steps[base..] {
                let needs = step.needs.iter().filter(|need| **need >= base);
                let bits =
                    needs.map(|need| reached[need - base] | bits.get(need).copied().unwrap_or_default());
                reached.push(bits.fold(0, |all, more| all | more));
            }
            let (now, later) = rest.split_at(count);
            for read in now {
                let reaches = read.reader >= base && reached[read.reader - base] & bits[&read.step] != 0;
                if !reaches {
                    self.errors.push(not_needed(&read.name, &read.at));
                }
            }
            rest = later;
        }
    }
}

/// The steps that an element waits for, rising.
fn needs(index: usize, element: &Element, local: &Local<'_>) -> Vec<usize> {
    let above = || index.checked_sub(1).and_then(|above| local.elements[above].as_ref());
    let mut needs: Vec<usize> = match &element.needs {
        None => above().map(|group| group.last.clone()).unwrap_or_default(),
        Some(names) => {
            let groups = names.iter().filter_map(|name| local.names.get(&name.value));
            groups.flat_map(|group| group.last.iter().copied()).collect()
        }
    };
    needs.sort_unstable();
    needs.dedup();
    if needs.is_empty() { local.outer.needs.clone() } else { needs }
}

fn not_needed(name: &str, at: &Span) -> Diagnostic {
    let name = printable(name);
    let message = format!("this reads the step `{name}`, which may not be decided yet");
    Diagnostic::new(at.clone(), message).help(format!("add \"{name}\" to the `needs` of this step"))
}
