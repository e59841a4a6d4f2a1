//! A step type that packs files into a `.tar.gz` or a `.zip`.
//!
//! ```json
//! { "uses": "archive", "with": { "dest": "dist/shop.tar.gz", "files": ["target/release/shop", "README.md"] } }
//! ```
//!
//! The same files always give the same bytes: members are sorted, their time is fixed, their owner is 0, and
//! their mode is 0644 or 0755.

mod config;
mod pack;
mod plan;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::Path;

use dcd_plugin_sdk::{Diagnostic, Error, Help as _, StepContext, StepError, StepOutput, StepType};
use sha2::{Digest, Sha256};
use shared::files::{self, Found};

pub use config::Config;
use pack::{Content, Member, Pack};
pub use plan::Plan;
use plan::{Format, part};

/// The step type.
#[derive(Debug)]
pub struct Archive;

impl StepType for Archive {
    const SUMMARY: &'static str = "Pack files into a tar.gz or zip that is the same every time";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        Plan::new(config).err().unwrap_or_default()
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let plan = Plan::new(&config).map_err(Error::InvalidConfig)?;
        let mtime = mtime(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
        let unfinished = Path::new(&cx.workspace).join(part(&plan.dest));
        let done = pack(&plan, &cx, mtime, &unfinished);
        if done.is_err() {
            // Nobody takes what is half done for the archive.
            let _ = fs::remove_file(&unfinished);
        }
        done
    }
}

dcd_plugin_sdk::export_step!(Archive, asks: {
    fs: "to read the files and to write the archive",
    env: "to take the time from SOURCE_DATE_EPOCH, where it is set",
});

/// The time of every member (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn mtime(epoch: Option<&str>) -> Result<u64, Error> {
    match epoch.filter(|epoch| !epoch.is_empty()) {
        None => Ok(0),
        Some(epoch) => epoch.parse().map_err(|_| {
            Error::other(format!("SOURCE_DATE_EPOCH is {epoch:?}, and not a number of seconds"))
                .help("set it to `git log -1 --format=%ct`, or unset it")
        }),
    }
}

fn pack(plan: &Plan, cx: &StepContext, mtime: u64, unfinished: &Path) -> Result<StepOutput, StepError> {
    let workspace = Path::new(&cx.workspace);
    let found = files::find(workspace, &plan.files, &plan.exclude)?;
    // A pattern that names what is executable and matches nothing is a mistake.
    let executable = files::find(workspace, &plan.executable, &plan.exclude)?;
    let members = members(plan, found)?;
    if let Some(parent) = unfinished.parent() {
        fs::create_dir_all(parent).context(format!("the directory of {:?} cannot be made", plan.dest))?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(unfinished);
    let file = file.context(format!("{:?} cannot be written", plan.dest))?;
    let mut pack = match plan.format {
        Format::TarGz => Pack::tar_gz(file, plan.level, mtime),
        Format::Zip => Pack::zip(file, plan.level, mtime),
    };
    let total = members.len();
    for (done, (name, found)) in members.into_iter().enumerate() {
        if cx.cancelled() {
            return Err(StepError::Cancelled);
        }
        cx.progress(done as u64, total as u64, &name);
        let cannot = format!("{:?} cannot be packed", found.path);
        let content = content(workspace, &found, executable.contains(&found)).context(&cannot)?;
        pack.add(Member { name, content }).context(&cannot)?;
    }
    let cannot = format!("{:?} cannot be written", plan.dest);
    pack.finish().context(&cannot)?;
    let (sha256, size) = digest(unfinished).context(&cannot)?;
    fs::rename(unfinished, workspace.join(&plan.dest)).context(&cannot)?;
    let dest = &plan.dest;
    println!("{dest}: {total} files, {size} bytes, sha256 {sha256}");
    Ok(StepOutput::new()
        .output("path", dest)
        .output("sha256", &sha256)
        .output("size", size)
        .output("files", total)
        .summary(format!("{dest}: {total} files, {size} bytes")))
}

/// By their names in the archive, sorted.
fn members(plan: &Plan, found: Vec<Found>) -> Result<Vec<(String, Found)>, Error> {
    let mut members = Vec::new();
    for found in found {
        let name = plan.name(&found.path).ok_or_else(|| {
            Error::invalid_config("/base", format!("{:?} is not below it", found.path))
                .help("leave `base` out, or name only what is below it")
        })?;
        members.push((name, found));
    }
    members.sort();
    Ok(members)
}

fn content(workspace: &Path, found: &Found, is_executable: bool) -> std::io::Result<Content> {
    let path = workspace.join(&found.path);
    if found.is_link {
        let target = fs::read_link(&path)?;
        let not_text = || std::io::Error::other("what the link says is not UTF-8");
        return Ok(Content::Link(target.to_str().ok_or_else(not_text)?.to_owned()));
    }
    let mut file = File::open(&path)?;
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut head)?;
    // A plugin does not see modes; what a file is shows whether it is meant to be run.
    let is_program = head.starts_with(b"#!") || head == b"\x7fELF";
    let reader = Box::new(std::io::Cursor::new(head).chain(file));
    Ok(Content::File { reader, length, is_executable: is_executable || is_program })
}

