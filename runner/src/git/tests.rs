#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

/// A repository made by git itself, without this machine's configuration.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn empty() -> Self {
        let fixture = Fixture { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(fixture.path("repo")).unwrap();
        fixture.git("repo", &["init", "-q", "-b", "main"]);
        fixture.configure("repo");
        fixture
    }

    fn committed() -> Self {
        let fixture = Self::empty();
        fixture.write("a.txt", "one\n");
        fixture.write("dir/b.txt", "two\n");
        fixture.commit("first");
        fixture
    }

    fn configure(&self, place: &str) {
        for (key, value) in
            [("user.name", "Ada"), ("user.email", "ada@example.org"), ("core.excludesFile", "/dev/null")]
        {
            self.git(place, &["config", key, value]);
        }
    }

    fn path(&self, place: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(place)
    }

    fn root(&self) -> PathBuf {
        self.path("repo")
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.root().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn commit(&self, subject: &str) -> String {
        self.git("repo", &["add", "-A"]);
        self.git("repo", &["commit", "-q", "-m", subject]);
        self.git("repo", &["rev-parse", "HEAD"])
    }

    fn git(&self, place: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(self.path(place))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn facts(&self, place: &str) -> Git {
        match collect(&self.path(place)) {
            Fact::Known(git) => git,
            other => panic!("{other:?}"),
        }
    }
}

fn reason<T: std::fmt::Debug>(fact: &Fact<T>) -> &str {
    match fact {
        Fact::Absent(reason) => reason,
        other => panic!("expected a reason: {other:?}"),
    }
}

fn sha256(data: &str) -> String {
    Sha256::digest(data).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The digest as `docs/facts.md` has it, of records without their final NUL.
fn digest_of(records: &[String]) -> Fact<String> {
    let text = records.iter().fold("dcd-diff 1\n".to_owned(), |text, record| text + record + "\0");
    Fact::Known(sha256(&text))
}

#[test]
fn a_clean_repository() {
    let fixture = Fixture::committed();
    let git = fixture.facts("repo");
    assert_eq!(git.commit, Fact::Known(fixture.git("repo", &["rev-parse", "HEAD"])));
    assert_eq!(git.tree, Fact::Known(fixture.git("repo", &["rev-parse", "HEAD^{tree}"])));
    assert_eq!(git.branch, Fact::Known("main".to_owned()));
    assert_eq!(git.dirty, Fact::Known(false));
    assert_eq!(reason(&git.diff_sha256), "Nothing differs from the commit.");
    assert_eq!(reason(&git.remote), "The repository has no remote.");
    assert_eq!(reason(&git.upstream), "The branch main has no upstream: `git branch -u` sets one.");
    assert_eq!(git.root, fixture.root().to_str().unwrap());
    assert_eq!(repository_name(&git).as_deref(), Some("repo"));
    assert_eq!(collect_with_email(&fixture.root()).1.as_deref(), Some("ada@example.org"));
}

#[test]
fn a_subdirectory_is_of_the_whole_repository() {
    let fixture = Fixture::committed();
    fixture.write("a.txt", "changed\n");
    assert_eq!(fixture.facts("repo/dir"), fixture.facts("repo"));
    assert_eq!(fixture.facts("repo/dir").dirty, Fact::Known(true));
}

#[test]
fn no_repository_a_bare_one_and_one_without_a_commit() {
    let fixture = Fixture::empty();
    let git = fixture.facts("repo");
    assert_eq!(reason(&git.commit), "There is no commit yet.");
    assert_eq!(git.branch, Fact::Known("main".to_owned()));
    assert_eq!(git.dirty, Fact::Known(false));
    fixture.write("new", "x");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(true));

    let outside = tempfile::tempdir().unwrap();
    let expected = format!("There is no git repository at or above {}.", outside.path().display());
    assert_eq!(reason(&collect(outside.path())), expected);
    fixture.git("", &["init", "-q", "--bare", "bare"]);
    assert!(reason(&collect(&fixture.path("bare"))).contains("is in a bare git repository"));
}

#[test]
fn a_detached_head_has_no_branch() {
    let fixture = Fixture::committed();
    fixture.git("repo", &["checkout", "-q", "--detach"]);
    let git = fixture.facts("repo");
    assert!(git.commit.known().is_some());
    assert_eq!(reason(&git.branch), "HEAD is detached: no branch is checked out.");
    assert_eq!(reason(&git.upstream), reason(&git.branch));
}

#[test]
fn the_digest_is_the_documented_one() {
    let fixture = Fixture::committed();
    fixture.write("gone", "x");
    fixture.write("tool", "x");
    fixture.write("staged-gone", "x");
    fixture.commit("more");
    fixture.write("a.txt", "changed\n");
    fs::remove_file(fixture.root().join("gone")).unwrap();
    fs::set_permissions(fixture.root().join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.git("repo", &["rm", "-q", "staged-gone"]);
    fixture.write("dir/untracked", "new\n");
    symlink("a.txt", fixture.root().join("link")).unwrap();
    fixture.write("dir/b.txt", "staged\n");
    fixture.git("repo", &["add", "dir/b.txt"]);
    fixture.write("dir/b.txt", "and changed again\n");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.root().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();

    let git = fixture.facts("repo");
    let expected = digest_of(&[
        format!("work 100644 {} a.txt", sha256("changed\n")),
        format!("work 100644 {} dir/b.txt", sha256("and changed again\n")),
        format!("index 100644 {} dir/b.txt", sha256("staged\n")),
        format!("work 100644 {} dir/untracked", sha256("new\n")),
        "work 000000 deleted gone".to_owned(),
        format!("work 120000 {} link", sha256("a.txt")),
        "work 000000 deleted staged-gone".to_owned(),
        format!("work 100755 {} tool", sha256("x")),
    ]);
    assert_eq!(git.dirty, Fact::Known(true));
    assert_eq!(git.diff_sha256, expected);
}

#[test]
fn staging_alone_does_not_change_the_digest() {
    let fixture = Fixture::committed();
    fixture.write("a.txt", "changed\n");
    fixture.write("new", "new\n");
    let before = fixture.facts("repo").diff_sha256;
    fixture.git("repo", &["add", "-A"]);
    assert_eq!(fixture.facts("repo").diff_sha256, before);
    fixture.git("repo", &["reset", "-q"]);
    fixture.git("repo", &["add", "-N", "new"]);
    assert_eq!(fixture.facts("repo").diff_sha256, before);
}

#[test]
fn touched_and_ignored_files_are_no_difference() {
    let fixture = Fixture::committed();
    fixture.write(".gitignore", "*.log\n/target\n");
    fixture.commit("ignore");
    fixture.write("build.log", "x");
    fixture.write("target/x", "x");
    fixture.write(".dcd/.gitignore", "*\n");
    fixture.write(".dcd/journal", "x");
    fixture.write("a.txt", "one\n");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(false));
}

#[test]
fn a_staged_change_that_the_work_tree_took_back_is_one() {
    let fixture = Fixture::committed();
    fixture.write("a.txt", "staged\n");
    fixture.git("repo", &["add", "a.txt"]);
    fixture.write("a.txt", "one\n");
    let expected = digest_of(&[
        format!("work 100644 {} a.txt", sha256("one\n")),
        format!("index 100644 {} a.txt", sha256("staged\n")),
    ]);
    assert_eq!(fixture.facts("repo").diff_sha256, expected);
}

#[test]
fn an_unresolved_merge_is_dirty() {
    let fixture = Fixture::committed();
    fixture.git("repo", &["checkout", "-q", "-b", "side"]);
    fixture.write("a.txt", "side\n");
    fixture.commit("side");
    fixture.git("repo", &["checkout", "-q", "main"]);
    fixture.write("a.txt", "main\n");
    fixture.commit("main");
    let merge = std::panic::catch_unwind(|| fixture.git("repo", &["merge", "-q", "side"]));
    assert!(merge.is_err(), "the merge should have a conflict");
    let text = fs::read_to_string(fixture.root().join("a.txt")).unwrap();
    let expected = digest_of(&[
        format!("work 100644 {} a.txt", sha256(&text)),
        "index 000000 conflict a.txt".to_owned(),
    ]);
    assert_eq!(fixture.facts("repo").diff_sha256, expected);
}

#[test]
fn programs_of_the_repository_are_not_run() {
    let fixture = Fixture::committed();
    let witness = fixture.path("witness");
    let run = format!("touch {}; cat", witness.display());
    fixture.write(".gitattributes", "*.txt filter=evil diff=evil\n");
    fixture.commit("attributes");
    for key in
        ["filter.evil.clean", "filter.evil.process", "diff.evil.command", "diff.external", "core.fsmonitor"]
    {
        fixture.git("repo", &["config", key, &run]);
    }
    fixture.write("a.txt", "ONE\n");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(true));
    assert!(!witness.exists(), "a program that the configuration names was run");
}

