//! The machine, and who asked for the build. All of it is read from files; nothing is started.

use std::fs;
use std::thread::available_parallelism;

use crate::facts::{Fact, Host, User};

/// The machine as this process sees it: in a container, the name and the distribution are the container's.
pub fn host() -> Fact<Host> {
    let uname = rustix::system::uname();
    let read =
        |path: &str| fs::read_to_string(path).map_err(|error| format!("{path} could not be read: {error}."));
    let fact = |text: Result<String, String>, parse: fn(&str) -> Option<String>, missing: &str| match text {
        Ok(text) => parse(&text).map_or_else(|| Fact::absent(missing), Fact::Known),
        Err(reason) => Fact::Absent(reason),
    };
    let os_release =
        read("/etc/os-release").or_else(|reason| read("/usr/lib/os-release").map_err(|_| reason));
    let memory = match read("/proc/meminfo") {
        Ok(text) => {
            memory_of(&text).map_or_else(|| Fact::absent("/proc/meminfo has no MemTotal."), Fact::Known)
        }
        Err(reason) => Fact::Absent(reason),
    };
    Fact::Known(Host {
        name: uname.nodename().to_string_lossy().into_owned(),
        os: fact(os_release, os_of, "/etc/os-release does not name the distribution."),
        kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        architecture: uname.machine().to_string_lossy().into_owned(),
        cpu: fact(read("/proc/cpuinfo"), cpu_of, "/proc/cpuinfo does not name the processor."),
        cpus: available_parallelism().map_or(1, |count| count.get() as u64),
        memory_bytes: memory,
    })
}

/// Who asked: `DCD_USER`, which the wrapper script passes into the container, else git's mail
/// address, else the account, which in a container is mostly root and says little.
pub fn user(git_email: Option<String>) -> Fact<User> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Fact::Known(user_of(
        std::env::var("DCD_USER").ok(),
        git_email,
        &accounts,
        rustix::process::getuid().as_raw(),
    ))
}

fn user_of(dcd_user: Option<String>, git_email: Option<String>, accounts: &str, uid: u32) -> User {
    let given =
        |name: Option<String>| name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if let Some(name) = given(dcd_user) {
        return User { name, source: "DCD_USER".to_owned() };
    }
    if let Some(name) = given(git_email) {
        return User { name, source: "git user.email".to_owned() };
    }
    let name = account_of(accounts, uid).unwrap_or_else(|| format!("uid {uid}"));
    User { name, source: "account".to_owned() }
}

/// See passwd(5): `NAME:PASSWORD:UID:GID:...`.
fn account_of(accounts: &str, uid: u32) -> Option<String> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// `PRETTY_NAME`, else `NAME`; see os-release(5).
fn os_of(text: &str) -> Option<String> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
        let line = line.trim();
        let bare =
            line.strip_prefix(['"', '\'']).and_then(|rest| rest.strip_suffix(['"', '\''])).unwrap_or(line);
        let bare = bare.replace("\\\"", "\"").replace("\\$", "$").replace("\\\\", "\\");
        (!bare.is_empty()).then_some(bare)
    };
    value("PRETTY_NAME").or_else(|| value("NAME"))
}

/// On x86 each processor has a `model name`; ARM's kernels give none, some boards a `Model`.
fn cpu_of(text: &str) -> Option<String> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            (name.trim() == key && !value.is_empty()).then(|| value.to_owned())
        })
    };
    ["model name", "Model", "Hardware", "cpu model", "cpu"].into_iter().find_map(value)
}

fn memory_of(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_machine() {
        let host = host();
        let host = host.known().unwrap();
        assert!(host.kernel.starts_with("Linux "), "{host:?}");
        assert!(host.cpus > 0 && host.memory_bytes.known().is_some_and(|bytes| *bytes > 1 << 20), "{host:?}");
    }

    #[test]
    fn distributions() {
        assert_eq!(
            os_of("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n").as_deref(),
            Some("Debian GNU/Linux 12 (bookworm)")
        );
        assert_eq!(os_of("NAME='Arch Linux'\n").as_deref(), Some("Arch Linux"));
        assert_eq!(os_of("ID=x\n"), None);
    }

    #[test]
    fn processors_and_memory() {
        let text = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R)\n";
        assert_eq!(cpu_of(text).as_deref(), Some("Intel(R) Xeon(R)"));
        assert_eq!(cpu_of("Model\t\t: Raspberry Pi 5\n").as_deref(), Some("Raspberry Pi 5"));
        assert_eq!(cpu_of("processor\t: 0\n"), None);
        assert_eq!(memory_of("MemTotal:       24679340 kB\nMemFree: 1 kB\n"), Some(24_679_340 * 1024));
        assert_eq!(memory_of("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn who_asked() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        let some = |text: &str| Some(text.to_owned());
        for (dcd_user, email, uid, name, source) in [
            (some("ada"), some("a@x"), 0, "ada", "DCD_USER"),
            (some(" "), some("a@x"), 0, "a@x", "git user.email"),
            (None, None, 1000, "ada", "account"),
            (None, None, 4711, "uid 4711", "account"),
        ] {
            assert_eq!(
                user_of(dcd_user, email, accounts, uid),
                User { name: name.to_owned(), source: source.to_owned() }
            );
        }
    }
}
