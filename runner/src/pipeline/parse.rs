//! The pipeline file with all files that it uses: reading each once, and putting together what they say.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use super::{
    Diagnostic, Pipeline, PluginBlock, Require, Secret, Source, Span, Spanned, TemplateValue,
    diagnostic::{did_you_mean, printable},
    draft::{Body, FileDraft, Use},
    file::read_file,
    names::check_name,
    order, params, place,
    reader::{Reader, listed},
    syntax,
};

/// Files that use files, at most this many deep.
const MAX_DEPTH: usize = 20;

/// More would be a build that nobody can look at.
const MAX_STEPS: usize = 100_000;

/// What reads the files that a pipeline names: from a path relative to the workspace to its text, or to what is wrong
/// with it, as a sentence without its full stop.
pub type Load<'l> = dyn FnMut(&str) -> Result<String, String> + 'l;

/// All that is wrong with a pipeline.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// At least one thing, in the order of the files; [`super::render`] shows them.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that were read.
    pub sources: Vec<Source>,
}

/// Reads a pipeline file's text, and the files that it uses. The errors are all that could be found.
///
/// `path` is the file's, relative to the workspace; it gives the pipeline its name when the text does not.
pub fn parse(text: &str, path: &str, load: &mut Load<'_>) -> Result<Pipeline, Wrong> {
    let mut files = Files {
        load,
        sources: Vec::new(),
        end: 0,
        errors: Vec::new(),
        drafts: Vec::new(),
        by_path: HashMap::new(),
        chain: vec![path.to_owned()],
    };
    let root = files.read(path, text);
    let pipeline = root.and_then(|root| files.finish(root, path));
    let Files { sources, mut errors, .. } = files;
    // A file that is used twice has its faults once.
    errors.sort_by_key(|error| error.span.start);
    errors.dedup();
    match pipeline {
        Some(mut pipeline) if errors.is_empty() => {
            pipeline.sources = sources;
            Ok(pipeline)
        }
        _ => {
            debug_assert!(!errors.is_empty(), "a pipeline that cannot be used must say why");
            Err(Wrong { diagnostics: errors, sources })
        }
    }
}

/// The files while they are read.
struct Files<'l, 'f> {
    load: &'f mut Load<'l>,
    sources: Vec<Source>,
    /// Where the next source begins in the places of all files.
    end: usize,
    errors: Vec<Diagnostic>,
    drafts: Vec<FileDraft>,
    /// Where in `drafts` each file is; `None` for one that cannot be used, which has been reported.
    by_path: HashMap<String, Option<usize>>,
    /// The files that are being read, each used by the one before it.
    chain: Vec<String>,
}

