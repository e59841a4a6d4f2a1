//! Where to connect, and as whom.

use std::str::FromStr;
use std::time::Duration;

use dcd_plugin_sdk::{Error, schemars};
use percent_encoding::percent_decode_str;

/// The backend's settings. Those of the connection may come from the variables that `psql` knows, as far as they are
/// granted; what is written here goes first.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `postgres://USER@HOST:PORT/DATABASE`, without a password, instead of `host`, `port`, `user` and `database`.
    /// `?sslmode=`, `sslrootcert=` and `connect_timeout=` may follow.
    pub url: Option<String>,
    /// The server's name or address. Default: `PGHOST`.
    pub host: Option<String>,
    /// Default: `PGPORT`, else 5432.
    pub port: Option<u16>,
    /// Default: `PGUSER`.
    pub user: Option<String>,
    /// Default: `PGDATABASE`, else the user's name.
    pub database: Option<String>,
    /// The name of the secret with the password. Default: `PGPASSWORD`, the variable or else the secret.
    pub password_secret: Option<String>,
    /// How the connection is encrypted. Default: `PGSSLMODE`, else `verify-full`; `disable` for a server on this machine
    /// (`localhost`, 127.0.0.0/8, `::1`) when no `sslrootcert` is named.
    pub sslmode: Option<SslMode>,
    /// The certificates that are trusted to vouch for the server: PEM text, or a file's absolute path, which needs a
    /// grant. Default: `PGSSLROOTCERT`, else Mozilla's list.
    pub sslrootcert: Option<String>,
    /// The schema that holds the tables; it is made when it is not there. Default: `dcd`.
    pub schema: Option<String>,
    /// How many seconds connecting may take, from 1 to 15. Default: 10.
    pub connect_timeout: Option<u64>,
}

/// How a connection is encrypted. What `libpq` calls `allow` and `prefer` is not there: somebody on the way could ask for
/// no encryption, and would get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// Encrypted; whose server it is nobody checks, unless `sslrootcert` is named: then as `verify-ca`.
    Require,
    /// Encrypted, and the server's certificate is signed by somebody trusted.
    VerifyCa,
    /// As `verify-ca`, and the certificate is for the name that was connected to.
    VerifyFull,
}

/// All settled.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: Option<String>,
    pub(crate) sslmode: SslMode,
    /// PEM text; none for Mozilla's list.
    pub(crate) roots: Option<String>,
    pub(crate) schema: String,
    pub(crate) connect_timeout: Duration,
}

/// What the plugin can look up in its surroundings.
pub(crate) struct Surroundings<'a> {
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) secret: &'a dyn Fn(&str) -> Result<String, Error>,
    pub(crate) file: &'a dyn Fn(&str) -> std::io::Result<String>,
}

impl Target {
    pub(crate) fn new(config: Config, around: &Surroundings) -> Result<Self, Error> {
        let config = with_url(config)?;
        let variable = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
        let host = config.host.or_else(|| variable("PGHOST"));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err(Error::invalid_config("", "it is not said where the server is")
                .help("add `url` or `host`, or grant the variable PGHOST with \"env\": [\"PG*\"]"));
        };
        if host.starts_with(['/', '@']) {
            return Err(Error::invalid_config("/host", "a plugin cannot connect to a Unix socket")
                .help("let the server listen on 127.0.0.1, and use that as the host"));
        }
        let port = match config.port {
            Some(port) => port,
            None => number("PGPORT", variable("PGPORT"))?.unwrap_or(5432),
        };
        let Some(user) = config.user.or_else(|| variable("PGUSER")) else {
            return Err(Error::invalid_config("/user", "it is not said as whom to log in")
                .help("add `user`, or grant the variable PGUSER with \"env\": [\"PG*\"]"));
        };
        let database = config.database.or_else(|| variable("PGDATABASE")).unwrap_or_else(|| user.clone());
        let roots = config.sslrootcert.or_else(|| variable("PGSSLROOTCERT"));
        let roots = roots.filter(|roots| roots != "system").map(|roots| pem(roots, around)).transpose()?;
        let sslmode = match config.sslmode {
            Some(mode) => Some(mode),
            None => variable("PGSSLMODE").map(|mode| ssl_mode("", "PGSSLMODE", &mode)).transpose()?,
        };
        let is_safe = is_this_machine(&host) && roots.is_none();
        let sslmode = sslmode.unwrap_or(if is_safe { SslMode::Disable } else { SslMode::VerifyFull });
        Ok(Self {
            password: password(config.password_secret.as_deref(), around)?,
            schema: schema(config.schema)?,
            connect_timeout: Duration::from_secs(timeout(config.connect_timeout)?),
            host,
            port,
            user,
            database,
            sslmode,
            roots,
        })
    }

    /// The server, for messages.
    pub(crate) fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Puts what the URL says where the other settings are. The URL is in no message: it may hold a password.