fn digest(path: &Path) -> std::io::Result<(String, u64)> {
    let (mut file, mut hash, mut size) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    let digits = hash.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let hex = digits.map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()).collect();
    Ok((hex, size))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn workspace(order: &[&str]) -> std::io::Result<TempDir> {
        let workspace = tempfile::tempdir()?;
        for path in order {
            let path = workspace.path().join(path);
            path.parent().map(fs::create_dir_all).transpose()?;
            let text = if path.ends_with("run") { "#!/bin/sh\n".to_owned() } else { "x".repeat(1000) };
            fs::write(path, text)?;
        }
        std::os::unix::fs::symlink("run", workspace.path().join("bin/link"))?;
        Ok(workspace)
    }

    fn run(workspace: &TempDir, config: &serde_json::Value) -> Result<StepOutput, StepError> {
        let mut cx = StepContext::default();
        cx.workspace = workspace.path().display().to_string();
        Archive::run(dcd_plugin_sdk::parse(&config.to_string())?, cx)
    }

    #[test]
    fn the_same_tree_always_gives_the_same_bytes() -> std::io::Result<()> {
        let one = workspace(&["bin/run", "a.txt", "z/é.txt"])?;
        std::thread::sleep(std::time::Duration::from_millis(20));
        let two = workspace(&["z/é.txt", "a.txt", "bin/run"])?;
        for dest in ["out/x.tar.gz", "x.zip"] {
            let with = json!({ "dest": dest, "files": ["**"], "exclude": ["out", "*.zip"] });
            let sums =
                [&one, &two, &one].map(|tree| run(tree, &with).ok().and_then(|done| done.get("sha256")));
            assert!(sums[0].is_some() && sums[0] == sums[1] && sums[1] == sums[2], "{sums:?}");
            assert!(!one.path().join(part(dest)).exists());
        }
        let bytes = fs::read(one.path().join("x.zip"))?;
        let sum = digest(&one.path().join("x.zip"))?;
        assert_eq!(sum.1, bytes.len() as u64);
        Ok(())
    }

    #[test]
    fn members_have_plain_modes_owners_and_times() -> std::io::Result<()> {
        let tree = workspace(&["bin/run", "a.txt", "tool"])?;
        let with = json!({ "dest": "x.tgz", "files": ["bin", "*.txt", "tool"], "prefix": "p", "executable": ["tool"] });
        assert!(run(&tree, &with).is_ok());
        let mut archive =
            tar::Archive::new(flate2::read::GzDecoder::new(File::open(tree.path().join("x.tgz"))?));
        let mut seen = Vec::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let header = entry.header();
            assert_eq!((header.uid()?, header.gid()?, header.mtime()?), (0, 0, 0));
            let link = entry.link_name()?.map(|link| link.display().to_string()).unwrap_or_default();
            seen.push(format!("{} {:o} {link}", entry.path()?.display(), header.mode()?));
        }
        assert_eq!(seen, ["p/a.txt 644 ", "p/bin/link 777 run", "p/bin/run 755 ", "p/tool 755 "]);
        Ok(())
    }

    #[test]
    fn a_zip_can_be_read_again() -> std::io::Result<()> {
        let tree = workspace(&["bin/run", "d/a.txt"])?;
        let with = json!({ "dest": "x.zip", "files": ["bin/run", "d/a.txt"], "level": 9 });
        assert!(run(&tree, &with).is_ok());
        let mut zip = zip::ZipArchive::new(File::open(tree.path().join("x.zip"))?)?;
        let mut text = String::new();
        zip.by_name("d/a.txt")?.read_to_string(&mut text)?;
        assert_eq!(text.len(), 1000);
        assert_eq!(zip.by_name("bin/run")?.unix_mode().map(|mode| mode & 0o777), Some(0o755));
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_an_error_and_leaves_nothing() -> std::io::Result<()> {
        let tree = workspace(&["bin/run", "a.txt"])?;
        let missing = run(&tree, &json!({ "dest": "x.zip", "files": ["a.txt", "no/*.txt"] }));
        assert!(matches!(missing, Err(StepError::Broken(Error::NotFound(_)))));
        let base = run(&tree, &json!({ "dest": "x.zip", "files": ["a.txt"], "base": "bin" }));
        assert!(matches!(base, Err(StepError::Broken(Error::InvalidConfig(_)))));
        assert!(!tree.path().join("x.zip").exists() && !tree.path().join("x.zip.part").exists());
        Ok(())
    }

    #[test]
    fn the_time_is_that_of_source_date_epoch() {
        assert_eq!(mtime(None), Ok(0));
        assert_eq!(mtime(Some("1700000000")), Ok(1_700_000_000));
        assert!(mtime(Some("yesterday")).is_err());
    }
}