impl Files<'_, '_> {
    /// Reads a file and those that it uses; gives its place in `drafts`.
    fn read(&mut self, path: &str, text: &str) -> Option<usize> {
        let start = self.end;
        let source = self.sources.len();
        self.end += text.len() + 1;
        self.sources.push(Source { path: path.to_owned(), text: text.to_owned() });
        // As many spaces as the byte order mark has bytes, so that all places stay right.
        let text: Cow<'_, str> = match text.strip_prefix('\u{feff}') {
            Some(rest) => format!("   {rest}").into(),
            None => text.into(),
        };
        let mut reader = Reader::new(&text, start);
        let draft = match syntax::parse(&text) {
            Ok(root) => read_file(&mut reader, &root, source > 0),
            Err(error) => {
                reader.report(error.moved(start));
                None
            }
        };
        self.errors.extend(reader.into_errors());
        let mut draft = draft?;
        draft.source = source;
        self.read_used(&mut draft);
        if self.count(&mut draft) {
            draft.order = order::order(&draft.elements, draft.broken, &self.drafts, &mut self.errors);
        }
        self.drafts.push(draft);
        Some(self.drafts.len() - 1)
    }

    /// Reads the files that `draft` uses.
    fn read_used(&mut self, draft: &mut FileDraft) {
        let mut depth = 0;
        for element in &mut draft.elements {
            let Body::File(used) = &mut element.body else { continue };
            used.file = self.used(&used.path.value, &used.path.span);
            match used.file {
                Some(file) => {
                    depth = depth.max(self.drafts[file].depth);
                    draft.broken |= self.drafts[file].broken;
                    self.check_given(used, file);
                }
                None => draft.broken = true,
            }
        }
        draft.depth = depth + 1;
    }

    fn used(&mut self, written: &str, at: &Span) -> Option<usize> {
        let user = self.chain.last().map(String::as_str).unwrap_or_default();
        let path = match resolve(user, written) {
            Ok(path) => path,
            Err((message, help)) => {
                self.errors.push(Diagnostic::new(at.clone(), message).help(help));
                return None;
            }
        };
        if let Some(first) = self.chain.iter().position(|earlier| *earlier == path) {
            let files = self.chain[first..].iter().chain([&path]).map(|file| printable(file));
            let message = format!("these files use each other: {}", files.collect::<Vec<_>>().join(" -> "));
            let help = "take one of the uses out; steps that both need can stand in a third file";
            self.errors.push(Diagnostic::new(at.clone(), message).help(help));
            return None;
        }
        let known = self.by_path.get(&path).copied();
        let file = known.unwrap_or_else(|| self.read_first(path, written, at))?;
        if self.chain.len() + self.drafts[file].depth > MAX_DEPTH {
            self.too_deep(at);
            return None;
        }
        Some(file)
    }

    /// Reads a file that was not read before.
    fn read_first(&mut self, path: String, written: &str, at: &Span) -> Option<usize> {
        if self.chain.len() >= MAX_DEPTH {
            self.too_deep(at);
            return None;
        }
        let text = (self.load)(&path)
            .map_err(|message| self.errors.push(unreadable(at, message, &path, written)))
            .ok()?;
        self.chain.push(path.clone());
        let file = self.read(&path, &text);
        self.chain.pop();
        self.by_path.insert(path, file);
        file
    }

    fn too_deep(&mut self, at: &Span) {
        let message = format!("files use files more than {MAX_DEPTH} deep here");
        let help = "write some of the steps into the files that use them";
        self.errors.push(Diagnostic::new(at.clone(), message).help(help));
    }

    /// What a file is given must be what it takes.
    fn check_given(&mut self, used: &Use, file: usize) {
        let declared = &self.drafts[file].params;
        let path = printable(&used.path.value);
        let names = || declared.iter().map(|param| param.name.value.as_str());
        for (name, at) in &used.given_at {
            if names().all(|known| known != name) {
                let message = format!("{path} has no param `{}`", printable(name));
                let diagnostic = Diagnostic::new(at.clone(), message);
                self.errors.push(match did_you_mean(name, names()) {
                    Some(meant) => diagnostic.label(format!("did you mean `{meant}`?")),
                    None if declared.is_empty() => {
                        diagnostic.help("remove it; the file declares no `params`")
                    }
                    None => diagnostic.help(format!("its params are {}", listed(names(), "and"))),
                });
            }
        }
        for param in declared {
            let name = &param.name.value;
            if param.required && !used.given_at.contains_key(name) {
                let message = format!("{path} must be given its param `{}`", printable(name));
                let help = format!("add it: \"with\": {{ \"{}\": ... }}", printable(name));
                self.errors.push(Diagnostic::new(used.path.span.clone(), message).help(help));
            }
            let Some(given) = used.given.get(name) else { continue };
            let TemplateValue::Plain(value) = &given.value else { continue };
            let Err(takes) = params::fits(param, value) else { continue };
            let subject = format!("the param `{}` of {path}", printable(name));
            let (message, help) = if param.kind.takes(value) {
                (format!("{subject} cannot be {}", params::said(value)), takes)
            } else {
                let message = format!(
                    "{subject} must be {}, not {}",
                    param.kind.in_words(),
                    params::said_exactly(value)
                );
                (message, param.kind.advice(value))
            };
            self.errors.push(Diagnostic::new(given.span.clone(), message).help(help));
        }
    }

    /// Counts a file's steps; says whether there are few enough to go on.
    fn count(&mut self, draft: &mut FileDraft) -> bool {
        for element in &draft.elements {
            let each = match &element.body {
                Body::Step { .. } => 1,
                Body::File(used) => used.file.map_or(0, |file| self.drafts[file].steps),
            };
            draft.steps = draft.steps.saturating_add(element.cells.len().saturating_mul(each));
            if draft.steps > MAX_STEPS {
                let message = format!("with this there are more than {MAX_STEPS} steps");
                let help = "make several pipelines of it, or a script";
                self.errors.push(Diagnostic::new(element.at.clone(), message).help(help));
                draft.broken = true;
                // Said once, not again by each file that uses this one.
                draft.steps = 0;
                return false;
            }
        }
        true
    }

    /// Puts what the files say together.
    fn finish(&mut self, root: usize, path: &str) -> Option<Pipeline> {
        let secrets = self.secrets();
        let plugins = self.plugins();
        let require = self.require(root);
        self.check_secret_names(&secrets);
        if !self.errors.is_empty() {
            return None;
        }
        let placed = place::place(&self.drafts, root, &mut self.errors);
        let root = &mut self.drafts[root];
        Some(Pipeline {
            name: root.name.take().unwrap_or_else(|| default_name(path)),
            component: root.component.take(),
            secrets,
            timeout: root.timeout,
            require,
            lock: root.lock.take(),
            plugins,
            history: root.history.take(),
            observers: std::mem::take(&mut root.observers),
            sources: Vec::new(),
            scopes: placed.scopes,
            steps: placed.steps,
        })
    }

    fn secrets(&mut self) -> Vec<Secret> {
        let mut secrets: Vec<Secret> = Vec::new();
        let mut first: HashMap<String, usize> = HashMap::new();
        for secret in in_order(&self.drafts).flat_map(|draft| &draft.secrets) {
            match first.get(&secret.name.value) {
                Some(earlier) if secrets[*earlier].from != secret.from => {
                    let name = printable(&secret.name.value);
                    let message = format!("the secret `{name}` comes from another place in another file");
                    let diagnostic = Diagnostic::new(secret.name.span.clone(), message)
                        .related(secrets[*earlier].name.span.clone(), "declared otherwise here")
                        .help("give one of them another name, or let both come from the same place");
                    self.errors.push(diagnostic);
                }
                Some(_) => {}
                None => {
                    first.insert(secret.name.value.clone(), secrets.len());
                    secrets.push(secret.clone());
                }
            }
        }
        secrets
    }

    fn check_secret_names(&mut self, secrets: &[Secret]) {
        let names = || secrets.iter().map(|secret| secret.name.value.as_str());
        let known: std::collections::HashSet<_> = names().collect();
        let elements = self.drafts.iter().flat_map(|draft| &draft.elements);
        let steps = elements.filter_map(|element| match &element.body {
            Body::Step { step, .. } => Some(step),
            Body::File(_) => None,
        });
        let blocks = self.drafts.iter().flat_map(|draft| draft.plugins.values());
        let granted = blocks.flat_map(|block| &block.allow.secrets).filter(|name| !name.value.ends_with('*'));
        let named = steps.flat_map(|step| &step.secrets).chain(granted);
        for name in named.filter(|name| !known.contains(name.value.as_str())) {
            let shown = printable(&name.value);
            let diagnostic = Diagnostic::new(name.span.clone(), format!("there is no secret `{shown}`"));
            self.errors.push(match did_you_mean(&name.value, names()) {
                Some(meant) => diagnostic.label(format!("did you mean `{meant}`?")),
                None => diagnostic.help(format!(
                    "declare it beside `steps`: \"secrets\": {{ \"{shown}\": {{ \"env\": \"{shown}\" }} }}"
                )),
            });
        }
    }

    fn plugins(&mut self) -> BTreeMap<String, PluginBlock> {
        let mut plugins: BTreeMap<String, PluginBlock> = BTreeMap::new();
        for (name, block) in in_order(&self.drafts).flat_map(|draft| &draft.plugins) {
            let Some(earlier) = plugins.get_mut(name) else {
                plugins.insert(name.clone(), block.clone());
                continue;
            };
            let mut errors: Vec<_> =
                same(name, "`path`", &mut earlier.path, block.path.as_ref()).into_iter().collect();
            errors.extend(same(name, "`sha256`", &mut earlier.sha256, block.sha256.as_ref()));
            let (limits, others) = (&mut earlier.limits, &block.limits);
            errors.extend(same(name, "limit of `memory`", &mut limits.memory, others.memory.as_ref()));
            errors.extend(same(
                name,
                "`call_timeout`",
                &mut limits.call_timeout,
                others.call_timeout.as_ref(),
            ));
            errors.extend(same(
                name,
                "limit of `connections`",
                &mut limits.connections,
                others.connections.as_ref(),
            ));
            errors.extend(same(
                name,
                "limit of `http_body`",
                &mut limits.http_body,
                others.http_body.as_ref(),
            ));
            self.errors.extend(errors);
            earlier.allow.http.extend(block.allow.http.iter().cloned());
            earlier.allow.tcp.extend(block.allow.tcp.iter().cloned());
            earlier.allow.env.extend(block.allow.env.iter().cloned());
            earlier.allow.exec.extend(block.allow.exec.iter().cloned());
            earlier.allow.secrets.extend(block.allow.secrets.iter().cloned());
            earlier.allow.fs.extend(block.allow.fs.iter().cloned());
        }
        plugins
    }

    fn require(&mut self, root: usize) -> Require {
        let mut all = Require::default();
        for draft in in_order(&self.drafts) {
            all.docker |= draft.require.docker;
            all.history |= draft.require.history;
            for requirement in &draft.require.git {
                if all.git.iter().all(|known| known.value != requirement.value) {
                    all.git.push(requirement.clone());
                }
            }
            if let (Some(at), None) = (&draft.history_required, &self.drafts[root].history) {
                let message = "`history` is required, but the pipeline has no `history`";
                let help =
                    "add \"history\": { \"uses\": \"PLUGIN\" } to the file that is run, or remove this";
                self.errors.push(Diagnostic::new(at.clone(), message).help(help));
            }
        }
        all
    }
}

