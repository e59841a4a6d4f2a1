//! What an answer that is none of success means: for the next try, and for people.

use dcd_plugin_sdk::{Error, Fault};
use serde_json::Value;

use crate::settings::Settings;

/// How much of a server's message is shown.
const SHOWN: usize = 300;
/// How long the runner is to wait before it asks a server again that had too much to do.
const RETRY_AFTER_MS: u32 = 1000;

/// The service refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The last part of `__type`, such as `ThrottlingException`; empty when there is none.
    pub(crate) kind: String,
    message: String,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The condition did not hold: an outcome.
    Outcome,
    /// The same request may work in a moment.
    Wait,
    /// It may be the time in the signature.
    Sign,
    /// There is no such table, or not yet.
    Create,
    /// Nothing.
    None,
}

impl Refusal {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("__type").rsplit(['#', '/']).next().unwrap_or_default().to_owned();
        let message = if text("message").is_empty() { text("Message") } else { text("message") };
        // A refused signature is followed by lines with all that was signed, which has the session token.
        let message = message.lines().next().unwrap_or_default();
        let message = message.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        Self { status, kind, message }
    }

    pub(crate) fn remedy(&self) -> Remedy {
        match self.kind.as_str() {
            "ConditionalCheckFailedException" => Remedy::Outcome,
            "ResourceNotFoundException" => Remedy::Create,
            "InvalidSignatureException" | "RequestTimeTooSkewed" | "RequestExpired" => Remedy::Sign,
            _ if self.is_transient() => Remedy::Wait,
            _ => Remedy::None,
        }
    }

    fn is_transient(&self) -> bool {
        self.status >= 500
            || matches!(
                self.kind.as_str(),
                "ProvisionedThroughputExceededException"
                    | "ThrottlingException"
                    | "Throttling"
                    | "RequestLimitExceeded"
                    | "LimitExceededException"
                    | "TransactionInProgressException"
                    | "ReplicatedWriteConflictException"
                    | "ResourceInUseException"
            )
    }

    pub(crate) fn error(&self, operation: &str, settings: &Settings) -> Error {
        let table = &settings.table;
        let origin = settings.endpoint.origin();
        let said = match (self.message.as_str(), self.kind.as_str()) {
            ("", "") => format!("HTTP status {}", self.status),
            ("", kind) => kind.to_owned(),
            (message, _) => message.to_owned(),
        };
        let code = format!("dynamodb/{}", if self.kind.is_empty() { "unknown" } else { &self.kind });
        let fault = |message: String| Fault::new(message).code(code);
        if self.is_transient() {
            let message = format!("{origin} cannot serve {operation} now: {said}");
            return Error::unavailable(fault(message).retry_after_ms(RETRY_AFTER_MS));
        }
        match self.kind.as_str() {
            "ResourceNotFoundException" => Error::not_found(
                fault(format!("there is no table {table} in {} at {origin}", settings.region)).help(format!(
                    "make it with \"create_table\": true, or: {}",
                    create_command(settings)
                )),
            ),
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => Error::denied(
                fault(format!("the credentials do not allow {operation} on table {table}: {said}"))
                    .help("give them the policy of docs/plugins/history-dynamodb.md"),
            ),
            "ExpiredTokenException" | "ExpiredToken" => Error::denied(
                fault(format!("the credentials have expired: {said}"))
                    .help("get new ones, such as by `aws sso login`, and run dcd with them"),
            ),
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "RequestTimeTooSkewed"
            | "RequestExpired"
            | "OptInRequired" => Error::denied(fault(format!("{origin} refused the credentials: {said}")).help(
                "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; temporary ones need AWS_SESSION_TOKEN, too",
            )),
            "ValidationException" if self.message.contains("schema") => Error::other(
                fault(format!("table {table} is not one of dcd's: {said}"))
                    .help("its keys must be pk and sk, both of them strings; use a table of its own for dcd"),
            ),
            // Not of the service itself, but of what stands before it.
            _ if matches!(self.status, 401 | 403) => {
                Error::denied(fault(format!("{origin} refused {operation}: {said}")))
            }
            _ => Error::other(fault(format!("{origin} refused {operation}: {said}"))),
        }
    }
}

/// The command that makes the table.
pub(crate) fn create_command(settings: &Settings) -> String {
    let endpoint = if settings.is_elsewhere {
        format!(" --endpoint-url {}", settings.endpoint.origin())
    } else {
        String::new()
    };
    format!(
        "aws dynamodb create-table --table-name {} --region {}{endpoint} --billing-mode PAY_PER_REQUEST \
         --attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S \
         --key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE",
        settings.table, settings.region
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Config;

    fn error(status: u16, kind: &str, message: &str) -> Error {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{kind}","message":"{message}"}}"#);
        Refusal::new(status, body.as_bytes()).error("PutItem", &settings())
    }

    fn settings() -> Settings {
        let config =
            Config { table: "builds".into(), region: Some("eu-central-1".into()), ..Config::default() };
        Settings::new(config, |_| None).unwrap()
    }

    #[test]
    fn each_refusal_becomes_the_case_that_it_means() {
        for (status, kind, case) in [
            (400, "AccessDeniedException", "Denied"),
            (400, "UnrecognizedClientException", "Denied"),
            (400, "InvalidSignatureException", "Denied"),
            (400, "ExpiredTokenException", "Denied"),
            (400, "ResourceNotFoundException", "NotFound"),
            (400, "ThrottlingException", "Unavailable"),
            (400, "ProvisionedThroughputExceededException", "Unavailable"),
            (500, "InternalServerError", "Unavailable"),
            (503, "", "Unavailable"),
            (400, "ValidationException", "Other"),
            (403, "", "Denied"),
            (413, "", "Other"),
        ] {
            let error = error(status, kind, "why");
            let got = format!("{error:?}");
            assert!(got.starts_with(&format!("{case}(")), "{kind}: {got}");
            if let Error::Unavailable(fault) = error {
                assert_eq!(fault.retry_after_ms, Some(1000));
            }
        }
    }

    #[test]
    fn a_missing_table_comes_with_the_command_that_makes_it() {
        let Error::NotFound(fault) = error(400, "ResourceNotFoundException", "x") else { unreachable!() };
        assert_eq!(
            fault.message,
            "there is no table builds in eu-central-1 at https://dynamodb.eu-central-1.amazonaws.com"
        );
        assert_eq!(
            fault.help.as_deref(),
            Some(
                "make it with \"create_table\": true, or: aws dynamodb create-table --table-name builds --region \
                 eu-central-1 --billing-mode PAY_PER_REQUEST --attribute-definitions AttributeName=pk,AttributeType=S \
                 AttributeName=sk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH \
                 AttributeName=sk,KeyType=RANGE"
            )
        );
    }

    #[test]
    fn what_was_signed_is_not_shown() {
        let message = "The signature does not match.\\n\\nThe Canonical String: x-amz-security-token:t0ken";
        let error = error(400, "InvalidSignatureException", message);
        assert!(error.to_string().ends_with("the credentials: The signature does not match."), "{error}");
    }

    #[test]
    fn what_is_no_json_is_refused_by_its_status() {
        let error = Refusal::new(404, b"<html>").error("GetItem", &settings());
        let text = "https://dynamodb.eu-central-1.amazonaws.com refused GetItem: HTTP status 404";
        assert_eq!(error.to_string(), text);
    }
}
