//! Names as parts of paths and of keys.

use std::fmt::Write as _;

/// A name as one part that no store and no person misunderstands: everything but letters, digits, `-`, `_` and inner dots
/// becomes `escape` and two hex digits. `escape` is one of the others.
pub fn encode(name: &str, escape: char) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(byte.into()),
            // A leading dot hides a file; and `.` and `..` mean something else in a path.
            b'.' if index > 0 => encoded.push('.'),
            // Writing to a string cannot fail.
            _ => _ = write!(encoded, "{escape}{byte:02X}"),
        }
    }
    encoded
}

/// The name that [`encode`] made a part of; none for other text.
pub fn decode(part: &str, escape: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((plain, escaped)) = rest.split_once(escape) {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(escaped.get(..2)?, 16).ok()?);
        rest = escaped.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok().filter(|name| encode(name, escape) == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_part_and_come_back() {
        for escape in ['%', '~'] {
            for name in ["shop", "team/shop", "..", ".hidden", "a b%c~", "grüezi", "v1.2", "deploy to prod"]
            {
                let part = encode(name, escape);
                assert!(!part.contains('/') && !part.starts_with('.'), "{part}");
                assert_eq!(decode(&part, escape).as_deref(), Some(name));
            }
        }
        for other in [".tmp-12", "%2", "%zz", "%61", "a b", "~7E"] {
            assert_eq!(decode(other, '%'), None, "{other}");
        }
    }
}
