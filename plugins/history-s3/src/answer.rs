//! What a server's refusal means, in words that say what to do.

use dcd_plugin_sdk::http::{Response, reason};
use dcd_plugin_sdk::{Error, Fault};
use quick_xml::de::from_str;
use serde::Deserialize;

use crate::config::Place;

/// How much of a server's own words is repeated.
const QUOTED: usize = 200;

/// What the store is asked to do, as an error says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Read,
    Write,
    Delete,
    List,
}

/// An error as S3 writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    message: String,
    region: String,
}

impl Refusal {
    /// Reads what it can of an answer.
    pub(crate) fn of(response: &Response) -> Self {
        response.text().ok().and_then(|text| from_str(text).ok()).unwrap_or_default()
    }
}

impl Doing {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    fn rights(self) -> &'static str {
        match self {
            // Without the right to list, what is not there is answered with 403.
            Self::Read => "s3:GetObject on the objects, and s3:ListBucket on the bucket",
            Self::Write => "s3:PutObject on the objects",
            Self::Delete => "s3:DeleteObject on the objects",
            Self::List => "s3:ListBucket on the bucket",
        }
    }
}

/// The error that an answer is, which is neither a success nor expected.
pub(crate) fn error(place: &Place, doing: Doing, key: &str, response: &Response) -> Error {
    let refusal = Refusal::of(response);
    let status = response.status();
    let (verb, bucket, origin) = (doing.verb(), &place.bucket, &place.origin);
    let said = |message: String| {
        let code = if refusal.code.is_empty() { status.to_string() } else { refusal.code.clone() };
        Fault::new(message).code(format!("s3/{}", clipped(&code)))
    };
    match (status, refusal.code.as_str()) {
        (_, "NoSuchBucket") => Error::NotFound(
            said(format!("there is no bucket {bucket} at {origin}"))
                .help(format!("make it: {}", place.make_bucket())),
        ),
        (_, "SignatureDoesNotMatch") => Error::Denied(
            said(format!("{origin} does not accept the signature: the secret key is not that of the access key"))
                .help("check AWS_SECRET_ACCESS_KEY; and that no proxy on the way changes requests"),
        ),
        (_, "InvalidAccessKeyId" | "NotSignedUp") => Error::Denied(
            said(format!("{origin} does not know the access key")).help(
                "check AWS_ACCESS_KEY_ID; a key that begins with ASIA needs AWS_SESSION_TOKEN, and only holds for a while",
            ),
        ),
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "ExpiredTokenException") => {
            Error::Denied(
                said(format!("{origin} does not accept the session token: it ran out, or belongs to another key"))
                    .help("get new credentials, and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"),
            )
        }
        (_, "RequestTimeTooSkewed") => Error::Denied(
            said(format!("{origin} says that the request's time is too far from its own"))
                .help("set the clocks of this machine and of the server"),
        ),
        (301 | 307 | 308, _) | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") => {
            wrong_region(place, &refusal, response)
        }
        (501, _) | (_, "NotImplemented") => not_conditional(
            place,
            &format!("it answered {status} {} to one", clipped(&refusal.code)),
        ),
        (401 | 403, _) => Error::Denied(
            said(format!("{origin} does not let these credentials {verb} {key} in the bucket {bucket}{}", quoted(&refusal)))
                .help(format!("the policy must allow {}", doing.rights())),
        ),
        (404, _) => Error::NotFound(said(format!("{origin} has no {key} in the bucket {bucket}{}", quoted(&refusal)))),
        (408 | 409 | 429 | 500.., _) => {
            let mut fault = said(format!("{origin} is busy or has trouble: {}{}", named(status), quoted(&refusal)));
            fault.retry_after_ms = response.retry_after().and_then(|wait| wait.as_millis().try_into().ok());
            Error::Unavailable(fault)
        }
        (_, _) => Error::Other(said(format!("cannot {verb} {key} in the bucket {bucket}: {origin} answered {}{}", named(status), quoted(&refusal)))),
    }
}

