//! Which table, where, and who asks: the configuration, secrets, and the usual variables.

use dcd_plugin_sdk::http::Url;
use dcd_plugin_sdk::{Error, Fault, secrets};
use schemars::JsonSchema;
use serde::Deserialize;
use shared::aws::{self, Credentials};

/// Which table builds are kept in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The table's name.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{3,255}$"))]
    pub table: String,
    /// The table's region, such as "eu-central-1". Without it `AWS_REGION`, then `AWS_DEFAULT_REGION`, as far as they
    /// are granted.
    pub region: Option<String>,
    /// Where the service is, such as "http://127.0.0.1:8000": for a VPC endpoint or a local server. Without it
    /// `AWS_ENDPOINT_URL_DYNAMODB`, then `AWS_ENDPOINT_URL`, as far as they are granted; then AWS's own for the region.
    pub endpoint: Option<String>,
    /// Make the table when there is none of this name.
    #[serde(default)]
    pub create_table: bool,
}

/// The configuration, with what it leaves open.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) table: String,
    pub(crate) region: String,
    pub(crate) endpoint: Url,
    /// Whether the endpoint is another than AWS's own.
    pub(crate) is_elsewhere: bool,
    pub(crate) create_table: bool,
}

impl Settings {
    /// `variable` reads one of the environment.
    pub(crate) fn new(config: Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let first = |own: Option<String>, names: [&str; 2]| {
            own.or_else(|| names.iter().find_map(|name| variable(name))).filter(|value| !value.is_empty())
        };
        let region = first(config.region, ["AWS_REGION", "AWS_DEFAULT_REGION"]).ok_or_else(|| {
            Error::invalid_config("/region", "the table's region is not known").help(
                "name it, as in \"region\": \"eu-central-1\"; or set AWS_REGION and grant it: \
                 \"allow\": {\"env\": [\"AWS_REGION\"]}",
            )
        })?;
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::invalid_config("/region", format!("{region:?} is not the name of a region")));
        }
        let elsewhere = first(config.endpoint, ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"]);
        let is_elsewhere = elsewhere.is_some();
        let endpoint = Url::parse(&elsewhere.unwrap_or_else(|| aws(&region)))
            .map_err(|error| Error::invalid_config("/endpoint", error.to_string()))?;
        if endpoint.path() != "/" || endpoint.query().is_some() {
            let message = "an endpoint is only scheme, host and port";
            return Err(Error::invalid_config("/endpoint", message).help("leave out what follows the host"));
        }
        Ok(Self { table: config.table, region, endpoint, is_elsewhere, create_table: config.create_table })
    }
}

fn aws(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://dynamodb.{region}.{domain}")
}

/// Credentials, from the pipeline's secrets or the environment, whichever is granted.
pub(crate) fn credentials(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, Error> {
    let find = |name: &str| match secrets::get(name) {
        Ok(value) => Ok(Some(value)),
        Err(Error::Denied(_) | Error::NotFound(_)) => Ok(variable(name).filter(|value| !value.is_empty())),
        Err(error) => Err(error),
    };
    let needed = |name: &str| find(name)?.ok_or_else(|| no_credentials(name));
    Ok(aws::credentials(
        needed("AWS_ACCESS_KEY_ID")?,
        needed("AWS_SECRET_ACCESS_KEY")?,
        find("AWS_SESSION_TOKEN")?,
    ))
}

fn no_credentials(name: &str) -> Error {
    Error::denied(Fault::new(format!("the credential {name} is not set or not granted")).code("dynamodb/no-credentials").help(
        "make it a secret of the pipeline, \"secrets\": {\"AWS_ACCESS_KEY_ID\": {\"env\": \"AWS_ACCESS_KEY_ID\"}, \
         \"AWS_SECRET_ACCESS_KEY\": {\"env\": \"AWS_SECRET_ACCESS_KEY\"}}, and grant it: \
         \"plugins\": {\"history-dynamodb\": {\"allow\": {\"secrets\": [\"AWS_*\"]}}}",
    ))
}

/// A variable of the environment, which has only what is granted.
pub(crate) fn granted(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::mock;

    use super::*;

    fn settings(
        region: Option<&str>,
        endpoint: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<(String, String), Error> {
        let config = Config {
            table: "builds".into(),
            region: region.map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            create_table: false,
        };
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::new(config, variable).map(|settings| (settings.region, settings.endpoint.origin()))
    }

    #[test]
    fn what_the_configuration_leaves_open_is_taken_from_the_environment() {
        let environment = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2"),
        ];
        let known = |region: &str, origin: &str| Ok((region.to_owned(), origin.to_owned()));
        assert_eq!(settings(None, None, &environment), known("eu-west-1", "http://127.0.0.1:2"));
        assert_eq!(settings(None, None, &environment[1..3]), known("us-east-1", "http://127.0.0.1:1"));
        assert_eq!(
            settings(Some("eu-central-1"), Some("https://vpce-1.example/"), &environment),
            known("eu-central-1", "https://vpce-1.example")
        );
        assert_eq!(
            settings(Some("cn-north-1"), None, &[]),
            known("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn")
        );
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_is() {
        let pointer = |result: Result<_, Error>| match result {
            Err(Error::InvalidConfig(diagnostics)) => diagnostics[0].pointer.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(pointer(settings(None, None, &[("AWS_REGION", "")])), "/region");
        assert_eq!(pointer(settings(Some("eu/.."), None, &[])), "/region");
        assert_eq!(pointer(settings(Some("r"), Some("127.0.0.1:8000"), &[])), "/endpoint");
        assert_eq!(pointer(settings(Some("r"), Some("http://127.0.0.1:8000/x"), &[])), "/endpoint");
    }

    #[test]
    fn credentials_are_secrets_first_and_variables_then() {
        mock::reset();
        let variable = |name: &str| Some(format!("{name} of the environment"));
        let error = credentials(|_| None).unwrap_err();
        assert_eq!(error.to_string(), "the credential AWS_ACCESS_KEY_ID is not set or not granted");
        mock::set_secret("AWS_ACCESS_KEY_ID", "id");
        let found = credentials(variable).unwrap();
        assert_eq!(found.access_key_id(), "id");
        assert_eq!(found.secret_access_key(), "AWS_SECRET_ACCESS_KEY of the environment");
        assert!(!format!("{found:?}").contains("of the environment"), "{found:?}");
    }
}
