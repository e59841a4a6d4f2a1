//! Text that is safe to print.

use dcd_plugin_sdk::http::{self, Url};

/// How much of an answer is shown.
const SHOWN: usize = 500;

/// A method and a URL to be printed. The names of the query's fields help to find a mistake; their values may
/// be tokens.
pub fn label(method: &str, url: &Url) -> String {
    let query = url.query().map_or(String::new(), |query| {
        let hide = |field: &str| match field.split_once('=') {
            Some((name, _)) => format!("{name}=..."),
            // Without a name all of it may be a token.
            None => "...".to_owned(),
        };
        format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
    });
    format!("{method} {}{}{query}", url.origin(), url.path())
}

/// A status and its usual words.
pub fn named(status: u16) -> String {
    format!("{status} {}", http::reason(status)).trim_end().to_owned()
}

/// The beginning of a body, on one line and without anything that a terminal would act on.
pub fn excerpt(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let plain: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if body.len() > SHOWN { format!("{text}...") } else { text }
}

/// What an answer says, as the end of a sentence.
pub fn answer(body: &[u8]) -> String {
    match excerpt(body) {
        text if text.is_empty() => "the answer has no body".to_owned(),
        text => format!("the answer: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_hides_the_query() {
        let label = Url::parse("https://a/b?token=s3cr3t&s3cr3t").map(|url| label("GET", &url));
        assert_eq!(label, Ok("GET https://a/b?token=...&...".into()));
    }

    #[test]
    fn an_excerpt_is_harmless() {
        assert_eq!(excerpt(b"\x1b[31moh\n no"), "[31moh no");
        assert!(excerpt("x".repeat(600).as_bytes()).ends_with("x..."));
        assert_eq!(answer(b" \n"), "the answer has no body");
    }
}
