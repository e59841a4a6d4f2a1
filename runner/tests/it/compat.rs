//! Plugins that were built for a released plugin API go on working.

use std::{fs, path::Path};

use serde_json::json;

use crate::support::Project;

#[test]
fn what_was_built_for_a_released_api_is_loaded_and_runs() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugins/compat");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "wasm")).collect();
    assert!(!files.is_empty());
    for file in files {
        let project = Project::new();
        let installed = project.outside().join("plugins");
        let project = project.env("DCD_PLUGIN_PATH", installed.to_str().unwrap()).env("KEY", "12345");
        let install = ["plugin", "install", "--dir", installed.to_str().unwrap(), "--allow", "exec=true"];
        project.run(&[&install[..], &["--allow", "secrets=KEY", file.to_str().unwrap()]].concat()).expect(0);
        let version = file.file_stem().unwrap().to_str().unwrap().rsplit('-').next().unwrap();
        let listed = project.json(&["plugin", "list", "--json"]);
        assert_eq!(listed[0]["api"], format!("dcd:plugin@{version}"));
        let with = json!({ "say": "hello", "run": ["true"], "secret": "KEY" });
        let wrong = json!({ "say": "" });
        let steps = |with| json!({ "steps": [{ "name": "a", "uses": "compat-step", "with": with }] });
        project.write("dcd.json", steps(wrong).to_string());
        let refused = project.run(&["validate"]);
        assert!(refused.expect(2).err.contains("there is nothing to say"), "{}", refused.err);
        let mut pipeline = steps(with);
        pipeline["secrets"] = json!({ "KEY": { "env": "KEY" } });
        pipeline["steps"][0]["secrets"] = json!(["KEY"]);
        project.write("dcd.json", pipeline.to_string());
        let run = project.run(&["run"]);
        assert!(run.expect(0).out.contains("a says hello in try 1"), "{}", run.out);
        assert_eq!(run.err, "");
        let step = project.show("latest")["steps"][0].clone();
        assert_eq!(step["outputs"], json!({ "said": "hello", "cancelled": false, "exit": 0, "secret": 5 }));
    }
}
