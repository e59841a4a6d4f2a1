//! What the commands that choose builds share.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{event::UnixMs, report::Summary, text::harmless_line};

/// So many days before now.
pub(super) fn days_ago(days: UnixMs) -> UnixMs {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = UnixMs::try_from(now.as_millis()).unwrap_or(UnixMs::MAX);
    now.saturating_sub(days.saturating_mul(24 * 60 * 60 * 1000))
}

/// `shop #7 (ID)`
pub(super) fn label(build: &Summary) -> String {
    let number = build.number.map_or_else(|| "(number pending)".to_owned(), |number| format!("#{number}"));
    harmless_line(&format!("{} {number} ({})", build.component, build.id))
}

/// Which build, for programs.
pub(super) fn name(build: &Summary) -> Value {
    json!({ "id": build.id, "number": build.number, "component": build.component })
}

/// `1 build`, `2 builds`
pub(super) fn count(builds: usize) -> String {
    if builds == 1 { "1 build".to_owned() } else { format!("{builds} builds") }
}

/// Bytes as a person says them: `340 bytes`, `1.2 MB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