#[test]
fn a_large_file_that_git_lfs_put_in_place_is_no_difference() {
    let fixture = Fixture::committed();
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", sha256("large"));
    fixture.write("big.bin", &pointer);
    fixture.commit("pointer");
    fixture.write("big.bin", "large");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(false));
    fixture.write("big.bin", "LARGE");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(true));
}

#[test]
fn ahead_and_behind_of_the_upstream() {
    let fixture = Fixture::committed();
    fixture.git("", &["clone", "-q", "repo", "clone"]);
    fixture.configure("clone");
    let same = fixture.facts("clone");
    assert_eq!(same.upstream, Fact::Known("origin/main".to_owned()));
    assert_eq!((same.ahead, same.behind), (Fact::Known(0), Fact::Known(0)));
    assert_eq!(same.remote, Fact::Known(fixture.root().to_str().unwrap().to_owned()));
    for subject in ["second", "third"] {
        fixture.write("a.txt", subject);
        fixture.commit(subject);
    }
    fixture.git("clone", &["commit", "-q", "--allow-empty", "-m", "mine"]);
    fixture.git("clone", &["fetch", "-q"]);
    let apart = fixture.facts("clone");
    assert_eq!((apart.ahead, apart.behind), (Fact::Known(1), Fact::Known(2)));
    fixture.git("clone", &["merge", "-q", "-m", "merge", "origin/main"]);
    let merged = fixture.facts("clone");
    assert_eq!((merged.ahead, merged.behind), (Fact::Known(2), Fact::Known(0)));
    fixture.git("clone", &["update-ref", "-d", "refs/remotes/origin/main"]);
    let gone = fixture.facts("clone");
    assert_eq!(gone.upstream, Fact::Known("origin/main".to_owned()));
    assert!(reason(&gone.ahead).starts_with("origin/main is not in this repository"));
}

