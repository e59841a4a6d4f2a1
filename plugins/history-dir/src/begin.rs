//! Giving numbers.
//!
//! A number is given by linking a finished file to `numbers/<n>`, which succeeds for one writer only. A
//! writer tries the number after the highest, then the next and the next, so there is never a gap.
//!
//! Then `runs/<run id>` is written, then the build's directory. So a run without an index entry can only have
//! a number without a directory; of these there are few, and they are looked through before another number is
//! taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dcd_plugin_sdk::history::{BuildId, Grant, NewBuild};
use dcd_plugin_sdk::{Error, Help as _};

use crate::events::Events;
use crate::layout::{BuildDir, ComponentDir};
use crate::record::{self, Record};
use crate::{files, lease};

pub(crate) fn begin(root: &Path, new: &NewBuild) -> Result<Grant, Error> {
    let component = ComponentDir::new(root, &new.component);
    create(&component.numbers())?;
    restore_index(&component)?;
    let number = match find(&component, &new.run_id)? {
        Some(number) => number,
        None => claim(&component, &Record::new(new)?)?,
    };
    let dir = component.build(number);
    complete(&dir, &new.run_id)?;
    Ok(Grant {
        build: BuildId { component: new.component.clone(), number },
        lease: lease::take(&dir, new.lease_ttl_ms)?,
        next_seq: Events::open(&dir)?.tail(),
    })
}

fn create(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).context(format!("cannot create {}", dir.display()))
}

/// The number that a run has already.
fn find(component: &ComponentDir, run_id: &str) -> Result<Option<u64>, Error> {
    let index = component.run(run_id);
    if let Some(text) = files::read(&index)? {
        let number = text.trim().parse();
        return number.map(Some).map_err(|_| Error::other(format!("{} is damaged", index.display())));
    }
    let complete: BTreeSet<String> = files::names(component.path())?.into_iter().collect();
    for number in component.given()? {
        if !complete.contains(&number.to_string()) && has(&component.build(number), run_id)? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn has(dir: &BuildDir, run_id: &str) -> Result<bool, Error> {
    Ok(record::read_claim(dir)?.is_some_and(|record| record.run_id == run_id))
}

fn claim(component: &ComponentDir, record: &Record) -> Result<u64, Error> {
    let numbers = component.numbers();
    let hidden = files::write_hidden(&files::passing(&component.root)?, &record.to_json()?)?;
    let claimed = claim_with(component, &hidden, &record.run_id);
    _ = fs::remove_file(&hidden);
    let number = claimed?;
    files::sync_dir(&numbers);
    Ok(number)
}

fn claim_with(component: &ComponentDir, hidden: &Path, run_id: &str) -> Result<u64, Error> {
    let mut number = component.given()?.into_iter().max().unwrap_or(0) + 1;
    loop {
        let dir = component.build(number);
        // Over a network a link may have been made though the answer says that it exists: so look whose it
        // is.
        if files::link(hidden, &dir.claim())? || has(&dir, run_id)? {
            return Ok(number);
        }
        number += 1;
    }
}

/// Makes everything that a build has but for its events. Repeatable, and in this order: see above.
fn complete(dir: &BuildDir, run_id: &str) -> Result<(), Error> {
    let index = dir.component.run(run_id);
    if files::read(&index)?.is_none() {
        files::replace(&index, format!("{}\n", dir.number).as_bytes())?;
    }
    create(&dir.events())?;
    if files::read(&dir.record())?.is_none()
        && let Some(record) = record::read_claim(dir)?
    {
        files::replace(&dir.record(), &record.to_json()?)?;
    }
    Ok(())
}

/// Makes `runs` when somebody lost it, from what gave the numbers; the directory appears with all its
/// entries.
fn restore_index(component: &ComponentDir) -> Result<(), Error> {
    let runs = component.runs();
    if runs.is_dir() {
        return Ok(());
    }
    let hidden = component.path().join(format!(".tmp-{}", files::random()?));
    create(&hidden)?;
    for number in component.given()? {
        if let Some(record) = record::read_claim(&component.build(number))? {
            let entry = hidden.join(crate::layout::encode(&record.run_id));
            fs::write(&entry, format!("{number}\n")).context(format!("cannot write {}", entry.display()))?;
        }
    }
    if let Err(error) = fs::rename(&hidden, &runs) {
        _ = fs::remove_dir_all(&hidden);
        // Fine when another writer was quicker.
        if !runs.is_dir() {
            return Err(error).context(format!("cannot create {}", runs.display()));
        }
    }
    Ok(())
}
