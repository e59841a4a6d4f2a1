//! Where builds are kept, and with whose credentials.

use dcd_plugin_sdk::http::Url;
use dcd_plugin_sdk::{Error, secrets};
use schemars::JsonSchema;
use serde::Deserialize;
use shared::aws::{self, Credentials};

/// What the keys of AWS that hold for a while begin with; they need a session token.
const TEMPORARY: &str = "ASIA";

/// Where builds are kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bucket. It must exist.
    pub bucket: String,
    /// What all keys begin with, such as `ci/builds`: letters, digits and `.`, `_`, `-`, `~`, `/`. Default: nothing.
    #[serde(default)]
    pub prefix: String,
    /// The bucket's region, such as `eu-central-1`. Default: the variable `AWS_REGION` or `AWS_DEFAULT_REGION`, if granted;
    /// else `us-east-1` where there is an `endpoint`.
    #[serde(default)]
    pub region: Option<String>,
    /// The server's URL, such as `https://minio.internal:9000`. Default: the variable `AWS_ENDPOINT_URL_S3` or
    /// `AWS_ENDPOINT_URL`, if granted; else that of AWS in the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether the bucket's name is the first part of the path or of the host name. Default: `path` where there is an
    /// endpoint, `virtual-host` for AWS.
    #[serde(default)]
    pub style: Option<Style>,
    /// Whether the secret `AWS_SESSION_TOKEN` is needed, too. Default: for keys that begin with `ASIA`.
    #[serde(default)]
    pub session_token: Option<bool>,
}

/// How a bucket is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// `https://HOST/BUCKET/KEY`
    Path,
    /// `https://BUCKET.HOST/KEY`
    VirtualHost,
}

/// A bucket, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) region: String,
    /// None: AWS's own.
    pub(crate) endpoint: Option<String>,
    /// The scheme and the host, as a grant names them.
    pub(crate) origin: String,
    /// What stands before a key in a URL's path: it begins and ends with `/`.
    pub(crate) base: String,
    /// What all keys begin with: empty, or it ends with `/`.
    pub(crate) prefix: String,
}

impl Place {
    /// Finds it; `variable` reads the environment.
    pub(crate) fn new(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let bucket = bucket(&config.bucket)?;
        let endpoint = config
            .endpoint
            .clone()
            .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = config
            .region
            .clone()
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .or_else(|| endpoint.as_ref().map(|_| "us-east-1".to_owned()))
            .ok_or_else(|| {
                Error::invalid_config("/region", "the bucket's region is not known").help(
                    "add \"region\": \"eu-central-1\" or whichever it is, or grant the variable AWS_REGION; for \
                     another store than AWS add its `endpoint`",
                )
            })?;
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::invalid_config("/region", format!("{region:?} is not a region")));
        }
        let style = config.style.unwrap_or(match &endpoint {
            // A certificate for `*.host` is not one for two names below it.
            None if !bucket.contains('.') => Style::VirtualHost,
            None | Some(_) => Style::Path,
        });
        let server = endpoint.clone().unwrap_or_else(|| aws(&region));
        let url = Url::parse(&server).map_err(|error| {
            Error::invalid_config("/endpoint", error.message())
                .help("write the server's URL, such as https://minio.internal:9000")
        })?;
        if url.query().is_some() {
            return Err(Error::invalid_config("/endpoint", "the URL must have no query"));
        }
        let scheme = if url.is_https() { "https" } else { "http" };
        let path = url.path().trim_end_matches('/');
        let (origin, base) = match style {
            Style::Path => (url.origin(), format!("{path}/{bucket}/")),
            Style::VirtualHost => (format!("{scheme}://{bucket}.{}", url.authority()), format!("{path}/")),
        };
        Ok(Self { bucket, region, endpoint, origin, base, prefix: prefix(&config.prefix)? })
    }

    /// The command that makes the bucket.
    pub(crate) fn make_bucket(&self) -> String {
        let mut command = format!("aws s3api create-bucket --bucket {}", self.bucket);
        match &self.endpoint {
            Some(endpoint) => command += &format!(" --endpoint-url {endpoint}"),
            // The one region that must not be named as a place.
            None if self.region == "us-east-1" => command += " --region us-east-1",
            None => {
                command += &format!(
                    " --region {0} --create-bucket-configuration LocationConstraint={0}",
                    self.region
                );
            }
        }
        command
    }
}

fn aws(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{suffix}")
}