#[test]
fn histories_that_share_nothing_are_counted_whole() {
    let fixture = Fixture::committed();
    fixture.git("repo", &["checkout", "-q", "--orphan", "other"]);
    fixture.git("repo", &["commit", "-q", "-m", "other"]);
    fixture.git("repo", &["commit", "-q", "--allow-empty", "-m", "more"]);
    fixture.git("repo", &["branch", "-q", "-u", "main"]);
    let git = fixture.facts("repo");
    assert_eq!(
        (git.upstream, git.ahead, git.behind),
        (Fact::Known("main".to_owned()), Fact::Known(2), Fact::Known(1))
    );
}

#[test]
fn a_shallow_clone() {
    let fixture = Fixture::committed();
    for subject in ["second", "third"] {
        fixture.write("a.txt", subject);
        fixture.commit(subject);
    }
    let url = format!("file://{}", fixture.root().display());
    fixture.git("", &["clone", "-q", "--depth", "1", &url, "shallow"]);
    fixture.configure("shallow");
    let git = fixture.facts("shallow");
    assert_eq!((&git.dirty, &git.ahead), (&Fact::Known(false), &Fact::Known(0)));
    fixture.git("shallow", &["commit", "-q", "--allow-empty", "-m", "mine"]);
    assert_eq!(fixture.facts("shallow").ahead, Fact::Known(1));
    fixture.write("a.txt", "fourth");
    fixture.commit("fourth");
    fixture.git("shallow", &["fetch", "-q", "--depth", "1"]);
    assert!(reason(&fixture.facts("shallow").ahead).starts_with("The clone is shallow"));
}

#[test]
fn a_linked_worktree() {
    let fixture = Fixture::committed();
    fixture.git("repo", &["worktree", "add", "-q", "-b", "side", "../linked"]);
    let git = fixture.facts("linked");
    assert_eq!(git.branch, Fact::Known("side".to_owned()));
    assert_eq!(git.dirty, Fact::Known(false));
    assert_eq!(git.root, fixture.path("linked").to_str().unwrap());
    fs::write(fixture.path("linked/new"), "x").unwrap();
    assert_eq!(fixture.facts("linked").dirty, Fact::Known(true));
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(false));
}

