//! The forms in which a secret may be printed.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

/// Shorter lines of a secret, and shorter values in other forms than their own, are too common to be masked: half of
/// all output would be gone.
const SHORTEST: usize = 4;

/// Long Base64 is printed in lines of this many characters: by `base64`, and in PEM.
const WIDTHS: [usize; 2] = [76, 64];

/// All byte strings that are to be masked because of `secret`.
pub(super) fn of(secret: &[u8]) -> Vec<Vec<u8>> {
    let whole = secret.trim_ascii();
    if whole.is_empty() {
        return Vec::new();
    }
    let lines = whole.split(|byte| *byte == b'\n' || *byte == b'\r').map(<[u8]>::trim_ascii);
    let mut forms = vec![whole.to_vec()];
    for value in [whole].into_iter().chain(lines).filter(|value| value.len() >= SHORTEST) {
        forms.push(value.to_vec());
        hex(value, &mut forms);
        base64(value, &mut forms);
        url(value, &mut forms);
        json(value, &mut forms);
        markup(value, &mut forms);
        quoted(value, &mut forms);
    }
    forms
}

fn hex(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    let lower: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(lower.to_uppercase().into_bytes());
    forms.push(lower.into_bytes());
}

/// The encoded value, and those characters of it that stay the same when something stands before and behind it:
/// three bytes make four characters, so there are three ways.
fn base64(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    for engine in [&STANDARD, &URL_SAFE] {
        for before in 0..3 {
            let shifted = [&[0; 2][..before], value].concat();
            let encoded = engine.encode(&shifted).into_bytes();
            let plain = encoded.iter().position(|byte| *byte == b'=').unwrap_or(encoded.len());
            // Each character has six bits.
            let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
            let inner = &encoded[first..last];
            for form in [inner, &encoded[first..plain], &encoded[first..]] {
                for width in WIDTHS.into_iter().filter(|width| before == 0 && form.len() > *width) {
                    let lines = form.chunks(width).filter(|line| line.len() >= SHORTEST);
                    forms.extend(lines.map(<[u8]>::to_vec));
                }
                forms.push(form.to_vec());
            }
        }
    }
}

/// With percent signs, by the rules of RFC 3986, of JavaScript's two functions, and of HTML forms.
fn url(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    for (kept, plus) in
        [("-._~", false), ("-._~!'()*", false), ("-._~!'()*;,/?:@&=+$#", false), ("-._*", true)]
    {
        let encode = |digits: &[u8; 16]| {
            let mut encoded = Vec::with_capacity(value.len() * 3);
            for byte in value {
                if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte) {
                    encoded.push(*byte);
                } else if plus && *byte == b' ' {
                    encoded.push(b'+');
                } else {
                    encoded.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
                }
            }
            encoded
        };
        forms.push(encode(b"0123456789ABCDEF"));
        forms.push(encode(b"0123456789abcdef"));
        if plus {
            continue;
        }
        // Spaces only, as `url.replace(" ", "+")` leaves them.
        let spaces: Vec<u8> = value.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect();
        forms.push(spaces);
    }
}

/// Within a JSON string, as most write it, with `\/`, with `\u003c` for what HTML would take, and in ASCII only.
fn json(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    let Ok(text) = std::str::from_utf8(value) else { return };
    let Ok(quoted) = serde_json::to_string(text) else { return };
    let plain = &quoted[1..quoted.len() - 1];
    let html: String =
        plain.chars().map(|c| if "<>&".contains(c) { unicode(c) } else { c.to_string() }).collect();
    let ascii: String =
        plain.chars().map(|c| if c.is_ascii() { c.to_string() } else { unicode(c) }).collect();
    forms.push(plain.replace('/', "\\/").into_bytes());
    forms.push(plain.as_bytes().to_vec());
    forms.push(html.into_bytes());
    forms.push(ascii.replace('/', "\\/").into_bytes());
    forms.push(ascii.into_bytes());
}

/// In XML and HTML, whatever of the five they escape.
fn markup(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    let Ok(text) = std::str::from_utf8(value) else { return };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let double = text.replace('"', "&quot;");
    for apostrophe in ["&apos;", "&#39;", "&#x27;"] {
        forms.push(double.replace('\'', apostrophe).into_bytes());
    }
    forms.push(double.into_bytes());
    forms.push(text.into_bytes());
}

/// Within a shell's quotes, as `set -x` and others print it, and with a backslash before each special character.
fn quoted(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    let Ok(text) = std::str::from_utf8(value) else { return };
    forms.push(text.replace('\'', "'\\''").into_bytes());
    forms.push(text.replace('\'', "'\"'\"'").into_bytes());
    let special = |c: char| c.is_ascii_punctuation() && !"_-./:=@%+,^".contains(c) || c == ' ';
    let escaped = |c: char| if special(c) { format!("\\{c}") } else { c.to_string() };
    forms.push(text.chars().map(escaped).collect::<String>().into_bytes());
}

fn unicode(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}