fn bucket(name: &str) -> Result<String, Error> {
    let is_name = (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if is_name {
        return Ok(name.to_owned());
    }
    Err(Error::invalid_config("/bucket", format!("{name:?} is not the name of a bucket"))
        .help("write its name alone, without a scheme or a path; what keys begin with is `prefix`"))
}

fn prefix(text: &str) -> Result<String, Error> {
    let text = text.trim_matches('/');
    if text.is_empty() {
        return Ok(String::new());
    }
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    if text.split('/').all(is_segment) {
        return Ok(format!("{text}/"));
    }
    Err(Error::invalid_config("/prefix", format!("{text:?} cannot be what keys begin with")).help(
        "use letters, digits, `-`, `_`, `~` and dots that do not come first, in parts with one `/` in between",
    ))
}

/// The credentials: those of the environment, if they are granted there, else the secrets of these names.
pub(crate) fn credentials(
    config: &Config,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Credentials, Error> {
    // Line breaks at the end, as files have them, belong to no key.
    let clean = |text: String| text.trim_end_matches(['\r', '\n']).to_owned();
    let given = |name: &str| variable(name).map(clean).filter(|value| !value.is_empty());
    let (key, secret, token) =
        if let (Some(key), Some(secret)) = (given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY")) {
            (key, secret, given("AWS_SESSION_TOKEN"))
        } else {
            let key = secret_of("AWS_ACCESS_KEY_ID").map(clean)?;
            let secret = secret_of("AWS_SECRET_ACCESS_KEY").map(clean)?;
            let needs_token = config.session_token.unwrap_or_else(|| key.starts_with(TEMPORARY));
            let token = if needs_token { Some(secret_of("AWS_SESSION_TOKEN").map(clean)?) } else { None };
            (key, secret, token)
        };
    if key.is_empty() || secret.is_empty() {
        return Err(Error::denied("the secret AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is empty"));
    }
    Ok(aws::credentials(key, secret, token))
}

fn secret_of(name: &str) -> Result<String, Error> {
    secrets::get(name).map_err(|error| {
        error.help(format!(
            "declare it beside `steps`, \"secrets\": {{\"{name}\": {{\"env\": \"{name}\"}}}}, and grant it in the \
             plugin's entry of the pipeline's `plugins` block: \"allow\": {{\"secrets\": [\"{name}\"]}}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::mock;

    use super::*;

    fn config(bucket: &str) -> Config {
        Config { bucket: bucket.into(), ..Config::default() }
    }

    fn urls(config: &Config, variables: &[(&str, &str)]) -> Result<(String, String), Error> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Place::new(config, variable).map(|place| (format!("{}{}", place.origin, place.base), place.region))
    }

    #[test]
    fn a_bucket_is_found() -> Result<(), Error> {
        let with =
            |endpoint: &str, style| Config { endpoint: Some(endpoint.into()), style, ..config("builds") };
        let region = &[("AWS_REGION", "eu-central-1"), ("AWS_DEFAULT_REGION", "no")][..];
        for (config, variables, url, region) in [
            (config("builds"), region, "https://builds.s3.eu-central-1.amazonaws.com/", "eu-central-1"),
            (config("a.builds"), region, "https://s3.eu-central-1.amazonaws.com/a.builds/", "eu-central-1"),
            (
                config("builds"),
                &[("AWS_DEFAULT_REGION", "cn-north-1")],
                "https://builds.s3.cn-north-1.amazonaws.com.cn/",
                "cn-north-1",
            ),
            (
                config("builds"),
                &[("AWS_ENDPOINT_URL", "http://h"), ("AWS_ENDPOINT_URL_S3", "http://s3:9000/")],
                "http://s3:9000/builds/",
                "us-east-1",
            ),
            (with("http://h:1/s3/", None), &[], "http://h:1/s3/builds/", "us-east-1"),
            (with("http://h:1", Some(Style::VirtualHost)), &[], "http://builds.h:1/", "us-east-1"),
        ] {
            assert_eq!(urls(&config, variables)?, (url.to_owned(), region.to_owned()));
        }
        Ok(())
    }

    #[test]
    fn wrong_settings_say_where() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config { region: Some("us-east-1".into()), ..config("builds") };
            change(&mut config);
            match urls(&config, &[]) {
                Err(Error::InvalidConfig(found)) => found[0].pointer.clone(),
                _ => String::new(),
            }
        };
        assert_eq!(with(|config| config.bucket = "s3://builds".into()), "/bucket");
        assert_eq!(with(|config| config.region = None), "/region");
        assert_eq!(with(|config| config.region = Some("a b".into())), "/region");
        assert_eq!(with(|config| config.endpoint = Some("minio:9000".into())), "/endpoint");
        assert_eq!(with(|config| config.prefix = "a//b".into()), "/prefix");
        assert_eq!(with(|config| config.prefix = "a/../b".into()), "/prefix");
        assert_eq!(prefix("/ci/builds/").ok().as_deref(), Some("ci/builds/"));
    }

    #[test]
    fn a_temporary_key_needs_its_token() {
        mock::reset();
        let none = |_: &str| None;
        mock::set_secret("AWS_ACCESS_KEY_ID", "AKIA1\n");
        mock::set_secret("AWS_SECRET_ACCESS_KEY", "s");
        let of = |config: &Config| {
            credentials(config, none)
                .map(|c| (c.access_key_id().to_owned(), c.session_token().map(str::to_owned)))
        };
        assert_eq!(of(&config("b")), Ok(("AKIA1".into(), None)));
        let needs = Config { session_token: Some(true), ..config("b") };
        assert!(matches!(of(&needs), Err(Error::Denied(_))));
        mock::set_secret("AWS_SESSION_TOKEN", "t");
        assert_eq!(of(&needs), Ok(("AKIA1".into(), Some("t".into()))));
        mock::set_secret("AWS_ACCESS_KEY_ID", "ASIA1");
        assert_eq!(of(&config("b")), Ok(("ASIA1".into(), Some("t".into()))));
        let environment = |name: &str| Some(format!("{name} of the environment"));
        let found = credentials(&config("b"), environment).map(|c| c.access_key_id().to_owned());
        assert_eq!(found, Ok("AWS_ACCESS_KEY_ID of the environment".into()));
    }
}