#[test]
fn a_submodule_counts_with_its_commit_only() {
    let fixture = Fixture::committed();
    fixture.git("", &["clone", "-q", "repo", "library"]);
    fixture.configure("library");
    fixture.git("repo", &["submodule", "--quiet", "add", "../library", "lib"]);
    fixture.configure("repo/lib");
    fixture.commit("submodule");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(false));
    fixture.write("lib/a.txt", "not looked at");
    assert_eq!(fixture.facts("repo").dirty, Fact::Known(false));
    fixture.git("repo/lib", &["commit", "-q", "--allow-empty", "-m", "moved"]);
    let commit = fixture.git("repo/lib", &["rev-parse", "HEAD"]);
    assert_eq!(fixture.facts("repo").diff_sha256, digest_of(&[format!("work 160000 {commit} lib")]));
    fixture.git("repo", &["add", "lib"]);
    assert_eq!(fixture.facts("repo").diff_sha256, digest_of(&[format!("work 160000 {commit} lib")]));
}

#[test]
fn an_untracked_repository_is_not_looked_into() {
    let fixture = Fixture::committed();
    fixture.git("", &["clone", "-q", "repo", "repo/nested"]);
    assert_eq!(fixture.facts("repo").diff_sha256, digest_of(&["work 040000 repository nested".to_owned()]));
}

#[test]
fn a_workspace_of_another_user_is_no_error() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give a file away.
    }
    let fixture = Fixture::committed();
    fixture.git("repo", &["remote", "add", "origin", "https://example.org/x.git"]);
    let status = Command::new("chown").args(["-R", "4711:4711"]).arg(fixture.root()).status().unwrap();
    assert!(status.success());
    let git = fixture.facts("repo");
    assert_eq!(git.dirty, Fact::Known(false));
    assert_eq!(git.remote, Fact::Known("https://example.org/x.git".to_owned()));
    assert_eq!(collect_with_email(&fixture.root()).1.as_deref(), Some("ada@example.org"));
}

#[test]
fn the_remote_of_the_branch_then_origin_then_the_only_one() {
    let fixture = Fixture::committed();
    fixture.git("repo", &["remote", "add", "fork", "https://token@example.org/fork.git"]);
    assert_eq!(fixture.facts("repo").remote, Fact::Known("https://example.org/fork.git".to_owned()));
    fixture.git("repo", &["remote", "add", "other", "git@example.org:team/other.git"]);
    assert!(reason(&fixture.facts("repo").remote).contains("none is called origin"));
    fixture.git("repo", &["remote", "add", "origin", "https://example.org/origin.git"]);
    assert_eq!(fixture.facts("repo").remote, Fact::Known("https://example.org/origin.git".to_owned()));
    fixture.git("repo", &["config", "branch.main.remote", "other"]);
    fixture.git("repo", &["config", "branch.main.merge", "refs/heads/main"]);
    let git = fixture.facts("repo");
    assert_eq!(git.remote, Fact::Known("git@example.org:team/other.git".to_owned()));
    assert_eq!(git.upstream, Fact::Known("other/main".to_owned()));
    assert_eq!(repository_name(&git).as_deref(), Some("other"));
}

#[test]
fn credentials_leave_the_url() {
    for (url, clean) in [
        ("https://github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://user:pass@github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://ghp_token@github.com:8443/a/b@c", "https://github.com:8443/a/b@c"),
        ("https://user:p@ss@host/a", "https://host/a"),
        ("https://user:pa/ss@host/a", "https://host/a"),
        ("https://host/a/@scope/b", "https://host/a/@scope/b"),
        ("https://host/a?private_token=x#y", "https://host/a"),
        ("https://[::1]/a", "https://[::1]/a"),
        ("ssh://git@host:22/a/b.git", "ssh://git@host:22/a/b.git"),
        ("ssh://git:secret@host/a", "ssh://git@host/a"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
        ("file:///srv/a@b", "file:///srv/a@b"),
    ] {
        assert_eq!(strip_credentials(url), clean, "{url}");
    }
}

#[test]
fn names_of_repositories() {
    for (url, name) in [
        ("https://github.com/progsoftware/dcd.git", Some("dcd")),
        ("git@github.com:dcd.git", Some("dcd")),
        ("git@github.com:team/dcd", Some("dcd")),
        ("/srv/dcd/.git", Some("dcd")),
        ("../dcd/", Some("dcd")),
        ("/", None),
    ] {
        assert_eq!(remote::last_segment(url).as_deref(), name, "{url}");
    }
}

proptest::proptest! {
    #[test]
    fn no_password_stays(user in "[a-z0-9]{1,8}", password in "[^\\s@]{0,12}", path in "[a-z/@.:-]{0,12}") {
        let url = format!("https://{user}:x{password}SECRET@host/{path}");
        let clean = strip_credentials(&url);
        proptest::prop_assert!(!clean.contains("SECRET"), "{url} became {clean}");
        proptest::prop_assert_eq!(strip_credentials(&clean), clean);
    }
}
