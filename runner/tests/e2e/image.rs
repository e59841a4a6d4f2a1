//! What is in the stock image.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::engine::{docker, inspect, output, setup, text_of};

/// `PT_INTERP`: the kernel is to start another program, the dynamic loader, first.
const INTERPRETER: u32 = 3;

fn tar(arguments: &[&str]) -> String {
    text_of(&Command::new("tar").args(arguments).output().unwrap(), &format!("tar {arguments:?}"))
}

#[test]
fn it_holds_the_program_and_nothing_else() {
    let Some(setup) = setup() else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    output(&["save", "-o", &place("image.tar"), &setup.stock]);
    tar(&["-x", "-f", &place("image.tar"), "-C", directory.path().to_str().unwrap()]);
    let manifest: Value = serde_json::from_slice(&fs::read(place("manifest.json")).unwrap()).unwrap();
    let layers: Vec<_> = manifest[0]["Layers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let files: Vec<_> = layers
        .iter()
        .flat_map(|layer| tar(&["-tf", &place(layer)]).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(files, ["dcd"]);
    let listed = tar(&["--numeric-owner", "-tvf", &place(layers[0])]);
    assert!(listed.starts_with("-rwxr-xr-x 0/0 "), "{listed}");

    tar(&["-x", "-f", &place(layers[0]), "-C", directory.path().to_str().unwrap()]);
    assert_static(Path::new(&place("dcd")));
}

/// Needs nothing of the image that it is copied to.
fn assert_static(program: &Path) {
    let elf = fs::read(program).unwrap();
    let number = |at: usize, length: usize| {
        let bytes = elf[at..at + length].iter().rev();
        usize::try_from(bytes.fold(0, |number: u64, byte| number << 8 | u64::from(*byte))).unwrap()
    };
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "a little-endian program of 64 bits");
    let (headers, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let types: Vec<u32> =
        (0..count).map(|index| u32::try_from(number(headers + index * size, 4)).unwrap()).collect();
    assert!(!types.is_empty() && !types.contains(&INTERPRETER), "{types:?}");
}

#[test]
fn it_says_what_it_is() {
    let Some(setup) = setup() else { return };
    let config = &inspect(&setup.stock)["Config"];
    assert_eq!(config["Entrypoint"], serde_json::json!(["/dcd"]));
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("title"), "DistributedCD");
    assert_eq!(label("licenses"), "MIT");
    assert!(label("revision").is_string());
    let version = docker(&["run", "--rm", &setup.stock, "--version"]);
    assert_eq!(text_of(&version, "dcd --version"), format!("dcd {}", env!("CARGO_PKG_VERSION")));
}
