//! `dcd history export`

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tar::{Builder, Header};

use super::{
    archive::{self, LIST, List, Listed, VERSION},
    records::{End, Records},
    selection::{count, label, name, size},
};
use crate::{
    chain::Verifier,
    cli::ExportArgs,
    commands::{
        builds::{Builds, Criteria, Found},
        output::{print, print_json, warn},
    },
    error::{CommandError, Exit},
    journal::{Encoder, header},
    report::Summary,
};

pub(super) fn export(args: &ExportArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let chosen = chosen(&mut builds, args)?;
    if chosen.is_empty() {
        return Err(CommandError::usage("no build fits", "`dcd history list` shows which builds there are"));
    }
    let unfinished = Unfinished::beside(&args.output);
    let bytes = write(&mut builds, &chosen, &unfinished)?;
    fs::rename(&unfinished.archive, &args.output).map_err(|error| cannot_write(&args.output, &error))?;
    if args.json {
        let builds = chosen.iter().map(name).collect::<Value>();
        print_json(&json!({ "file": args.output, "bytes": bytes, "builds": builds }))?;
    } else {
        let file = args.output.display();
        print(&format!("wrote {} into {file}, {}\n", count(chosen.len()), size(bytes)))?;
    }
    Ok(Exit::Success)
}

/// The builds, oldest first.
fn chosen(builds: &mut Builds, args: &ExportArgs) -> Result<Vec<Summary>, CommandError> {
    let mut chosen: Vec<Summary> = Vec::new();
    for build in &args.builds {
        let found = match builds.find(build)? {
            Found::Remote(summary) => *summary,
            found @ Found::Local(_) => Summary::of(&builds.read(&found)?),
        };
        if found.outcome.is_none() {
            return Err(CommandError::usage(
                format!("build {build} still runs"),
                "export it when it has ended",
            ));
        }
        if chosen.iter().all(|known| known.id != found.id) {
            chosen.push(found);
        }
    }
    if args.builds.is_empty() {
        let criteria = Criteria::new(&args.filter, args.source.component.clone());
        chosen = builds.all(&criteria)?;
        let (ended, running): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|build| build.outcome.is_some());
        for build in running {
            warn(&format!("{} still runs, and is left out", label(&build)));
        }
        chosen = ended;
    }
    chosen.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
    Ok(chosen)
}

/// What is written until it is whole. Removed with this.
struct Unfinished {
    archive: PathBuf,
    /// A build's journal: a tar says the length of a file before it.
    journal: PathBuf,
}

impl Unfinished {
    fn beside(output: &Path) -> Self {
        let part = |kind: &str| {
            let mut name = output.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.{kind}", std::process::id()));
            output.with_file_name(name)
        };
        Unfinished { archive: part("part"), journal: part("build") }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.archive);
        let _ = fs::remove_file(&self.journal);
    }
}

fn write(builds: &mut Builds, chosen: &[Summary], to: &Unfinished) -> Result<u64, CommandError> {
    let failed = |error: io::Error| cannot_write(&to.archive, &error);
    let file = File::create(&to.archive).map_err(failed)?;
    let mut tar = Builder::new(BufWriter::with_capacity(256 << 10, file));
    let listed = |build: &Summary| Listed {
        id: build.id.clone(),
        number: build.number,
        component: build.component.clone(),
    };
    let list = List { version: VERSION, builds: chosen.iter().map(listed).collect() };
    let list = format!("{:#}\n", json!(list));
    let latest = chosen.iter().map(|build| build.started_at).max().unwrap_or_default();
    tar.append_data(&mut entry(list.len() as u64, latest), LIST, list.as_bytes()).map_err(failed)?;
    for build in chosen {
        let mut journal = journal(builds, build, &to.journal)?;
        let length = journal.metadata().map_err(failed)?.len();
        journal.rewind().map_err(failed)?;
        tar.append_data(&mut entry(length, build.started_at), archive::path(&build.id), journal)
            .map_err(failed)?;
    }
    let out = tar.into_inner().map_err(failed)?;
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    file.stream_position().map_err(failed)
}

fn entry(size: u64, at: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(at / 1000);
    header
}

/// The build's records as a journal, each checked.
fn journal(builds: &mut Builds, build: &Summary, path: &Path) -> Result<File, CommandError> {
    let failed = |error: io::Error| cannot_write(path, &error);
    let damaged = |what: String| {
        CommandError::environment(format!("{} cannot be exported: {what}", label(build)))
            .help(format!("see what is wrong with it: dcd history verify {}", build.id))
    };
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(failed)?;
    let mut out = BufWriter::with_capacity(256 << 10, &file);
    out.write_all(&header()).map_err(failed)?;
    let (mut encoder, mut verifier) = (Encoder::default(), Verifier::default());
    let mut records = Records::open(builds, build)?;
    loop {
        match records.next(builds)? {
            Ok(record) => {
                verifier.check(&record).map_err(|broken| damaged(broken.to_string()))?;
                encoder.clear();
                encoder.copy(&record);
                out.write_all(encoder.records()).map_err(failed)?;
            }
            // Of a lost build a torn end belongs to nothing.
            Err(End::Damaged(_)) if build.finished_at.is_none() => break,
            Err(End::Damaged(what)) => return Err(damaged(what)),
            Err(End::Whole) => break,
        }
    }
    out.flush().map_err(failed)?;
    drop(out);
    Ok(file)
}

fn cannot_write(path: &Path, error: &io::Error) -> CommandError {
    CommandError::environment(format!("{} cannot be written: {error}", path.display()))
}
