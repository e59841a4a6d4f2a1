//! What is fuzzed, one function for each target. `runner/tests/fuzz_corpus.rs` runs the same on what has been found,
//! without a fuzzer.

#![allow(clippy::unwrap_used, clippy::panic)]
// Each target uses one of them.
#![allow(dead_code)]

use std::{cell::OnceCell, collections::BTreeMap, fs};

use dcd::{
    journal::{BuildDir, Reader, Store},
    output_file,
    pipeline::{
        self,
        expression::{Expression, ExpressionError, Names, Root, StepName, Template, Variables},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Between the files of an input, followed by the path of the next: `=== ci/test.json`.
const NEXT_FILE: &str = "\n=== ";

/// A pipeline, and the files that it uses: it is read, or every error stands in one of its files and can be shown.
pub(crate) fn pipeline(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut files = text.split(NEXT_FILE);
    let root = files.next().unwrap_or_default();
    let others: BTreeMap<&str, &str> = files.filter_map(|file| file.split_once('\n')).collect();
    let mut load = |path: &str| match others.get(path) {
        Some(text) => Ok((*text).to_owned()),
        None => Err("it is not there".to_owned()),
    };
    match pipeline::parse(root, "dcd.json", &mut load) {
        Ok(pipeline) => {
            assert!(!pipeline.steps.is_empty());
            for (at, step) in pipeline.steps.iter().enumerate() {
                assert!(
                    step.needs.iter().all(|needed| *needed < at),
                    "{} needs a later step",
                    step.name.value
                );
                assert!(step.scope < pipeline.scopes.len());
            }
        }
        Err(wrong) => {
            assert!(!wrong.diagnostics.is_empty(), "refused without a reason");
            for (color, width) in [(false, 100), (true, 1)] {
                assert!(!pipeline::render(&wrong.diagnostics, &wrong.sources, color, width).is_empty());
            }
        }
    }
}

/// The value of a variable that no message may show.
const SECRET: &str = "s3cr3t-value";

/// A string as a condition and as a template: it is refused with places within it, or it has a value or an error
/// that shows no values.
pub(crate) fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let matrix = BTreeMap::from([("arch".to_owned(), json!("amd64"))]);
    let steps = |name: &str| match name {
        "build" => StepName::Known,
        "many" => StepName::ManyCombinations("many (amd64)".to_owned()),
        "later" => StepName::NotNeeded,
        _ => StepName::Unknown(Some("build".to_owned())),
    };
    let names = Names { params: &[], matrix: &matrix, steps: &steps, roots: &Root::ALL, place: "`if`" };
    let variables = variables();
    let check = |errors: Vec<ExpressionError>| {
        assert!(!errors.is_empty());
        for error in errors {
            assert!(text.get(error.range.clone()).is_some(), "{error:?}");
        }
    };
    let check_message = |message: String| {
        assert!(!message.contains(SECRET) || text.contains(SECRET), "{message}");
    };
    match Expression::parse(text, &names) {
        Ok(expression) => {
            if let Err(error) = expression.holds(&variables) {
                check_message(error.to_string());
            }
        }
        Err(errors) => check(errors),
    }
    match Template::parse(text, &names) {
        Ok(template) => {
            if let Err(error) = template.render(&variables) {
                check_message(error.to_string());
            }
            let _ = template.render_value(&variables);
        }
        Err(errors) => check(errors),
    }
}

fn variables() -> Variables {
    let values = [
        (Root::Params, json!({})),
        (Root::Env, json!({ "HOME": "/root", "TOKEN": SECRET })),
        (
            Root::Steps,
            json!({ "build": { "outcome": "success", "conclusion": "success", "attempt": 1,
                                         "outputs": { "version": "1.2", "list": SECRET } } }),
        ),
        (Root::Build, json!({ "id": "b", "number": null, "component": "shop", "pipeline": "release" })),
        (Root::Git, json!({ "commit": "c0ffee", "branch": "main", "dirty": false })),
        (Root::Image, json!({})),
        (Root::Matrix, json!({ "arch": "amd64" })),
    ];
    let roots: BTreeMap<&'static str, Value> =
        values.into_iter().map(|(root, value)| (root.name(), value)).collect();
    Variables { roots, ..Variables::default() }
}

/// The file of a step's outputs: what is read from it can be written again, and read as the same.
pub(crate) fn output_file(data: &[u8]) {
    match output_file::parse(data) {
        Ok(outputs) => {
            let mut text = String::new();
            for (key, value) in &outputs {
                let mut end = "END".to_owned();
                while value.contains(&end) {
                    end.push('_');
                }
                text += &format!("{key}<<{end}\n{value}\n{end}\n");
            }
            // A line end of one character is not kept.
            if !outputs.values().any(|value| value.contains('\r')) && text.len() <= output_file::MAX_SIZE {
                let again = output_file::parse(text.as_bytes()).unwrap();
                // An empty block and a block with one empty line are written alike.
                assert_eq!(again, outputs);
            }
        }
        Err(error) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error:?}");
            assert!(!error.help.is_empty());
        }
    }
}

thread_local! {
    /// A build whose journal is written over.
    static BUILD: OnceCell<(TempDir, BuildDir)> = const { OnceCell::new() };
}

/// A journal. What does not begin as one is taken as the bodies of records, each behind its length in two bytes, so
/// that what lies behind the checksums is reached.
pub(crate) fn journal(data: &[u8]) {
    let file = if data.starts_with(b"dcd-") { data.to_vec() } else { framed(data) };
    BUILD.with(|build| {
        let (_, build) = build.get_or_init(|| {
            let memory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
            let (build, _) = Store::at(memory.path()).create_build("build").unwrap();
            (memory, build)
        });
        fs::write(build.journal(), &file).unwrap();
        let records = Reader::open(&build.journal()).map(|mut reader| {
            let mut records = 0;
            while reader.next_record().unwrap().is_some() {
                records += 1;
            }
            (records, reader.torn().is_some())
        });
        // The other way of reading, which unpacks no output, gets as far or farther.
        match (records, build.examine()) {
            (Ok((_, torn)), Ok((_, corruption))) => assert!(torn || corruption.is_none()),
            (Err(_), Err(_)) => {}
            (one, other) => panic!("{one:?} {}", other.is_ok()),
        }
    });
}

fn framed(mut data: &[u8]) -> Vec<u8> {
    let mut file = b"dcd-jrnl\x02\0\0\0".to_vec();
    file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        // A body that is too short is no body at all, whatever its checksum.
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut checked = length.to_vec();
        checked.extend_from_slice(body);
        file.extend_from_slice(&length);
        file.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
        file.extend_from_slice(body);
        data = rest;
    }
    file
}
