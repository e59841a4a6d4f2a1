//! Sizes as people write them: `512KiB`, `64MiB`, `1GiB`.

/// The units, from the greatest.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a size in bytes. The error is a phrase that says what is wrong with `text` and what to write instead.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a number".to_owned());
    }
    if unit.is_empty() {
        return Err(format!("`{number}` has no unit; write \"{number}MiB\", or \"{number}B\" for bytes"));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(number, unit));
    };
    match number.parse::<u64>().ok().and_then(|count| count.checked_mul(*factor)) {
        Some(0) => Err("it is zero".to_owned()),
        Some(size) => Ok(size),
        None => Err("it is more than any machine has".to_owned()),
    }
}

/// Writes a size as [`parse`] reads it.
pub fn format(size: u64) -> String {
    let (name, factor) = UNITS.iter().find(|(_, factor)| size.is_multiple_of(*factor)).unwrap_or(&("B", 1));
    format!("{}{name}", size / factor)
}

fn unknown_unit(number: &str, unit: &str) -> String {
    if unit.starts_with(['.', ',']) {
        return "it has a fraction; write a whole number of a smaller unit".to_owned();
    }
    let first = unit.trim_start().chars().next().unwrap_or_default().to_ascii_uppercase();
    let meant = UNITS.iter().map(|(name, _)| *name).find(|name| name.starts_with(first));
    match meant {
        Some(meant) => format!("its unit is not known; write \"{number}{meant}\""),
        None => "its unit is not known; the units are B, KiB, MiB and GiB".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{format, parse};

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        for (text, size) in [("1B", 1), ("512KiB", 512 << 10), ("64MiB", 64 << 20), ("4GiB", 4 << 30)] {
            assert_eq!(parse(text), Ok(size), "{text}");
            assert_eq!(format(size), text);
        }
    }

    #[test]
    fn says_what_is_wrong_and_what_to_write() {
        for (text, message) in [
            ("", "it does not begin with a number"),
            ("-5MiB", "it does not begin with a number"),
            ("64", "`64` has no unit; write \"64MiB\", or \"64B\" for bytes"),
            ("64MB", "its unit is not known; write \"64MiB\""),
            ("64 MiB", "its unit is not known; write \"64MiB\""),
            ("64k", "its unit is not known; write \"64KiB\""),
            ("1.5GiB", "it has a fraction; write a whole number of a smaller unit"),
            ("64x", "its unit is not known; the units are B, KiB, MiB and GiB"),
            ("0MiB", "it is zero"),
            ("99999999999GiB", "it is more than any machine has"),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(size in 1..=u64::MAX) {
            prop_assert_eq!(parse(&format(size)), Ok(size));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9KMGiB. -]{0,12}") {
            if let Ok(size) = parse(&text) {
                prop_assert_eq!(parse(&format(size)), Ok(size));
            }
        }
    }
}
