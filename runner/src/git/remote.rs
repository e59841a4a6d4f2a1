//! Where the branch comes from, and how far it is from there.

use std::collections::{BinaryHeap, HashMap};

use gix::bstr::{BStr, ByteSlice};

use super::{Head, chain};
use crate::facts::Fact;

/// More commits than this are not walked through: a build should not wait for a figure.
const MOST_COMMITS: usize = 10_000;

/// The URL of the branch's remote, else of `origin`, else of the only remote, as it stands in the
/// configuration: what `url.X.insteadOf` of one user makes of it would differ from machine to machine.
pub(super) fn url(repo: &gix::Repository, head: &Head) -> Fact<String> {
    let config = repo.config_snapshot();
    let url_of = |name: &BStr| config.plumbing().string_by("remote", Some(name), "url");
    let of_branch = head
        .branch
        .as_ref()
        .ok()
        .and_then(|branch| config.plumbing().string_by("branch", Some(branch.shorten()), "remote"));
    if let Some(remote) = of_branch {
        if let Some(url) = url_of(remote.as_bstr()) {
            return Fact::Known(strip_credentials(&url.to_str_lossy()));
        }
        // `git branch --set-upstream` is given a name, but a URL may stand here too.
        if remote.contains(&b'/') || remote.contains(&b':') {
            return Fact::Known(strip_credentials(&remote.to_str_lossy()));
        }
    }
    if let Some(url) = url_of("origin".into()) {
        return Fact::Known(strip_credentials(&url.to_str_lossy()));
    }
    let names = repo.remote_names();
    let mut names = names.iter();
    match (names.next(), names.next()) {
        (None, _) => Fact::absent("The repository has no remote."),
        (Some(only), None) => match url_of(only.as_bstr()) {
            Some(url) => Fact::Known(strip_credentials(&url.to_str_lossy())),
            None => Fact::Absent(format!("The remote {only} has no URL.")),
        },
        (Some(_), Some(_)) => {
            Fact::absent("The branch names no remote, and of the repository's remotes none is called origin.")
        }
    }
}

/// A URL of git's without what lets people in: a password, and over HTTP also the user, which may be
/// a token, and the query. The user of an SSH address stays, as `git@host:path` is of no use without it.
pub fn strip_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let over_ssh = scheme.contains("ssh");
    let port = host.split_once(':').map(|(_, port)| port);
    let no_port = port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()));
    if user.is_none() && no_port && !host.starts_with('[') {
        // `https://user:pa/ss@host/path`: what follows the colon is no port, so it is a password
        // with a slash in it, and the host comes behind the last `@`.
        if let Some((_, behind)) = rest.rsplit_once('@') {
            return strip_credentials(&format!("{scheme}://{behind}"));
        }
    }
    let user = user.filter(|_| over_ssh).map(|user| user.split(':').next().unwrap_or_default());
    let user = user.filter(|user| !user.is_empty()).map(|user| format!("{user}@")).unwrap_or_default();
    let path = if scheme.contains("http") { path.split(['?', '#']).next().unwrap_or_default() } else { path };
    format!("{scheme}://{user}{host}{path}")
}

