//! Whose the files are.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::engine::{SOCKET, both};
use crate::team::Team;
use crate::workspace::Workspace;

fn assert_owned(workspace: &Workspace, owner: u32) {
    let owners = workspace.owners(".dcd");
    assert!(owners.len() > 6, "{owners:?}");
    for (path, uid, gid) in owners {
        assert_eq!((uid, gid), (owner, owner), "{}", path.display());
    }
}

#[test]
fn as_another_user_with_the_sockets_group() {
    let Some(team) = Team::build() else { return };
    let mut workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "touch mine; id -u" }] }));
    workspace.give_to(1000);
    let group = fs::metadata(SOCKET).unwrap().gid().to_string();
    let user = ["-u", "1000:1000", "--group-add", &group];
    let run = team.dcd(&workspace).with(&user).output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    let show = team.dcd(&workspace).with(&user).show("latest");
    assert_eq!(show["facts"]["container"]["verified_by"], "upper_dir");
    assert_eq!(show["facts"]["image"]["reference"], team.image);
    assert_eq!(workspace.log("1", "test"), "1000");
    assert_owned(&workspace, 1000);
    assert_eq!(fs::metadata(workspace.path().join("mine")).unwrap().uid(), 1000);

    // Without the group the build runs all the same, and the record says what to add.
    let run = team.dcd(&workspace).with(&user[..2]).output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    let show = workspace.show("latest");
    let reason = show["facts"]["image"]["absent"].as_str().unwrap_or_else(|| panic!("{show:#}"));
    assert!(reason.contains(&format!("--group-add {group}")), "{reason}");
}

#[test]
fn as_root_in_a_workspace_of_somebody_else() {
    let Some(team) = Team::build() else { return };
    let mut workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "true" }] }));
    let commit = workspace.git(&["rev-parse", "HEAD"]);
    workspace.give_to(12345);
    for _ in 0..2 {
        let run = team.dcd(&workspace).output(&["run"]);
        assert!(run.status.success(), "{}", both(&run));
    }
    assert_owned(&workspace, 12345);
    let show = team.dcd(&workspace).show("latest");
    assert_eq!(show["number"], 2);
    assert_eq!(show["facts"]["git"]["commit"], commit, "a repository of somebody else is no error");
    assert_eq!(
        (&show["facts"]["git"]["branch"], &show["facts"]["git"]["dirty"]),
        (&json!("main"), &json!(false))
    );
}

#[test]
fn as_root_with_a_history_backend() {
    let Some(team) = Team::build() else { return };
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().to_str().unwrap();
    let mut workspace = Workspace::new(&json!({
        "history": { "uses": "history-dir", "with": { "path": path } },
        "plugins": { "history-dir": { "allow": { "fs": [{ "path": path, "access": "rw" }] } } },
        "steps": [{ "name": "test", "run": "true" }],
    }));
    workspace.give_to(12345);
    let mount = format!("{path}:{path}");
    let run = team.dcd(&workspace).with(&["-v", &mount]).output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    assert_owned(&workspace, 12345);
}
