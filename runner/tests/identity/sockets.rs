//! Sockets that are not there, or not as they should be, and engines behind other addresses.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::harness::{Run, SOCKET, directory, ready};

#[test]
fn absent() {
    if ready() {
        let report = Run::new().socket(None).report();
        assert_eq!(
            report.reason(),
            "There is no Docker socket at /var/run/docker.sock: run the container with -v /var/run/docker.sock:/var/run/docker.sock."
        );
    }
}

#[test]
fn a_directory() {
    if ready() {
        let (_directory, path) = directory();
        // The engine makes a directory of what is not there.
        let missing = format!("{}:{SOCKET}", path.join("missing").display());
        let report = Run::new().socket(Some(missing)).report();
        assert!(
            report.reason().starts_with("/var/run/docker.sock is a directory, not a socket"),
            "{}",
            report.reason()
        );
    }
}

#[test]
fn dead() {
    if ready() {
        let (_directory, path) = directory();
        let socket = path.join("socket");
        drop(UnixListener::bind(&socket).unwrap());
        let report = Run::new().socket(Some(format!("{}:{SOCKET}", socket.display()))).report();
        assert!(report.reason().starts_with("Nothing answers at the Docker socket"), "{}", report.reason());
    }
}

#[test]
fn forbidden() {
    if ready() {
        let group = fs::metadata(SOCKET).unwrap().gid();
        let report = Run::new().with(&["-u", "1000:1000"]).report();
        assert_eq!(
            report.reason(),
            format!(
                "The user 1000 may not use the Docker socket /var/run/docker.sock, which belongs to group {group}: \
                 run the container with --group-add {group}."
            )
        );
    }
}

#[test]
fn read_only() {
    if ready() {
        Run::new().socket(Some(format!("{SOCKET}:{SOCKET}:ro"))).expect("upper_dir");
    }
}

#[test]
fn over_tcp() {
    if !ready() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (client, engine) = (stream.unwrap(), UnixStream::connect(SOCKET).unwrap());
            let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_engine);
                let _ = to_engine.shutdown(Shutdown::Write);
            });
            thread::spawn(move || std::io::copy(&mut &engine, &mut &client));
        }
    });
    let tcp = |host: &str| {
        Run::new().socket(None).with(&["--network", "host", "-e", &format!("DOCKER_HOST={host}")])
    };
    let report = tcp(&format!("tcp://{address}")).expect("upper_dir");
    assert_eq!(report.facts["docker"]["endpoint"], format!("tcp://{address}"));
    let report = tcp("tcp://127.0.0.1:1").report();
    assert!(report.reason().starts_with("Nothing listens at tcp://127.0.0.1:1"), "{}", report.reason());
    let report = tcp("ssh://host").report();
    assert!(report.reason().contains("speaks only unix:///PATH and tcp://HOST:PORT"), "{}", report.reason());
}

#[test]
fn what_is_said_of_the_engine() {
    if ready() {
        let report = Run::new().expect("upper_dir");
        let version = |format: &str| crate::harness::output(&["version", "-f", format]);
        let docker = &report.facts["docker"];
        assert_eq!(docker["version"], version("{{.Server.Version}}"));
        assert_eq!(docker["endpoint"], "unix:///var/run/docker.sock");
    }
}

/// The engine at another socket, as one whose storage driver names no upper directory. Gives the mount.
pub(crate) fn hide_upper_directories(socket: &Path) -> String {
    let listener = UnixListener::bind(socket).unwrap();
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (client, engine) = (stream.unwrap(), UnixStream::connect(SOCKET).unwrap());
            let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_engine);
                let _ = to_engine.shutdown(Shutdown::Write);
            });
            thread::spawn(move || rename_key(engine, client));
        }
    });
    format!("{}:{SOCKET}", socket.display())
}

/// Passes on with `"UpperDir"` under another name of the same length.
fn rename_key(mut from: UnixStream, mut to: UnixStream) {
    const KEY: &[u8] = b"\"UpperDir\"";
    let mut kept = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..length]);
        while let Some(at) = kept.windows(KEY.len()).position(|window| window == KEY) {
            kept[at + 1] = b'X';
        }
        // The beginning of a key may be at the end of what was read.
        let rest = (0..KEY.len()).rev().find(|length| kept.ends_with(&KEY[..*length])).unwrap_or(0);
        let whole = kept.len() - rest;
        if to.write_all(&kept[..whole]).is_err() {
            return;
        }
        kept.drain(..whole);
    }
    let _ = to.write_all(&kept);
    let _ = to.shutdown(Shutdown::Write);
}