fn with_url(mut config: Config) -> Result<Config, Error> {
    let Some(url) = config.url.take() else { return Ok(config) };
    let wrong = |message: &str| {
        Error::invalid_config("/url", message).help("write it as postgres://USER@HOST:PORT/DATABASE")
    };
    if config.host.is_some() || config.port.is_some() || config.user.is_some() || config.database.is_some() {
        return Err(wrong("`url` says where the server is, and so do `host`, `port`, `user` or `database`")
            .help("leave out one or the other"));
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(wrong("this is not a URL of PostgreSQL"));
    }
    let (base, query) = url.split_once('?').unwrap_or((&url, ""));
    let parsed =
        tokio_postgres::Config::from_str(base).map_err(|_| wrong("this URL of PostgreSQL cannot be read"))?;
    if parsed.get_password().is_some() {
        return Err(wrong("there is a password in the URL, and so in a file that others read").help(
            "take it out, keep it as a secret (\"secrets\": {\"PGPASSWORD\": {\"env\": \"PGPASSWORD\"}}), and grant \
             that: \"allow\": {\"secrets\": [\"PGPASSWORD\"]}",
        ));
    }
    match parsed.get_hosts() {
        [] => {}
        [tokio_postgres::config::Host::Tcp(host)] => {
            config.host = Some(host.trim_matches(['[', ']']).to_owned());
        }
        #[cfg(unix)]
        [_] => return Err(wrong("a plugin cannot connect to a Unix socket")),
        _ => return Err(wrong("there are several hosts in the URL, and this plugin takes one")),
    }
    config.port = parsed.get_ports().first().copied();
    config.user = parsed.get_user().map(ToOwned::to_owned);
    config.database = parsed.get_dbname().map(ToOwned::to_owned);
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        match key {
            "sslmode" => config.sslmode = Some(ssl_mode("/url", "`sslmode`", &value)?),
            "sslrootcert" => config.sslrootcert = Some(value),
            "connect_timeout" => config.connect_timeout = number("`connect_timeout`", Some(value))?,
            _ => {
                return Err(wrong("the URL has an option that this plugin does not know")
                    .help("it knows `sslmode`, `sslrootcert` and `connect_timeout`"));
            }
        }
    }
    Ok(config)
}

fn number<T: FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, Error> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |_| Error::invalid_config("", format!("{name} is {text:?}, which is no number for it"));
    text.parse().map(Some).map_err(wrong)
}

fn ssl_mode(pointer: &str, name: &str, mode: &str) -> Result<SslMode, Error> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        "allow" | "prefer" => {
            let message =
                format!("{name} is {mode:?}, with which anybody on the way can turn encryption off");
            Err(Error::invalid_config(pointer, message)
                .help("set `sslmode` to `verify-full`, or to `disable` if nobody else can listen"))
        }
        _ => {
            let message = format!("{name} is {mode:?}, which it cannot be");
            Err(Error::invalid_config(pointer, message)
                .help("it is `verify-full`, `verify-ca`, `require` or `disable`"))
        }
    }
}

fn pem(roots: String, around: &Surroundings) -> Result<String, Error> {
    if roots.contains("-----BEGIN") {
        return Ok(roots);
    }
    let wrong = |message: String| Error::invalid_config("/sslrootcert", message);
    if !roots.starts_with('/') {
        return Err(wrong(format!("{roots:?} is neither PEM text nor an absolute path"))
            .help("write the whole path, beginning with `/`, or the certificate itself"));
    }
    (around.file)(&roots).map_err(|error| {
        let dir = roots.rsplit_once('/').map_or("/", |(dir, _)| if dir.is_empty() { "/" } else { dir });
        wrong(format!("{roots} does not exist or is not granted to this plugin ({error})")).help(format!(
            "grant its directory, \"allow\": {{\"fs\": [{{\"path\": \"{dir}\", \"access\": \"ro\"}}]}}, or put the \
             certificate's text in `sslrootcert`"
        ))
    })
}

/// Without a name it is what `psql` would take, and a server that wants none needs none.
fn password(secret: Option<&str>, around: &Surroundings) -> Result<Option<String>, Error> {
    match secret {
        Some(name) => (around.secret)(name).map(Some),
        None => Ok((around.variable)("PGPASSWORD").or_else(|| (around.secret)("PGPASSWORD").ok())),
    }
}

fn schema(schema: Option<String>) -> Result<String, Error> {
    let schema = schema.unwrap_or_else(|| "dcd".to_owned());
    let is_plain =
        schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let begins = schema.starts_with(|char: char| char.is_ascii_lowercase() || char == '_');
    if is_plain && begins && schema.len() <= 63 && !schema.starts_with("pg_") {
        return Ok(schema);
    }
    Err(Error::invalid_config("/schema", format!("{schema:?} is not a schema's name here"))
        .help("use up to 63 lower-case letters, digits and `_`, not beginning with a digit or `pg_`"))
}

fn timeout(seconds: Option<u64>) -> Result<u64, Error> {
    match seconds.unwrap_or(10) {
        seconds @ 1..=15 => Ok(seconds),
        other => Err(Error::invalid_config("/connect_timeout", format!("it cannot be {other}"))
            .help("it is from 1 to 15 seconds")),
    }
}

/// Nobody listens between this machine and itself.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
