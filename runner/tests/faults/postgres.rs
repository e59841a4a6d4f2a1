//! A PostgreSQL of the test's own, behind a network that fails.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use dcd::{
    chain::Hash,
    event::{Payload, Record},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Fault, Kept},
    proxy::{Network, Proxy},
};

/// How long the server may take to start, also when it has to recover.
const START: Duration = Duration::from_mins(1);

/// The server and the network before it. Stopped when it is dropped.
pub(crate) struct Postgres {
    root: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    server: Mutex<Option<Child>>,
    proxy: Proxy,
}

impl Postgres {
    /// Starts one; the error says why there is none.
    pub(crate) fn start() -> Result<Self, String> {
        let programs =
            programs().ok_or("PostgreSQL is not installed (Debian: apt-get install postgresql)")?;
        let root = tempfile::Builder::new().prefix("dcd-faults-pg").tempdir_in("/tmp").unwrap();
        if is_root() {
            // It does not run as root.
            let user =
                user("postgres").ok_or("there is no user postgres, and PostgreSQL does not run as root")?;
            chown(root.path(), Some(user.0), Some(user.1)).unwrap();
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let proxy = Proxy::start(([127, 0, 0, 1], port).into());
        let server = Postgres { root, programs, port, server: Mutex::new(None), proxy };
        let data = server.data();
        let made = server
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "dcd", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.up();
        server.psql("postgres", "CREATE DATABASE dcd");
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// A program of PostgreSQL's, as a user that it runs as.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Starts the server, and waits until it answers.
    fn up(&self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let started = Instant::now();
        let mut server = self.server.lock().unwrap();
        loop {
            if server.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                // While processes of the one before are left, it does not start.
                let mut command = self.command("postgres");
                command.arg("-D").arg(self.data()).args(["-c", "listen_addresses=127.0.0.1"]);
                command.args(["-c", "unix_socket_directories=", "-p", &self.port.to_string()]);
                command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
                *server = Some(command.spawn().unwrap());
            }
            if self.ask("postgres", "SELECT 1").is_ok() {
                return;
            }
            assert!(started.elapsed() < START, "PostgreSQL does not start:\n{}", self.said());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Kills all its processes, so that none ends anything.
    fn kill(&self) {
        let mut server = self.server.lock().unwrap();
        let Some(mut child) = server.take() else { return };
        let children = children(child.id());
        child.kill().unwrap();
        for child in children {
            let _ = kill_process(child, Signal::KILL);
        }
        child.wait().unwrap();
    }

    /// What `pg_ctl stop -m immediate` does.
    fn stop(&self) {
        let mut server = self.server.lock().unwrap();
        let Some(mut child) = server.take() else { return };
        kill_process(Pid::from_child(&child), Signal::QUIT).unwrap();
        child.wait().unwrap();
    }

    fn ask(&self, database: &str, sql: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let output = self
            .command("psql")
            .args([
                "-XqAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "dcd",
                "-d",
                database,
            ])
            .args(["-c", sql])
            .env("PGCONNECT_TIMEOUT", "5")
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn psql(&self, database: &str, sql: &str) -> String {
        self.ask(database, sql).unwrap_or_else(|error| panic!("psql: {error}\n{}", self.said()))
    }

    /// One JSON object a row.
    fn rows(&self, sql: &str) -> Vec<Value> {
        let text = self.psql("dcd", &format!("SELECT to_jsonb(found) FROM ({sql}) AS found"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Backend for Postgres {
    fn plugin(&self) -> &'static str {
        "history-postgres"
    }

    fn described(&self) -> String {
        self.psql("dcd", "SHOW server_version").trim().to_owned()
    }

    fn settings(&self) -> (Value, Value) {
        let place = format!("127.0.0.1:{}", self.proxy.port);
        let with = json!({ "url": format!("postgres://dcd@{place}/dcd"), "connect_timeout": 2 });
        (with, json!({ "tcp": [place] }))
    }

    fn faults(&self) -> Vec<Fault> {
        vec![
            Fault::Refused,
            Fault::Cut,
            Fault::Stalled,
            Fault::Slow,
            Fault::AnswersLost,
            Fault::ServerKilled,
            Fault::ServerStopped,
        ]
    }

    fn suffer(&self, fault: Fault, time: Duration) -> u64 {
        let [reset, lost, held] = self.proxy.harmed();
        let during = |network: Network| {
            self.proxy.set(network);
            thread::sleep(time);
            self.proxy.set(Network::Good);
        };
        match fault {
            Fault::Refused => {
                self.proxy.set(Network::Refusing);
                self.proxy.cut();
                thread::sleep(time);
                self.proxy.set(Network::Good);
                1
            }
            Fault::Cut => {
                let started = Instant::now();
                while started.elapsed() < time {
                    self.proxy.cut();
                    thread::sleep(Duration::from_millis(130));
                }
                self.proxy.harmed()[0] - reset
            }
            Fault::Stalled => {
                during(Network::Silent);
                self.proxy.harmed()[2] - held
            }
            Fault::Slow => {
                during(Network::Late(Duration::from_millis(60)));
                self.proxy.harmed()[2] - held
            }
            Fault::AnswersLost => {
                during(Network::Forgetful);
                self.proxy.harmed()[1] - lost
            }
            Fault::ServerKilled => {
                self.kill();
                thread::sleep(time);
                self.up();
                1
            }
            Fault::ServerStopped => {
                self.stop();
                thread::sleep(time);
                self.up();
                1
            }
            Fault::Gone | Fault::Full => panic!("{fault:?} is none of a server's"),
        }
    }

    fn read(&self) -> Vec<Kept> {
        let builds = self.rows(
            "SELECT id, component, number, run_id, status, next_seq, summary_text FROM dcd.builds ORDER BY id",
        );
        builds.iter().map(|build| self.build(build)).collect()
    }
}

impl Postgres {
    fn build(&self, row: &Value) -> Kept {
        let events = self.rows(&format!(
            "SELECT seq, (extract(epoch FROM at) * 1000)::bigint AS at, kind, step, json, \
             encode(output, 'hex') AS output, encode(hash, 'hex') AS hash \
             FROM dcd.events WHERE build_id = {} ORDER BY seq",
            row["id"]
        ));
        let records: Vec<_> = events.iter().map(record).collect();
        assert_eq!(row["next_seq"], json!(records.len()), "the build's row counts its events: {row}");
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        Kept {
            component: text("component"),
            number: row["number"].as_u64().unwrap(),
            run_id: text("run_id"),
            status: text("status"),
            summary: row["summary_text"].as_str().map(|text| serde_json::from_str(text).unwrap()),
            records,
            // The key of the table is the build and the number of the event.
            doubled: 0,
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn record(row: &Value) -> Record {
    let bytes = |key: &str| row[key].as_str().map(|hex| dcd::text::from_hex(hex).unwrap());
    let payload = match (row["json"].as_str(), bytes("output")) {
        (Some(json), None) => Payload::Json(json.to_owned()),
        (None, Some(output)) => Payload::Bytes(output.into()),
        _ => panic!("neither JSON nor bytes, or both: {row}"),
    };
    Record {
        seq: row["seq"].as_u64().unwrap(),
        at: row["at"].as_u64().unwrap(),
        kind: row["kind"].as_str().unwrap().to_owned(),
        step: row["step"].as_str().map(Into::into),
        payload,
        hash: Hash::from_slice(&bytes("hash").unwrap()).unwrap(),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where the newest of Debian's versions has its programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| number(path))?;
    Some(newest.join("bin")).filter(|programs| programs.join("initdb").exists())
}

/// A user's id and group.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
    Some((ids.next()??, ids.next()??))
}

/// The processes whose parent this one is.
fn children(parent: u32) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
