//! Containers of all kinds: is it always one's own that is found?

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::harness::{Program, Removed, Run, SOCKET, directory, output, ready, report_in};
use crate::sockets::hide_upper_directories;

fn by_upper_directory(options: &[&str]) {
    if ready() {
        Run::new().with(options).expect("upper_dir");
    }
}

macro_rules! rows {
    ($($name:ident: $options:expr;)*) => {
        $(#[test] fn $name() { by_upper_directory(&$options); })*
    };
}

rows! {
    by_default: [];
    without_a_network: ["--network", "none"];
    in_the_hosts_network: ["--network", "host"];
    in_the_hosts_ipc: ["--ipc", "host"];
    under_an_init: ["--init"];
    with_a_read_only_root: ["--read-only"];
    with_a_host_name: ["--hostname", "builder"];
    with_the_hosts_name: ["--uts", "host"];
    among_the_hosts_processes: ["--pid", "host"];
    under_another_cgroup: ["--cgroup-parent", "/ci"];
    in_a_private_cgroup_namespace: ["--cgroupns", "private"];
    with_a_spoofed_variable: ["-e", "HOSTNAME=0123456789ab"];
    with_temporary_file_systems: ["--tmpfs", "/tmp", "--tmpfs", "/run"];
    with_all_of_that: ["--cgroupns", "private", "--hostname", "x", "--read-only", "--tmpfs", "/tmp", "--pid", "host"];
}

#[test]
fn as_another_user() {
    if ready() {
        let group = fs::metadata(SOCKET).unwrap().gid().to_string();
        Run::new().with(&["-u", "1000", "--group-add", &group]).expect("upper_dir");
    }
}

/// Somebody else's container, whose network is shared.
fn other() -> Removed {
    Removed(output(&["run", "-d", crate::harness::IMAGE, "sleep", "300"]))
}

#[test]
fn in_the_network_of_another_container() {
    if !ready() {
        return;
    }
    let other = other();
    let network = format!("container:{}", other.0);
    Run::new().with(&["--network", &network]).expect("upper_dir");
    // Then all that the process sees names the other.
    Run::new().with(&["--network", &network, "--cgroupns", "private"]).expect("upper_dir");
}

#[test]
fn with_the_engines_files_covered() {
    if !ready() {
        return;
    }
    let (_directory, path) = directory();
    let mut options =
        vec!["--cgroupns".to_owned(), "private".to_owned(), "--hostname".to_owned(), "x".to_owned()];
    for name in ["hostname", "hosts", "resolv.conf"] {
        fs::write(path.join(name), "").unwrap();
        options.extend(["-v".to_owned(), format!("{}:/etc/{name}", path.join(name).display())]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    // No candidate at all: only comparing with every container finds it.
    Run::new().with(&options).expect("upper_dir");
    Run::new().with(&options[4..]).expect("upper_dir");
}

#[test]
fn nested_through_the_socket() {
    if !ready() {
        return;
    }
    let which = std::process::Command::new("sh").args(["-c", "command -v docker"]).output().unwrap();
    let client = format!("{}:/usr/bin/docker:ro", String::from_utf8(which.stdout).unwrap().trim());
    let inner = Run::new().arguments();
    let outer = Removed(output(&[
        "run",
        "-d",
        "-v",
        &client,
        "-v",
        &format!("{SOCKET}:{SOCKET}"),
        crate::harness::IMAGE,
        "sleep",
        "300",
    ]));
    let mut command = vec!["exec", outer.0.as_str(), "docker", "run", "--cidfile", "/id"];
    command.extend(inner.iter().map(String::as_str));
    let facts = report_in(&output(&command));
    let id = Removed(output(&["exec", &outer.0, "cat", "/id"]));
    assert_eq!(facts["container"]["id"], id.0.as_str());
    assert_eq!(facts["container"]["verified_by"], "upper_dir");
}

#[test]
fn on_an_engine_that_names_no_upper_directory() {
    if !ready() {
        return;
    }
    let (_directory, path) = directory();
    let mount = hide_upper_directories(&path.join("socket"));
    let run = || Run::new().socket(Some(mount.clone()));
    run().expect("random_file");
    run().with(&["-u", "1000", "--group-add", "0"]).expect("random_file");
    run().with(&["--tmpfs", "/tmp"]).expect("random_file");
    let other = other();
    let network = format!("container:{}", other.0);
    run().with(&["--network", &network, "--cgroupns", "private"]).expect("random_file");
    run().with(&["--cgroupns", "private", "--hostname", "x", "--network", "none"]).expect("random_file");
    // There is no place for a file then.
    run().with(&["--read-only", "--tmpfs", "/tmp"]).expect("unverified");
}

#[test]
fn the_program_can_be_started_anywhere() {
    let program = Program::this();
    assert!(program.mounts[0].ends_with(":/t/identity:ro") && program.command.contains(&"inside".to_owned()));
}