/// `dcd` of `https://github.com/progsoftware/dcd.git`.
pub(super) fn last_segment(url: &str) -> Option<String> {
    let path = url.trim_end_matches('/');
    let path = path.strip_suffix("/.git").unwrap_or(path);
    let last = path.rsplit(['/', ':']).next()?;
    let name = last.strip_suffix(".git").unwrap_or(last);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The reference that the branch is compared with.
pub(super) fn upstream(repo: &gix::Repository, head: &Head) -> Result<gix::refs::FullName, String> {
    let branch = head.branch.as_ref().map_err(Clone::clone)?;
    let none = || format!("The branch {} has no upstream: `git branch -u` sets one.", branch.shorten());
    let config = repo.config_snapshot();
    let of_branch = |key| config.plumbing().string_by("branch", Some(branch.shorten()), key);
    let (Some(remote), Some(merge)) = (of_branch("remote"), of_branch("merge")) else {
        return Err(none());
    };
    if remote == "." {
        return gix::refs::FullName::try_from(merge)
            .map_err(|error| format!("The name of the branch's upstream is not valid: {}.", chain(&error)));
    }
    match repo.branch_remote_tracking_ref_name(branch.as_ref(), gix::remote::Direction::Fetch) {
        Some(Ok(name)) => Ok(name),
        Some(Err(error)) => Err(format!("The branch's upstream could not be determined: {}.", chain(&error))),
        None => {
            Err(format!("The remote {remote} is not configured to fetch {merge}, the branch's upstream."))
        }
    }
}

/// Commits on one's own side only, and on the upstream's only.
pub(super) fn ahead_behind(
    repo: &gix::Repository,
    head: &Head,
    upstream: &Result<gix::refs::FullName, String>,
) -> (Fact<u64>, Fact<u64>) {
    let counts = || -> Result<(u64, u64), String> {
        let ours = *head.commit.as_ref().map_err(Clone::clone)?;
        let upstream = upstream.as_ref().map_err(Clone::clone)?;
        let mut theirs = repo.find_reference(upstream.as_ref()).map_err(|_| {
            format!(
                "{} is not in this repository: `git fetch` brings it, unless it was deleted.",
                upstream.shorten()
            )
        })?;
        let unreadable = |error: gix::Error| {
            format!("The history up to {} could not be read: {}.", upstream.shorten(), chain(&error))
        };
        let theirs = theirs.peel_to_id().map_err(unreadable)?.detach();
        if ours == theirs { Ok((0, 0)) } else { count(repo, ours, theirs).map_err(unreadable)? }
    };
    match counts() {
        Ok((ahead, behind)) => (Fact::Known(ahead), Fact::Known(behind)),
        Err(reason) => (Fact::Absent(reason.clone()), Fact::Absent(reason)),
    }
}

const OURS: u8 = 1;
const THEIRS: u8 = 2;
const BOTH: u8 = OURS | THEIRS;

/// Walks both histories, newest commit first, until all that is left to walk belongs to both.
///
/// The outer error is git's, the inner one is a reason why there is no figure.
fn count(
    repo: &gix::Repository,
    ours: gix::ObjectId,
    theirs: gix::ObjectId,
) -> gix::Result<Result<(u64, u64), String>> {
    let shallow = repo.shallow_commits()?;
    let graph = repo.commit_graph_if_enabled()?;
    let mut walk = repo.revision_graph::<u8>(graph.as_ref());
    let mut sides: HashMap<gix::ObjectId, u8> = HashMap::new();
    let mut queue: BinaryHeap<(i64, gix::ObjectId, u8)> = BinaryHeap::new();
    // How many entries of the queue are there for one side only.
    let mut one_sided = 0_usize;
    // No commit of one side only is older. Commits made in the same second come in any order, so
    // that a newer one of both sides may still have such a commit as its ancestor.
    let mut oldest = i64::MAX;
    let mut ends = Vec::new();
    let mut parents = vec![(ours, OURS), (theirs, THEIRS)];
    loop {
        for (id, side) in parents.drain(..) {
            let before = sides.get(&id).copied().unwrap_or(0);
            let after = before | side;
            if after == before {
                continue;
            }
            sides.insert(id, after);
            let Some(commit) = walk.try_lookup(&id)? else {
                return Ok(Err(format!("The commit {id} is missing from the repository.")));
            };
            let time = commit.committer_timestamp()?;
            queue.push((time, id, after));
            if after != BOTH {
                one_sided += 1;
                oldest = oldest.min(time);
            }
        }
        if sides.len() > MOST_COMMITS {
            return Ok(Err(format!("The two histories do not meet within {MOST_COMMITS} commits.")));
        }
        let Some((time, id, side)) = queue.pop() else { break };
        if one_sided == 0 && time < oldest {
            break;
        }
        one_sided -= usize::from(side != BOTH);
        if sides.get(&id).is_some_and(|now| *now != side) {
            // It was reached from the other side too before its turn came: it is queued again.
            continue;
        }
        if shallow.as_ref().is_some_and(|shallow| shallow.contains(&id)) {
            ends.push(id);
        } else if let Some(commit) = walk.try_lookup(&id)? {
            for parent in commit.iter_parents() {
                parents.push((parent?, side));
            }
        }
    }
    if ends.iter().any(|end| sides.get(end) != Some(&BOTH)) {
        return Ok(Err("The clone is shallow, and its history ends before both sides meet: \
                       `git fetch --unshallow` brings the rest."
            .to_owned()));
    }
    let of_side = |wanted| sides.values().filter(|side| **side == wanted).count() as u64;
    Ok(Ok((of_side(OURS), of_side(THEIRS))))
}