/// Takes over what another file says of a plugin, and objects when the files say two things.
fn same<T: Clone + PartialEq>(
    plugin: &str,
    what: &str,
    old: &mut Option<Spanned<T>>,
    new: Option<&Spanned<T>>,
) -> Option<Diagnostic> {
    match (&old, new) {
        (Some(before), Some(now)) if before.value != now.value => {
            let message = format!("the plugin `{}` has another {what} in another file", printable(plugin));
            let diagnostic = Diagnostic::new(now.span.clone(), message)
                .related(before.span.clone(), "here it is")
                .help("a build has one plugin of a name: keep one of them");
            return Some(diagnostic);
        }
        (None, Some(now)) => *old = Some(now.clone()),
        _ => {}
    }
    None
}

/// The drafts as their files were read: the one that is run first.
fn in_order(drafts: &[FileDraft]) -> impl Iterator<Item = &FileDraft> {
    let mut sorted: Vec<_> = drafts.iter().collect();
    sorted.sort_by_key(|draft| draft.source);
    sorted.into_iter()
}

fn unreadable(at: &Span, message: String, path: &str, written: &str) -> Diagnostic {
    let diagnostic = Diagnostic::new(at.clone(), message);
    if path == written {
        diagnostic.help("the path is relative to the file that it is written in")
    } else {
        diagnostic
            .help(format!("the path is relative to the file that it is written in: {}", printable(path)))
    }
}

/// The path that `written` means in the file `user`, both relative to the workspace.
fn resolve(user: &str, written: &str) -> Result<String, (String, String)> {
    let help = || "write a path relative to this file, to a file within the workspace".to_owned();
    if written.starts_with('/') {
        return Err(("an absolute path leaves the workspace".to_owned(), help()));
    }
    let directory = user.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(written.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none_or(|last| last == "..") {
                    return Err((format!("{} leaves the workspace", printable(written)), help()));
                }
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() || written.ends_with('/') {
        return Err((format!("`{}` is not a file", printable(written)), help()));
    }
    Ok(parts.join("/"))
}

/// The file's stem, unless it could not be a name.
fn default_name(file_name: &str) -> String {
    let stem = Path::new(file_name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if check_name(stem).is_ok() { stem.to_owned() } else { "pipeline".to_owned() }
}
