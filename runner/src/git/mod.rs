//! The state of the repository, read with `gix`: no git binary is needed in the image.
//!
//! Nothing that a repository's configuration names is ever executed: hooks, the file system monitor
//! and external diff programs are not run by `gix`, and filter drivers (`filter.NAME.clean`) are taken
//! out of the configuration before the work tree is compared. That is why a workspace that belongs to
//! another user, the rule in a container, needs no `safe.directory`: git's check protects from
//! running what the owner configured, and we run none of it.

mod changes;
mod digest;
mod lfs;
mod remote;

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;

use crate::facts::{Fact, Git};

pub use remote::strip_credentials;

/// Reads the repository that `workspace` is in. Blocks for as long as the disk does.
pub fn collect(workspace: &Path) -> Fact<Git> {
    collect_with_email(workspace).0
}

/// The same, with `user.email` of git's configuration, which is read when the repository is opened.
///
/// Without a repository the mail address is that of the user's own configuration.
pub fn collect_with_email(workspace: &Path) -> (Fact<Git>, Option<String>) {
    let repo = match open(workspace) {
        Ok(repo) => repo,
        Err(reason) => {
            return (Fact::Absent(reason), email_of(gix::config::File::from_globals().ok().as_ref()));
        }
    };
    let email = email_of(Some(repo.config_snapshot().plumbing()));
    (read(&repo, workspace), email)
}

/// What a component is called unless the pipeline says so: the last part of the remote's URL
/// without `.git`, else the name of the work tree's directory.
pub fn repository_name(git: &Git) -> Option<String> {
    let from_url = git.remote.known().and_then(|url| remote::last_segment(url));
    from_url.or_else(|| Some(Path::new(&git.root).file_name()?.to_string_lossy().into_owned()))
}

fn email_of(config: Option<&gix::config::File>) -> Option<String> {
    let email = config?.string("user.email")?;
    let email = email.to_str_lossy().trim().to_owned();
    (!email.is_empty()).then_some(email)
}

/// Opens without asking who owns the files, for the reason that the module's documentation gives.
fn open(workspace: &Path) -> Result<gix::Repository, String> {
    let discover = gix::discover::upwards::Options {
        trust: gix::discover::upwards::TrustPolicy::Assume(gix::sec::Trust::Full),
        ..Default::default()
    };
    let trust = gix::sec::trust::Mapping { full: options(), reduced: options() };
    let place = workspace.display();
    match gix::ThreadSafeRepository::discover_opts(workspace, discover, trust) {
        Ok(repo) => without_filter_drivers(repo.to_thread_local()).map_err(|error| {
            format!("The configuration of the git repository at {place} could not be read: {error}.")
        }),
        Err(error) if error.is_not_found() => Err(format!("There is no git repository at or above {place}.")),
        Err(error) => {
            Err(format!("The git repository at or above {place} could not be opened: {}.", chain(&error)))
        }
    }
}

/// The repository's whole configuration counts, whoever owns it.
fn options() -> gix::open::Options {
    let mut permissions = gix::open::Permissions::all();
    // A build is of its workspace. GIT_DIR and GIT_INDEX_FILE, which git sets for a hook that
    // starts us, may name another repository.
    permissions.env.git_prefix = gix::sec::Permission::Deny;
    gix::open::Options::default()
        .permissions(permissions)
        .filter_config_section(|_| true)
        .config_overrides(["gitoxide.objects.allocLimitIfReducedTrust=0"])
}

fn without_filter_drivers(mut repo: gix::Repository) -> gix::Result<gix::Repository> {
    let is_filter =
        |section: &gix::config::file::SectionRef<'_>| section.header().name().eq_ignore_ascii_case(b"filter");
    let drivers: Vec<_> = repo
        .config_snapshot()
        .plumbing()
        .sections_and_ids()
        .filter_map(|(section, id)| is_filter(&section).then_some(id))
        .collect();
    if !drivers.is_empty() {
        let mut config = repo.config_snapshot_mut();
        for id in drivers {
            config.remove_section_by_id(id);
        }
        config.commit()?;
    }
    Ok(repo)
}

fn read(repo: &gix::Repository, workspace: &Path) -> Fact<Git> {
    let Some(root) = repo.workdir() else {
        return Fact::Absent(format!(
            "{} is in a bare git repository, which has no work tree: run the build in a clone of it.",
            workspace.display()
        ));
    };
    let head = match Head::read(repo) {
        Ok(head) => head,
        Err(error) => {
            return Fact::Absent(format!("HEAD of the git repository could not be read: {}.", chain(&error)));
        }
    };
    let upstream = remote::upstream(repo, &head);
    let (ahead, behind) = remote::ahead_behind(repo, &head, &upstream);
    let compared = changes::collect(repo, head.tree.as_ref().ok().copied());
    let (dirty, diff_sha256) = match compared.map(|changes| lfs::without_smudged(repo, root, changes)) {
        Ok(changes) if changes.is_empty() => {
            (Fact::Known(false), Fact::absent("Nothing differs from the commit."))
        }
        Ok(changes) => (Fact::Known(true), digest::digest(repo, root, &changes)),
        Err(error) => {
            let reason = format!("The work tree could not be compared with the commit: {}.", chain(&error));
            (Fact::Absent(reason.clone()), Fact::Absent(reason))
        }
    };
    Fact::Known(Git {
        commit: known(head.commit.clone().map(|id| id.to_string())),
        tree: known(head.tree.clone().map(|id| id.to_string())),
        branch: known(head.branch.clone().map(|name| name.shorten().to_string())),
        remote: remote::url(repo, &head),
        upstream: known(upstream.map(|name| name.shorten().to_string())),
        ahead,
        behind,
        dirty,
        diff_sha256,
        root: absolute(root).to_string_lossy().into_owned(),
    })
}

/// Where HEAD points; each missing part with the reason.
struct Head {
    commit: Result<gix::ObjectId, String>,
    tree: Result<gix::ObjectId, String>,
    branch: Result<gix::refs::FullName, String>,
}

impl Head {
    fn read(repo: &gix::Repository) -> gix::Result<Self> {
        const UNBORN: &str = "There is no commit yet.";
        const DETACHED: &str = "HEAD is detached: no branch is checked out.";
        let mut head = repo.head()?;
        let branch = head.referent_name().map(ToOwned::to_owned).ok_or_else(|| DETACHED.to_owned());
        if head.is_unborn() {
            return Ok(Head { commit: Err(UNBORN.to_owned()), tree: Err(UNBORN.to_owned()), branch });
        }
        let commit = head.peel_to_commit()?;
        let tree = commit
            .tree_id()
            .map(gix::Id::detach)
            .map_err(|error| format!("The commit's tree could not be read: {}.", chain(&error)));
        Ok(Head { commit: Ok(commit.id), tree, branch })
    }
}

fn known<T>(value: Result<T, String>) -> Fact<T> {
    value.map_or_else(Fact::Absent, Fact::Known)
}

/// `gix` gives a work tree relative to the current directory where the workspace was.
fn absolute(root: &Path) -> PathBuf {
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

/// An error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.trim_end_matches('.').replace('\n', " ")
}

#[cfg(test)]
mod tests;
