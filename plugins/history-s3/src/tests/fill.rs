//! Not a test: fills a directory as a bucket of many builds, for measurements. `scripts/servers/fill-s3` calls it.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::index::Index;
use crate::layout::SEGMENT;
use crate::record::Entry;

/// How many builds a day has: the last month of a component is some 8,000.
const A_DAY: u64 = 270;
const DAY: u64 = 24 * 60 * 60 * 1000;
/// How many of the newest builds are in no segment, as between two times that builds are moved.
const LOOSE: u64 = 13;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
#[ignore = "writes many files where DCD_FILL_DIR says"]
fn fill() -> Tested {
    let dir = PathBuf::from(variable("DCD_FILL_DIR").ok_or_else(|| Error::other("DCD_FILL_DIR is not set"))?);
    let many = variable("DCD_FILL_BUILDS").and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let records = variable("DCD_FILL_RECORDS").and_then(|text| text.parse().ok()).unwrap_or(1000);
    let components = variable("DCD_FILL_COMPONENTS").unwrap_or_else(|| "shop".into());
    for component in components.split(',') {
        component_of(&dir, component, many, records)?;
    }
    write(&dir, layout::PROOF, b"filled\n")
}

fn component_of(dir: &Path, component: &str, many: u64, records: u64) -> Tested {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    let through = many.saturating_sub(LOOSE);
    let mut index = Index::new(component);
    (index.highest, index.through) = (many, through);
    let mut entries: Vec<Entry> = Vec::new();
    let bucket = Bucket::default().open()?;
    for number in 1..=many {
        let record = record(&bucket, component, number, now - (many - number) * DAY / A_DAY)?;
        if number + records > many || number > through {
            write(dir, &layout::build(component, number), &document::to_json(&record)?)?;
        }
        if number <= through {
            entries.push(record.entry());
        }
        if (number.is_multiple_of(SEGMENT) || number == through) && !entries.is_empty() {
            let segment = layout::segment_of(entries[0].number);
            write(dir, &layout::segment(component, segment), &segment::write(entries.iter())?)?;
            index.widen(segment, &entries);
            entries.clear();
        }
    }
    write(dir, &layout::component(component), &document::to_json(&index)?)
}

/// A build with about as much metadata (1 KB) and summary (1.5 KB) as one of ten steps has.
fn record(bucket: &HistoryS3, component: &str, number: u64, started_at: u64) -> Result<Record, Error> {
    let digest = |salt: u64| {
        let mixed = (number + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{mixed:016x}{:016x}{:08x}", mixed.rotate_left(17), mixed >> 32)
    };
    let branch = if number.is_multiple_of(7) { format!("topic-{}", number % 40) } else { "main".into() };
    let user = ["anna", "bea", "cleo", "dora"][usize::try_from(number % 4).unwrap_or_default()];
    let metadata = serde_json::json!({
        "pipeline": "dcd", "commit": digest(1), "tree": digest(2), "branch": branch, "dirty": false,
        "user": format!("{user}@example.com"), "host": format!("{user}-laptop"), "version": "0.1.0",
        "image_digest": format!("sha256:{}{}", digest(3), &digest(4)[..24]),
        "definition_sha256": format!("{}{}", digest(5), &digest(6)[..24]),
        "params": { "target": "staging", "region": "eu-central-1" },
        "message": "Say in the release notes what changed for those who run the service, and why it had to be so. ".repeat(3),
        "plugins": [{ "name": "history-s3", "version": "0.1.0", "sha256": digest(7) }],
    });
    let step = |step: u64| {
        serde_json::json!({
            "name": format!("step-{step}"), "outcome": "success", "conclusion": "success",
            "started_at": started_at + step * 4000, "duration_ms": 3000 + (number * step) % 977, "attempts": 1,
        })
    };
    let summary = serde_json::json!({ "steps": (0..10).map(step).collect::<Vec<_>>() });
    let run_id = format!("{:08x}-{:04x}-7000-8000-{:012x}", number, number % 0xffff, started_at);
    let new = NewBuild { metadata: metadata.to_string(), ..new_build(component, &run_id, started_at) };
    let mut record = Record::new(&new, number, started_at)?;
    let status = if number.is_multiple_of(9) { Status::Failure } else { Status::Success };
    let lease = record.lease.token.clone();
    write::finish(
        &bucket.store,
        &mut record,
        &lease,
        0,
        (status, started_at + 45_000, &summary.to_string()),
    )?;
    Ok(record)
}

fn write(dir: &Path, key: &str, bytes: &[u8]) -> Tested {
    let path = dir.join(key);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(fs::write(path, bytes)?)
}
