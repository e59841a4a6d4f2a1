//! The path that every user takes, with everything in the record compared with what others say of it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::engine::{both, docker, inspect, output, setup, text_of};
use crate::http;
use crate::team::{Team, plugin};
use crate::workspace::Workspace;

fn sha256sum(file: &Path) -> String {
    let sum = text_of(&Command::new("sha256sum").arg(file).output().unwrap(), "sha256sum");
    sum.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn without_arguments_the_usage_is_shown() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "true" }] }));
    let stock = &setup().unwrap().stock;
    for shown in [team.dcd(&workspace).output(&[]), docker(&["run", "--rm", stock])] {
        assert_eq!(shown.status.code(), Some(2));
        let text = both(&shown);
        for expected in ["Usage: dcd <COMMAND>", "Write dcd.json", "dcd run", "dcd history show latest"] {
            assert!(text.contains(expected), "no `{expected}` in:\n{text}");
        }
    }
}

#[test]
fn the_whole_way_through() {
    let Some(mut team) = Team::build() else { return };
    let digest = team.push();
    let origin = http::serve(r#"{"release": {"version": "1.4.2"}}"#);
    let workspace = Workspace::new(&json!({
        "name": "release",
        "plugins": { "http": { "allow": { "http": [origin] } } },
        "steps": [
            { "name": "env", "run": "echo $DCD_BUILD_NUMBER $DCD_GIT_SHA $DCD_IMAGE_DIGEST; git log -1 --format=%s" },
            { "name": "ask", "uses": "http", "with": {
                "url": format!("{origin}/latest"), "outputs": { "version": "/release/version" } } },
            { "name": "wait", "run": "touch ready; until [ -e go ]; do sleep 0.05; done", "timeout": "90s" },
        ],
    }));
    // One commit more than the remote has.
    workspace.git(&["commit", "-q", "--allow-empty", "-m", "Not pushed yet"]);

    let running = team.dcd(&workspace).start(&["run"]);
    workspace.wait_for("ready");
    let container = inspect(&running.id());
    let image = inspect(container["Image"].as_str().unwrap());
    workspace.touch("go");
    let run = running.wait();
    let text = text_of(&run, "dcd run");

    let show = team.dcd(&workspace).show("latest");
    assert_eq!(show, workspace.show("latest"), "a container and this machine read the same journal");
    assert_eq!((&show["outcome"], &show["number"]), (&json!("success"), &json!(1)));
    assert_eq!((&show["component"], &show["pipeline"]), (&json!("shop"), &json!("release")));

    let id = show["id"].as_str().unwrap();
    assert!(text.contains(id) && text.contains(&digest) && text.contains("dcd history show 1"), "{text}");
    compare_container(&show["facts"], &container);
    compare_image(&show["facts"]["image"], &image, &team.image, &digest);
    compare_git(&show["facts"]["git"], &workspace);
    compare_plugin(&show["facts"]["plugins"], &origin);
    assert_eq!(show["facts"]["definition"]["sha256"], sha256sum(&workspace.path().join("dcd.json")));
    assert_eq!(show["facts"]["docker"]["version"], output(&["version", "-f", "{{.Server.Version}}"]));
    assert_eq!(show["facts"]["user"]["name"], "ann@example.org");

    let ask = &show["steps"][1];
    assert_eq!((&ask["name"], &ask["outcome"]), (&json!("ask"), &json!("success")));
    assert_eq!(ask["outputs"], json!({ "status": 200, "version": "1.4.2" }));
    let commit = workspace.git(&["rev-parse", "HEAD"]);
    assert_eq!(workspace.log("1", "env"), format!("1 {commit} {digest}\nNot pushed yet"));

    let list: Value =
        serde_json::from_str(&team.dcd(&workspace).text(&["history", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&list[0]["id"], &list[0]["commit"]), (&json!(id), &json!(commit)));
    assert_eq!(list[0]["image_digest"], digest);
}

fn compare_container(facts: &Value, inspected: &Value) {
    let container = &facts["container"];
    assert_eq!(container["id"], inspected["Id"], "{container}");
    assert_eq!(container["verified_by"], "upper_dir");
    assert_eq!(container["name"].as_str(), inspected["Name"].as_str().unwrap().strip_prefix('/'));
    assert_eq!(container["hostname"], inspected["Config"]["Hostname"]);
    let places = |mounts: &Value, source: &str, destination: &str| {
        let mounts = mounts.as_array().unwrap().iter();
        let mut places: Vec<_> =
            mounts.map(|mount| format!("{} {}", mount[source], mount[destination])).collect();
        places.sort();
        places
    };
    assert_eq!(
        places(&container["mounts"], "source", "destination"),
        places(&inspected["Mounts"], "Source", "Destination")
    );
    assert_eq!(container["mounts"].as_array().unwrap().len(), 2);
}

fn compare_image(facts: &Value, inspected: &Value, name: &str, digest: &str) {
    assert_eq!(facts["id"], inspected["Id"], "{facts}");
    assert_eq!(facts["digest"], digest);
    assert_eq!(facts["reference"], name);
    assert_eq!(facts["created"], inspected["Created"]);
    assert!(facts["repo_digests"].as_array().unwrap().contains(&json!(digest)), "{facts}");
    assert!(facts["tags"].as_array().unwrap().contains(&json!(name)), "{facts}");
}

fn compare_git(facts: &Value, workspace: &Workspace) {
    assert_eq!(facts["commit"], workspace.git(&["rev-parse", "HEAD"]), "{facts}");
    assert_eq!(facts["tree"], workspace.git(&["rev-parse", "HEAD^{tree}"]));
    assert_eq!(facts["branch"], workspace.git(&["symbolic-ref", "--short", "HEAD"]));
    assert_eq!(facts["remote"], workspace.git(&["remote", "get-url", "origin"]));
    assert_eq!(facts["upstream"], workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]));
    assert_eq!((&facts["ahead"], &facts["behind"]), (&json!(1), &json!(0)));
    assert_eq!(facts["dirty"], false);
    assert_eq!(facts["root"], workspace.path().to_str().unwrap());
}

fn compare_plugin(facts: &Value, origin: &str) {
    assert_eq!(facts.as_array().unwrap().len(), 1, "{facts}");
    assert_eq!((&facts[0]["name"], &facts[0]["path"]), (&json!("http"), &json!("/dcd-plugins/http.wasm")));
    assert_eq!(facts[0]["sha256"], sha256sum(&plugin("http.wasm")));
    assert_eq!(facts[0]["grants"]["http"], json!([origin]));
}
