//! Signing: AWS Signature Version 4, in the headers, with the body's digest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::http::Request;

/// Who asks; `Debug` shows no secret.
pub fn credentials(key: impl Into<String>, secret: impl Into<String>, token: Option<String>) -> Credentials {
    Credentials::new(key, secret, token, None, "dcd")
}

/// A service whose requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Tables.
    DynamoDb,
    /// Objects, whose paths are signed as they are, and whose bodies' digests are sent, too.
    S3,
}

/// Signs a request as of a time, in milliseconds since the epoch by the server's clock.
pub fn signed(
    request: &Request,
    credentials: &Credentials,
    (service, region): (Service, &str),
    at: u64,
) -> Result<Request, Error> {
    // No message of the signer is passed on: it may hold what was signed.
    let wrong = |_| Error::other("the request cannot be signed");
    let mut settings = SigningSettings::default();
    let name = match service {
        Service::DynamoDb => "dynamodb",
        Service::S3 => {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            "s3"
        }
    };
    let identity = credentials.clone().into();
    let time: SystemTime = UNIX_EPOCH + Duration::from_millis(at);
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(name)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| Error::other("the request cannot be signed"))?
        .into();
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = SignableBody::Bytes(request.body_bytes());
    let signable = SignableRequest::new(request.method(), request.url(), headers, body).map_err(wrong)?;
    let (instructions, _) = sign(signable, &parameters).map_err(wrong)?.into_parts();
    let mut signed = request.clone();
    for (name, value) in instructions.headers() {
        signed = signed.header(name, value);
    }
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example "GET Object" of AWS's documentation of signatures of S3 in headers.
    #[test]
    fn the_signature_is_that_of_the_documentation() -> Result<(), Error> {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let credentials = credentials("AKIAIOSFODNN7EXAMPLE", secret, None);
        let request =
            Request::get("https://examplebucket.s3.amazonaws.com/test.txt").header("range", "bytes=0-9");
        // 2013-05-24T00:00:00Z
        let request = signed(&request, &credentials, (Service::S3, "us-east-1"), 1_369_353_600_000)?;
        let authorization = request.header_value("authorization").unwrap_or_default();
        assert!(
            authorization
                .ends_with("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{authorization}"
        );
        Ok(())
    }

    #[test]
    fn a_session_token_is_sent_and_signed() -> Result<(), Error> {
        let credentials = credentials("ASIA", "secret", Some("the-token".into()));
        let request =
            signed(&Request::put("http://h/b/k").body("x"), &credentials, (Service::S3, "us-east-1"), 0)?;
        assert_eq!(request.header_value("x-amz-security-token"), Some("the-token"));
        let authorization = request.header_value("authorization").unwrap_or_default();
        assert!(authorization.contains("x-amz-security-token"), "{authorization}");
        Ok(())
    }

    #[test]
    fn requests_of_dynamodb_are_signed_as_botocore_does() -> Result<(), Error> {
        let authorization = |host: &str, region: &str, body: &str, credentials: &Credentials| {
            let request = Request::post(format!("https://{host}/"))
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amz-target", "DynamoDB_20120810.GetItem")
                .body(body);
            let request = signed(&request, credentials, (Service::DynamoDb, region), 1_795_733_407_000)?;
            Ok::<_, Error>(request.header_value("authorization").unwrap_or_default().to_owned())
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let (host, region) = ("dynamodb.eu-central-1.amazonaws.com", "eu-central-1");
        let body = r#"{"TableName":"builds"}"#;
        assert_eq!(
            authorization(host, region, body, &credentials("AKIDEXAMPLE", secret, None))?,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=c74457beadda724951f60e0e21d625651b485d4941e839b26f3cefa1170da202"
        );
        let token = Some("AQoDYXdzEPT//////////wEXAMPLE+token=".to_owned());
        assert_eq!(
            authorization(host, region, body, &credentials("AKIDEXAMPLE", secret, token))?,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-central-1/dynamodb/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
             Signature=21de66f5504557a8e75da8b1635fab51485e07bef4fde53e04aba1e423982ed7"
        );
        let signature = "Signature=b418d16695e12e1d434874db49fa4ffa3afcdc14cbd433e9f55a54f37299b218";
        let plain = credentials("AKIDEXAMPLE", "k", None);
        assert!(authorization("127.0.0.1:5580", "us-east-1", "{}", &plain)?.ends_with(signature));
        Ok(())
    }
}