fn wrong_region(place: &Place, refusal: &Refusal, response: &Response) -> Error {
    let region = match response.header_value("x-amz-bucket-region") {
        Some(region) => region,
        None => refusal.region.as_str(),
    };
    let (bucket, ours) = (&place.bucket, &place.region);
    if region.is_empty() || region == ours {
        return Error::invalid_config(
            "/endpoint",
            format!("{} sends requests for the bucket {bucket} elsewhere{}", place.origin, quoted(refusal)),
        )
        .help("write the bucket's own `region` and `endpoint`; some stores want \"style\": \"path\", some \"virtual-host\"");
    }
    let region = clipped(region);
    Error::invalid_config("/region", format!("the bucket {bucket} is in the region {region}, not in {ours}"))
        .help(format!("write \"region\": \"{region}\""))
}

/// The refusal of a store that would give a build's number twice.
pub(crate) fn not_conditional(place: &Place, why: &str) -> Error {
    let message = format!(
        "{} does not honour conditional writes ({why}): two builds could get the same number there, so no build is kept in it",
        place.origin
    );
    Error::Other(Fault::new(message).code("s3/not-conditional").help(
        "use a store that does, such as AWS S3, MinIO, Ceph or Cloudflare R2, in a version that knows `If-None-Match: *` \
         and `If-Match` on PUT",
    ))
}

fn named(status: u16) -> String {
    format!("{status} {}", reason(status)).trim_end().to_owned()
}

/// What the server says itself, in brackets; nothing when it says nothing.
fn quoted(refusal: &Refusal) -> String {
    let words: Vec<_> =
        [&refusal.code, &refusal.message].into_iter().filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return String::new();
    }
    format!(" ({})", words.iter().map(|word| clipped(word)).collect::<Vec<_>>().join(": "))
}

fn clipped(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            bucket: "builds".into(),
            region: "us-east-1".into(),
            endpoint: None,
            origin: "https://builds.s3.us-east-1.amazonaws.com".into(),
            base: "/".into(),
            prefix: String::new(),
        }
    }

    fn said(status: u16, code: &str) -> Error {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no &amp; no</Message><Region>eu-west-1</Region></Error>"
        );
        error(&place(), Doing::Read, "builds/shop/1", &Response::new(status).body(body))
    }

    fn help(error: Error) -> String {
        match error {
            Error::Denied(fault)
            | Error::NotFound(fault)
            | Error::Unavailable(fault)
            | Error::Other(fault) => fault.help.unwrap_or_default(),
            Error::InvalidConfig(found) => found[0].help.clone().unwrap_or_default(),
            Error::Unsupported(_) => String::new(),
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        assert!(matches!(said(403, "SignatureDoesNotMatch"), Error::Denied(_)));
        assert!(help(said(404, "NoSuchBucket")).contains("create-bucket --bucket builds --region us-east-1"));
        assert!(help(said(403, "AccessDenied")).contains("s3:ListBucket"));
        assert!(help(said(400, "AuthorizationHeaderMalformed")).contains("eu-west-1"));
        assert!(help(said(301, "PermanentRedirect")).contains("eu-west-1"));
        assert!(matches!(said(503, "SlowDown"), Error::Unavailable(_)));
        assert!(matches!(said(400, "ExpiredToken"), Error::Denied(_)));
        assert!(said(501, "NotImplemented").to_string().contains("does not honour conditional writes"));
        let other = said(400, "InvalidRequest").to_string();
        assert!(other.ends_with("answered 400 Bad Request (InvalidRequest: no & no)"), "{other}");
    }

    #[test]
    fn an_answer_without_words_is_understood() {
        let bare = |status| error(&place(), Doing::Write, "k", &Response::new(status).body("<html>"));
        assert!(matches!(bare(403), Error::Denied(_)));
        assert!(matches!(bare(502), Error::Unavailable(_)));
        let redirected = Response::new(301).header("x-amz-bucket-region", "eu-north-1");
        assert!(help(error(&place(), Doing::Read, "k", &redirected)).contains("eu-north-1"));
        assert!(bare(301).to_string().contains("elsewhere"));
    }
}
