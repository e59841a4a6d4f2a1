//! AWS Signature Version 4, for the one form of request that there is: a POST to `/` without a query.
//!
//! By hand, since `aws-sigv4` would bring forty packages, an async runtime among them, for a chain of HMACs.

use std::fmt::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "dynamodb";

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    /// With temporary credentials only.
    pub(crate) session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsigned<'a> {
    pub(crate) host: &'a str,
    pub(crate) region: &'a str,
    /// The header `x-amz-target`.
    pub(crate) target: &'a str,
    pub(crate) body: &'a [u8],
    /// When, in milliseconds since the epoch, by the server's clock.
    pub(crate) at: u64,
}

/// The headers of a request, without `host`.
pub(crate) fn headers(request: Unsigned<'_>, credentials: &Credentials) -> Vec<(&'static str, String)> {
    let time = amz_date(request.at);
    let day = &time[..8];
    let mut headers =
        vec![("content-type", "application/x-amz-json-1.0".to_owned()), ("x-amz-date", time.clone())];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.clone()));
    }
    headers.push(("x-amz-target", request.target.to_owned()));

    let (mut canonical, mut names) = (String::new(), String::new());
    // In the order of the alphabet, as the rest is already.
    let host = ("host", request.host.to_owned());
    for (name, value) in headers.iter().take(1).chain([&host]).chain(headers.iter().skip(1)) {
        _ = writeln!(canonical, "{name}:{}", value.trim());
        _ = write!(names, "{}{name}", if names.is_empty() { "" } else { ";" });
    }
    let body = hex(&Sha256::digest(request.body));
    let canonical = hex(&Sha256::digest(format!("POST\n/\n\n{canonical}\n{names}\n{body}")));
    let scope = format!("{day}/{}/{SERVICE}/aws4_request", request.region);

    let secret = format!("AWS4{}", credentials.secret_access_key);
    let key = [day, request.region, SERVICE, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, format!("{ALGORITHM}\n{time}\n{scope}\n{canonical}").as_bytes()));
    let id = &credentials.access_key_id;
    headers.push((
        "authorization",
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
    ));
    headers
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// `20261126T225007Z`.
fn amz_date(ms: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // `Thu, 26 Nov 2026 22:50:07 GMT`
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms));
    let month = MONTHS.iter().position(|month| *month == &date[8..11]).unwrap_or_default() + 1;
    format!("{}{month:02}{}T{}Z", &date[12..16], &date[5..7], date[17..25].replace(':', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 1_795_733_407_000;

    fn authorization(host: &str, region: &str, body: &[u8], secret: &str, token: Option<&str>) -> String {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: secret.into(),
            session_token: token.map(str::to_owned),
        };
        let request = Unsigned { host, region, target: "DynamoDB_20120810.GetItem", body, at: AT };
        headers(request, &credentials).pop().map(|(_, value)| value).unwrap_or_default()
    }

    #[test]
    fn signatures_are_those_of_botocore() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let (host, region) = ("dynamodb.eu-central-1.amazonaws.com", "eu-central-1");
        let body = br#"{"TableName":"builds"}"#;
        assert_eq!(
            authorization(host, region, body, secret, None),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=c74457beadda724951f60e0e21d625651b485d4941e839b26f3cefa1170da202"
        );
        assert_eq!(
            authorization(host, region, body, secret, Some("AQoDYXdzEPT//////////wEXAMPLE+token=")),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
             Signature=21de66f5504557a8e75da8b1635fab51485e07bef4fde53e04aba1e423982ed7"
        );
        assert!(
            authorization("127.0.0.1:5580", "us-east-1", b"{}", "k", None)
                .ends_with("Signature=b418d16695e12e1d434874db49fa4ffa3afcdc14cbd433e9f55a54f37299b218")
        );
    }

    #[test]
    fn dates_are_written_as_aws_wants_them() {
        assert_eq!(amz_date(AT), "20261126T225007Z");
        assert_eq!(amz_date(0), "19700101T000000Z");
    }
}
