//! Signing: AWS Signature Version 4, in the headers, with the body's digest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::http::Request;

/// Signs a request as of a time, in milliseconds.
pub(crate) fn signed(
    request: &Request,
    credentials: &Credentials,
    region: &str,
    at: u64,
) -> Result<Request, Error> {
    // No message of the signer is passed on: it may hold what was signed.
    let wrong = |_| Error::other("the request cannot be signed");
    let mut settings = SigningSettings::default();
    // As S3 wants it, unlike all other services.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let time: SystemTime = UNIX_EPOCH + Duration::from_millis(at);
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
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
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, None, None, "test");
        let request =
            Request::get("https://examplebucket.s3.amazonaws.com/test.txt").header("range", "bytes=0-9");
        // 2013-05-24T00:00:00Z
        let request = signed(&request, &credentials, "us-east-1", 1_369_353_600_000)?;
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
        let credentials = Credentials::new("ASIA", "secret", Some("the-token".into()), None, "test");
        let request = signed(&Request::put("http://h/b/k").body("x"), &credentials, "us-east-1", 0)?;
        assert_eq!(request.header_value("x-amz-security-token"), Some("the-token"));
        let authorization = request.header_value("authorization").unwrap_or_default();
        assert!(authorization.contains("x-amz-security-token"), "{authorization}");
        Ok(())
    }
}
