//! Durations as people write them: `90s`, `10m`, `1h30m`, `500ms`.

use std::time::Duration;

/// The units, from the greatest; a duration names each at most once, in this order.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Timers overflow far above this; nobody waits that long for a build.
const MAX_MS: u64 = 365 * 24 * 3_600_000;

/// What people write where a unit is meant, and the unit.
const LOOKALIKES: [(&str, &str); 18] = [
    ("hour", "h"),
    ("hours", "h"),
    ("hr", "h"),
    ("hrs", "h"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("msec", "ms"),
    ("msecs", "ms"),
    ("millis", "ms"),
    ("millisecond", "ms"),
    ("milliseconds", "ms"),
    ("mss", "ms"),
];

/// Reads a duration. The error is a phrase that says what is wrong with `text` and what to write instead.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(char::is_whitespace) {
        let closed: String = text.split_whitespace().collect();
        return Err(match parse(&closed) {
            Ok(_) => format!("it has spaces; write \"{closed}\""),
            Err(_) => "it has spaces".to_owned(),
        });
    }
    if text.starts_with(['-', '+']) {
        return Err("it has a sign".to_owned());
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut greatest_allowed = 0;
    while !rest.is_empty() {
        let (number, unit, after) = split_part(rest)?;
        let place =
            UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(|| unknown_unit(number, unit))?;
        if place < greatest_allowed {
            return Err(format!("`{unit}` is out of order; the units go h, m, s, ms, each once"));
        }
        greatest_allowed = place + 1;
        let part = number.parse::<u64>().ok().and_then(|count| count.checked_mul(UNITS[place].1));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_MS)
            .ok_or("it is longer than a year (8760h)")?;
        rest = after;
    }
    if total == 0 { Err("it is zero".to_owned()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes a duration as [`parse`] reads it. What is finer than a millisecond is cut off.
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, length) in UNITS {
        if rest >= length {
            text.push_str(&(rest / length).to_string());
            text.push_str(name);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The first number, its unit, and what comes after them.
fn split_part(text: &str) -> Result<(&str, &str, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, after_number) = text.split_at(digits);
    if after_number.starts_with(['.', ',']) {
        return Err(
            "it has a fraction; write whole numbers, such as \"1h30m\" for an hour and a half".to_owned()
        );
    }
    let letters = after_number.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after_number.len());
    let (unit, after) = after_number.split_at(letters);
    match (number, unit) {
        ("", _) => Err(format!("a number is missing before `{unit}`")),
        (_, "") if text.len() == digits => Err(format!(
            "`{number}` has no unit; write \"{number}s\" for seconds or \"{number}m\" for minutes"
        )),
        _ => Ok((number, unit, after)),
    }
}

fn unknown_unit(number: &str, unit: &str) -> String {
    let lower = unit.to_lowercase();
    if lower == "d" || lower.starts_with("day") {
        let hours = number.parse::<u64>().ok().and_then(|days| days.checked_mul(24));
        return match hours {
            Some(hours) => format!("days are not a unit; write \"{hours}h\""),
            None => "days are not a unit; write hours".to_owned(),
        };
    }
    let meant = UNITS
        .iter()
        .map(|(name, _)| *name)
        .find(|name| *name == lower)
        .or_else(|| LOOKALIKES.iter().find(|(typed, _)| *typed == lower).map(|(_, unit)| *unit));
    match meant {
        Some(meant) => format!("`{unit}` is not a unit; did you mean `{meant}`?"),
        None => {
            format!("`{}` is not a unit; the units are h, m, s and ms", super::diagnostic::printable(unit))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::{MAX_MS, format, parse};

    #[test]
    fn reads_what_the_documentation_shows() {
        for (text, ms) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h2m3s4ms", 3_723_004),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_what_to_write() {
        for (text, message) in [
            ("", "it is empty"),
            ("600", "`600` has no unit; write \"600s\" for seconds or \"600m\" for minutes"),
            ("10min", "`min` is not a unit; did you mean `m`?"),
            ("10M", "`M` is not a unit; did you mean `m`?"),
            ("2d", "days are not a unit; write \"48h\""),
            ("10 m", "it has spaces; write \"10m\""),
            ("ten minutes", "it has spaces"),
            ("m", "a number is missing before `m`"),
            ("1.5h", "it has a fraction; write whole numbers, such as \"1h30m\" for an hour and a half"),
            ("-5s", "it has a sign"),
            ("0s", "it is zero"),
            ("30m1h", "`h` is out of order; the units go h, m, s, ms, each once"),
            ("1m1m", "`m` is out of order; the units go h, m, s, ms, each once"),
            ("9000h", "it is longer than a year (8760h)"),
            ("99999999999999999999h", "it is longer than a year (8760h)"),
            ("5x", "`x` is not a unit; the units are h, m, s and ms"),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 1..=MAX_MS) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9hms. -]{0,12}") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&format(duration)), Ok(duration));
            }
        }
    }
}
