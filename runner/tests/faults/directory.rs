//! Builds in a directory, as `history-dir` keeps them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use dcd::{
    chain::Hash,
    event::{Payload, Record},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Fault, Kept},
    disk::Disk,
};

/// The directory, on a disk of its own where there can be one.
pub(crate) struct Directory {
    root: tempfile::TempDir,
    disk: Result<Disk, String>,
}

/// A line of an events file.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    at: u64,
    kind: String,
    step: Option<String>,
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
    hash: String,
}

#[derive(Deserialize)]
struct BuildFile {
    component: String,
    run_id: String,
    status: String,
    summary: Option<Value>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("dcd-faults-dir").tempdir_in("/tmp").unwrap();
        let disk = Disk::mount(&root.path().join("drive"));
        let directory = Directory { root, disk };
        fs::create_dir_all(directory.path()).unwrap();
        directory
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("drive/builds")
    }
}

impl Backend for Directory {
    fn plugin(&self) -> &'static str {
        "history-dir"
    }

    fn described(&self) -> String {
        "a local directory".to_owned()
    }

    fn settings(&self) -> (Value, Value) {
        let path = self.path();
        (json!({ "path": path }), json!({ "fs": [{ "path": path, "access": "rw" }] }))
    }

    fn faults(&self) -> Vec<Fault> {
        match self.disk {
            Ok(_) => vec![Fault::Gone, Fault::Full],
            Err(_) => vec![Fault::Gone],
        }
    }

    fn untried(&self) -> BTreeMap<&'static str, String> {
        let why = self.disk.as_ref().err().cloned();
        why.map(|why| (Fault::Full.name(), why)).into_iter().collect()
    }

    fn suffer(&self, fault: Fault, time: Duration) -> u64 {
        match (fault, &self.disk) {
            (Fault::Gone, _) => {
                let away = self.path().with_extension("away");
                fs::rename(self.path(), &away).unwrap();
                thread::sleep(time);
                fs::rename(away, self.path()).unwrap();
            }
            (Fault::Full, Ok(disk)) => {
                disk.fill(0);
                thread::sleep(time);
                disk.free();
            }
            (other, _) => panic!("{other:?} is none of a directory's"),
        }
        1
    }

    fn read(&self) -> Vec<Kept> {
        let components = names(&self.path()).into_iter().filter(|name| !name.starts_with('.'));
        let components = components.map(|name| self.path().join(name));
        components.flat_map(|component| builds(&component)).collect()
    }
}

/// The builds of a component: what gave a number decides which there are.
fn builds(component: &Path) -> Vec<Kept> {
    let numbers = names(&component.join("numbers")).into_iter().filter_map(|name| name.parse::<u64>().ok());
    let build = |number: u64| {
        let directory = component.join(number.to_string());
        let text = fs::read_to_string(directory.join("build.json"))
            .or_else(|_| fs::read_to_string(component.join(format!("numbers/{number}"))))
            .unwrap();
        let file: BuildFile = serde_json::from_str(&text).unwrap();
        let (records, doubled) = events(&directory.join("events"));
        Kept {
            component: file.component,
            number,
            run_id: file.run_id,
            status: file.status,
            summary: file.summary,
            records,
            doubled,
        }
    };
    numbers.map(build).collect()
}

/// The events of all files. Two writers may have stored the same ones: that counts as doubled only where the two are
/// not the same, for then nobody knows which one happened.
fn events(directory: &Path) -> (Vec<Record>, u64) {
    let mut records: BTreeMap<u64, Record> = BTreeMap::new();
    let mut doubled = 0;
    for name in names(directory).into_iter().filter(|name| {
        Path::new(name).extension().is_some_and(|end| end == "jsonl") && !name.starts_with('.')
    }) {
        for line in fs::read_to_string(directory.join(name)).unwrap().lines() {
            let record = record(line);
            match records.get(&record.seq) {
                Some(known) if *known != record => doubled += 1,
                Some(_) => {}
                None => drop(records.insert(record.seq, record)),
            }
        }
    }
    (records.into_values().collect(), doubled)
}

fn record(text: &str) -> Record {
    let line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    // As it stands there, to the byte: it is hashed.
    let json = text.split_once("\"json\":").and_then(|(_, rest)| Some(rest.rsplit_once(",\"hash\":")?.0));
    let payload = match (line.json.and(json), line.text, line.base64) {
        (Some(json), None, None) => Payload::Json(json.to_owned()),
        (None, Some(text), None) => Payload::Bytes(text.into_bytes().into()),
        (None, None, Some(base64)) => Payload::Bytes(BASE64_STANDARD.decode(base64).unwrap().into()),
        _ => panic!("the line of event {} has not exactly one payload", line.seq),
    };
    Record {
        seq: line.seq,
        at: line.at,
        kind: line.kind,
        step: line.step.map(Into::into),
        payload,
        hash: Hash::from_slice(&dcd::text::from_hex(&line.hash).unwrap()).unwrap(),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
