//! What differs between HEAD's commit and the work tree with its index: the paths that `git status` shows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use gix::bstr::{BStr, BString};
use gix::dir::entry::{Kind as DiskKind, Status as DiskStatus};
use gix::index::entry::{Flags, Mode};
use gix::status::plumbing::index_as_worktree::traits::{FastEq, SubmoduleStatus};
use gix::status::plumbing::index_as_worktree::{Change as WorkChange, EntryStatus};
use gix::status::plumbing::index_as_worktree_with_renames::{Entry, VisitEntry};

/// By path, so that the order never depends on the file system's.
pub(super) type Changes = BTreeMap<BString, Change>;

/// How one path differs.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The index differs from the commit: what the index holds.
    pub staged: Option<Staged>,
    /// The work tree differs from the index.
    pub work: Option<Work>,
}

/// What the index holds at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staged {
    Deleted,
    Entry {
        mode: Mode,
        id: gix::ObjectId,
        in_work_tree: bool,
    },
    /// More than one version: a merge that is not resolved.
    Conflict,
}

/// What is in the work tree at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Deleted,
    /// To be looked at; the blob that the index has, where it has one.
    Present {
        tracked: Option<gix::ObjectId>,
        executable_bit_changed: bool,
    },
    /// A submodule with another commit than the index says.
    Submodule(gix::ObjectId),
    /// An untracked repository: like git, we don't look into it.
    Repository,
}

/// `tree` is HEAD's; `None` before the first commit.
pub(super) fn collect(repo: &gix::Repository, tree: Option<gix::ObjectId>) -> gix::Result<Changes> {
    let mut changes = Changes::new();
    let index = repo.index_or_empty()?;
    let tree = tree.unwrap_or_else(|| repo.empty_tree().id);
    // git notes in the index which tree the whole of it is, and takes the note out with every change
    // of it. Comparing with the tree itself means reading all of it: milliseconds per thousand directories.
    let unchanged = index.tree().is_some_and(|cached| cached.num_entries.is_some() && cached.id == tree);
    if !unchanged {
        staged(repo, tree, &index, &mut changes)?;
    }
    let mut work = Collect(&mut changes);
    let options = gix::status::index_worktree::Options {
        sorting: None,
        dirwalk_options: Some(repo.dirwalk_options()?.emit_untracked(gix::dir::walk::EmissionMode::Matching)),
        rewrites: None,
        thread_limit: None,
    };
    repo.index_worktree_status(
        &index,
        None::<&BStr>,
        &mut work,
        FastEq,
        Submodules { root: repo.workdir().map(ToOwned::to_owned) },
        &mut gix::progress::Discard,
        &AtomicBool::new(false),
        options,
    )?;
    Ok(changes)
}

fn staged(
    repo: &gix::Repository,
    tree: gix::ObjectId,
    index: &gix::index::File,
    changes: &mut Changes,
) -> gix::Result<()> {
    use gix::diff::index::ChangeRef;
    use gix::status::tree_index::TrackRenames;

    // Without a specification of our own it would be the current directory's part only.
    let source = gix::worktree::stack::state::attributes::Source::IdMapping;
    let mut everything =
        repo.pathspec(false, None::<&str>, false, &gix::index::State::new(repo.object_hash()), source)?;
    repo.tree_index_status(
        &tree,
        index,
        Some(&mut everything),
        TrackRenames::Disabled,
        |change, _, index| {
            let (path, position, mode, id) = change.fields();
            let staged = match change {
                ChangeRef::Deletion { .. } => Staged::Deleted,
                ChangeRef::Addition { .. } | ChangeRef::Modification { .. } | ChangeRef::Rewrite { .. } => {
                    let skipped = index.entries()[position].flags.contains(Flags::SKIP_WORKTREE);
                    Staged::Entry { mode, id: id.to_owned(), in_work_tree: !skipped }
                }
            };
            changes.entry(path.to_owned()).or_default().staged = Some(staged);
            Ok(std::ops::ControlFlow::Continue(()))
        },
    )?;
    Ok(())
}

/// Takes the differences between index and work tree as they are found.
struct Collect<'a>(&'a mut Changes);

impl<'index> VisitEntry<'index> for Collect<'_> {
    type ContentChange = ();
    type SubmoduleStatus = gix::ObjectId;

    fn visit_entry(&mut self, entry: Entry<'index, (), gix::ObjectId>) {
        match entry {
            Entry::Modification { entry, rela_path, status, .. } => {
                let present = |executable_bit_changed| Work::Present {
                    tracked: Some(entry.id),
                    executable_bit_changed,
                };
                let work = match status {
                    EntryStatus::NeedsUpdate(_) => return,
                    EntryStatus::Conflict { .. } => {
                        let change = self.0.entry(rela_path.to_owned()).or_default();
                        change.staged = Some(Staged::Conflict);
                        change.work = Some(Work::Present { tracked: None, executable_bit_changed: false });
                        return;
                    }
                    EntryStatus::IntentToAdd => {
                        Work::Present { tracked: None, executable_bit_changed: false }
                    }
                    EntryStatus::Change(WorkChange::Removed) => Work::Deleted,
                    EntryStatus::Change(WorkChange::Type { .. }) => {
                        Work::Present { tracked: None, executable_bit_changed: true }
                    }
                    EntryStatus::Change(WorkChange::Modification { executable_bit_changed, .. }) => {
                        present(executable_bit_changed)
                    }
                    EntryStatus::Change(WorkChange::SubmoduleModification(commit)) => Work::Submodule(commit),
                };
                self.0.entry(rela_path.to_owned()).or_default().work = Some(work);
            }
            Entry::DirectoryContents { entry, .. } => {
                if entry.status != DiskStatus::Untracked {
                    return;
                }
                let work = match entry.disk_kind {
                    // git cannot add a pipe or a socket, and does not show them.
                    Some(DiskKind::Untrackable) => return,
                    Some(DiskKind::Repository | DiskKind::Directory) => Work::Repository,
                    Some(DiskKind::File | DiskKind::Symlink) | None => {
                        Work::Present { tracked: None, executable_bit_changed: false }
                    }
                };
                self.0.entry(entry.rela_path).or_default().work = Some(work);
            }
            // Renames are not looked for: a digest of them would depend on how alike is alike.
            Entry::Rewrite { .. } => {}
        }
    }
}

/// Compares a submodule's HEAD with the commit that the index names. Its work tree is not looked at,
/// and neither is its `ignore` setting: what is built with is the commit.
#[derive(Clone)]
struct Submodules {
    root: Option<PathBuf>,
}

impl SubmoduleStatus for Submodules {
    type Output = gix::ObjectId;

    fn status(&mut self, entry: &gix::index::Entry, path: &BStr) -> gix::Result<Option<gix::ObjectId>> {
        let Some(path) =
            self.root.as_ref().map(|root| root.join(gix::path::from_bstr(path).unwrap_or_default()))
        else {
            return Ok(None);
        };
        // One that was not initialised is an empty directory, and no difference.
        let Ok(repo) = gix::open_opts(path, super::options()) else { return Ok(None) };
        let Ok(head) = repo.head_id() else { return Ok(None) };
        Ok((head.detach() != entry.id).then(|| head.detach()))
    }
}
