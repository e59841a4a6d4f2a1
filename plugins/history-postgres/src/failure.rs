//! What went wrong, in words, and whether it may go well another time.

use std::error::Error as StdError;
use std::io;

use dcd_plugin_sdk::{Error, Fault};
use rustls::CertificateError;
use tokio_postgres::error::{DbError, SqlState};

use crate::settings::Target;

/// Whether the connection is no good any more.
pub(crate) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        // The server ends the session: it stops, or somebody told it to.
        Some(error) => ["57P01", "57P02", "57P03", "57P05", "25P03"].contains(&error.code().code()),
        None => true,
    }
}

/// Whether the server may have none of the ciphers that were offered to it. Some say so, others just close the connection.
pub(crate) fn is_without_cipher(error: &tokio_postgres::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    use rustls::AlertDescription::{HandshakeFailure, InsufficientSecurity};
    if let Some(wrong) = source::<rustls::Error>(error) {
        return matches!(wrong, rustls::Error::AlertReceived(HandshakeFailure | InsufficientSecurity));
    }
    let kind = source::<io::Error>(error).map(io::Error::kind);
    matches!(kind, Some(ConnectionAborted | ConnectionReset | UnexpectedEof))
}

/// The error of a statement, or of logging in.
pub(crate) fn of(error: &tokio_postgres::Error, target: &Target) -> Error {
    if let Some(error) = error.as_db_error() {
        return of_server(error, target);
    }
    if let Some(wrong) = source::<rustls::Error>(error) {
        return of_tls(wrong, target);
    }
    if let Some(wrong) = source::<io::Error>(error) {
        return of_connection(wrong, target);
    }
    let message = said(error);
    if message.contains("does not support TLS") {
        return Error::Denied(
            Fault::new(format!("the server {} does not take encrypted connections", target.place()))
                .code("history-postgres/tls")
                .help("turn on `ssl` in its configuration; only where nobody else can listen: \"sslmode\": \"disable\""),
        );
    }
    if message.contains("password") {
        return no_password(target);
    }
    if error.is_closed() {
        return Error::unavailable(format!("the connection to {} was lost", target.place()));
    }
    Error::other(format!("PostgreSQL at {}: {message}", target.place()))
}

/// The error of connecting.
pub(crate) fn of_connection(error: &io::Error, target: &Target) -> Error {
    if let Some(wrong) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return of_tls(wrong, target);
    }
    let place = target.place();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::Denied(
            Fault::new(format!("the plugin is not granted to reach {place}"))
                .code("history-postgres/not-granted")
                .help(format!(
                    "grant it in the plugin's entry of the pipeline's `plugins` block: \"allow\": {{\"tcp\": [\"{place}\"]}}"
                )),
        ),
        io::ErrorKind::ConnectionRefused => Error::unavailable(
            Fault::new(format!("no server takes connections at {place}"))
                .help("is PostgreSQL running, and does it listen there (`listen_addresses`, `port`)?"),
        ),
        io::ErrorKind::UnexpectedEof => Error::unavailable(format!("the server {place} closed the connection")),
        _ => Error::unavailable(format!("the connection to {place} failed: {error}")),
    }
}

/// What the server says.
fn of_server(error: &DbError, target: &Target) -> Error {
    let code = error.code().code();
    let mut message = format!("PostgreSQL at {}: {}", target.place(), error.message());
    if let Some(detail) = error.detail() {
        message = format!("{message} ({detail})");
    }
    let fault = Fault::new(message).code(format!("postgres/{code}"));
    let Target { user, database, schema, .. } = target;
    let pooler = |text: &str| code == "08P01" && error.message().contains(text);
    match code {
        "3D000" => Error::NotFound(fault.help(format!("create the database: CREATE DATABASE \"{database}\"; it is named by `database`, by `url` or by PGDATABASE"))),
        _ if pooler("no such database") => {
            Error::NotFound(fault.help(format!("add the database {database:?} to the pooler's configuration")))
        }
        "28000" if error.message().contains("no encryption") || error.message().contains("SSL off") => {
            Error::Denied(fault.help("the server wants encrypted connections: leave `sslmode` out, or set it to `verify-full`"))
        }
        _ if code.starts_with("28") || pooler("authentication failed") || pooler("no such user") => Error::Denied(fault.help(format!(
            "check the password of {user:?} (the secret or variable PGPASSWORD, or what `password_secret` names), and the \
             server's pg_hba.conf"
        ))),
        "42501" if error.message().contains("for database") => Error::Denied(fault.help(format!(
            "the schema {schema} is not there yet: let the database's owner run a build first, or GRANT CREATE ON DATABASE \
             \"{database}\" TO \"{user}\""
        ))),
        "42501" => Error::Denied(fault.help(format!(
            "grant what docs/plugins/history-postgres.md names under Rights: GRANT USAGE ON SCHEMA {schema} TO \"{user}\"; GRANT \
             SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO \"{user}\"; GRANT DELETE ON {schema}.lock_queue TO \
             \"{user}\""
        ))),
        "25006" => Error::Unavailable(fault.help("this server is a read-only copy: connect to the primary")),
        "42P01" | "3F000" => Error::Other(fault.help(format!("somebody removed tables of the schema {schema}; restore them, or drop the schema to begin anew"))),
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
                .contains(error.code()) =>
        {
            Error::Unavailable(fault)
        }
        _ => Error::Other(fault),
    }
}

fn of_tls(error: &rustls::Error, target: &Target) -> Error {
    let place = target.place();
    let (message, help) = match error {
        rustls::Error::InvalidCertificate(wrong) => of_certificate(wrong, target),
        // A handshake that broke off; a server that is something else.
        other => {
            return Error::Unavailable(
                Fault::new(format!("TLS with {place} failed: {other}")).code("history-postgres/tls"),
            );
        }
    };
    Error::Denied(Fault::new(message).code("history-postgres/tls").help(help))
}

fn of_certificate(error: &CertificateError, target: &Target) -> (String, String) {
    let place = target.place();
    let roots = match &target.roots {
        Some(_) => "`sslrootcert` (or PGSSLROOTCERT)",
        None => "Mozilla's list of authorities",
    };
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            format!("the certificate of {place} is not signed by anybody in {roots}"),
            "put the certificate of the authority that signed it (PEM) into `sslrootcert`".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the certificate of {place} is for other names: {error}"),
            "connect by a name that is in the certificate, or let one be made for this name; \"sslmode\": \
             \"verify-ca\" does not look at the name"
                .to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (format!("the certificate of {place} has expired: {error}"), "let a new one be made".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("the certificate of {place} is not valid yet: {error}"),
            "does the clock of this machine go right?".to_owned(),
        ),
        other => (
            format!("the certificate of {place} is not good: {other}"),
            "let another one be made for the server".to_owned(),
        ),
    }
}

fn no_password(target: &Target) -> Error {
    Error::Denied(
        Fault::new(format!("the server {} wants a password, and there is none", target.place()))
            .code("history-postgres/no-password")
            .help(
                "keep it as a secret of the pipeline, \"secrets\": {\"PGPASSWORD\": {\"env\": \"PGPASSWORD\"}}, and grant \
                 that to the plugin: \"allow\": {\"secrets\": [\"PGPASSWORD\"]}",
            ),
    )
}

/// The first cause of this type.
fn source<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// The error with its causes.
fn said(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
