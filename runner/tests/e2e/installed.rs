//! An image whose plugins are copied from the image of the first-party plugins, and installed when it is built.

use serde_json::{Value, json};

use crate::engine::both;
use crate::http;
use crate::team::Team;
use crate::workspace::Workspace;

/// As the guide says it.
const INSTALL: &str = "COPY --from=plugins /dcd-plugins/http.wasm /dcd-plugins/history-dir.wasm /dcd-plugins/\n\
     RUN [\"/dcd\", \"plugin\", \"install\", \"--all\", \"--allow\", \"history-dir:fs=/builds:rw\"]\n";

#[test]
fn installed_plugins_run_as_the_team_runs_them() {
    let Some(team) = Team::with(INSTALL) else { return };
    let origin = http::serve("{}");
    let workspace = Workspace::new(&json!({
        "history": { "uses": "history-dir", "with": { "path": "/builds" } },
        "plugins": { "http": { "allow": { "http": [origin] } } },
        "steps": [{ "name": "get", "uses": "http", "with": { "url": format!("{origin}/") } }],
    }));
    let builds = tempfile::tempdir().unwrap();
    let mount = format!("{}:/builds", builds.path().display());
    for options in [&[][..], &["--read-only"], &["--read-only", "--security-opt", "no-new-privileges"]] {
        let run = team.dcd(&workspace).with(options).with(&["-v", &mount]).output(&["run"]);
        assert!(run.status.success(), "{options:?}: {}", both(&run));
        assert_eq!(String::from_utf8_lossy(&run.stderr), "", "nothing had to be compiled");
    }
    let listed: Value =
        serde_json::from_str(&team.dcd(&workspace).text(&["plugin", "list", "--json"])).unwrap();
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|plugin| &plugin["installed"]).collect();
    assert_eq!(states, ["fresh", "fresh"], "{listed:#}");
    let page = team.dcd(&workspace).text(&["plugin", "inspect", "history-dir"]);
    assert!(page.contains("/builds (rw) (by the image)"), "{page}");
    // The image's files are nobody else's to change, and stay for every user.
    let as_user = team.dcd(&workspace).with(&["--user", "12345:12345"]).text(&["plugin", "inspect", "http"]);
    assert!(as_user.contains("installed yes, "), "{as_user}");
}
