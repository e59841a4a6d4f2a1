//! The connection, and calls over it.
//!
//! Nothing is kept in the server's session: a statement is sent without a name and together with its values, a
//! transaction as a whole. So it works through a pooler that gives each transaction another connection, and each call
//! costs one round trip.

use std::cell::RefCell;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::Duration;

use dcd_plugin_sdk::{Error, log};
use futures_util::future::{join_all, join3};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use crate::failure;
use crate::settings::Target;
use crate::tls::Connector;

/// Well below the runner's limit for a call, 30 s.
const CALL: Duration = Duration::from_secs(22);
/// What telling the server to stop may take.
const CANCEL: Duration = Duration::from_secs(3);

/// Each statement sees what was committed before it, whatever the server's default: one that waited for a lock has to.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// A statement with its values.
pub(crate) struct Statement<'a> {
    pub(crate) sql: String,
    pub(crate) values: Vec<(&'a (dyn ToSql + Sync), Type)>,
}

/// A server, and the connection to it while there is one.
pub(crate) struct Session {
    target: Target,
    connector: RefCell<Option<Connector>>,
    runtime: Runtime,
    client: RefCell<Option<Rc<Client>>>,
}

impl Session {
    pub(crate) fn new(target: Target) -> Result<Self, Error> {
        let connector = RefCell::new(Connector::new(&target)?);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { target, connector, runtime, client: RefCell::new(None) })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// A statement's text, in which `SCHEMA` stands for the schema's name.
    pub(crate) fn sql(&self, text: &str) -> String {
        text.replace("SCHEMA.", &format!("\"{}\".", self.target.schema))
    }

    /// Sends one statement.
    pub(crate) fn query(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, Error> {
        let sql = self.sql(sql);
        self.call(async |client| client.query_typed(&sql, values).await)
    }

    /// Sends statements as one transaction, all at once. Answers the rows of each.
    pub(crate) fn transaction(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, Error> {
        self.call(async |client| {
            let all =
                statements.iter().map(|statement| client.query_typed(&statement.sql, &statement.values));
            // In the order in which they are asked first, so this is the order in which they are sent.
            let (begun, rows, ended) =
                join3(client.batch_execute(BEGIN), join_all(all), client.batch_execute("COMMIT")).await;
            begun?;
            let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
            ended?;
            Ok(rows)
        })
    }

    /// Does something with the connection, which is made when there is none, within the time that a call has.
    ///
    /// A connection that turns out to be gone, as after a restart of the server, is made anew once, and `work` done again:
    /// everything here may be repeated.
    // By value: closures are written where they are called.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn call<T>(
        &self,
        work: impl AsyncFn(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        self.runtime.block_on(async {
            if let Ok(answer) = timeout(CALL, self.attempt(&work)).await {
                return answer;
            }
            self.give_up().await;
            let place = self.target.place();
            Err(Error::unavailable(format!("{place} did not answer within {} s", CALL.as_secs())))
        })
    }

    async fn attempt<T>(
        &self,
        work: &impl AsyncFn(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let known = self.client.borrow().clone().filter(|client| !client.is_closed());
        if let Some(client) = known {
            match work(&client).await {
                Err(error) if failure::is_lost(&error) => {}
                answer => return answer.map_err(|error| failure::of(&error, &self.target)),
            }
        }
        self.client.take();
        let client = Rc::new(self.connect().await?);
        // Before the work: when that takes too long, the server has to be told.
        self.client.replace(Some(client.clone()));
        let answer = work(&client).await;
        if answer.as_ref().is_err_and(failure::is_lost) {
            self.client.take();
        }
        answer.map_err(|error| failure::of(&error, &self.target))
    }

    async fn connect(&self) -> Result<Client, Error> {
        let limit = self.target.connect_timeout;
        timeout(limit, self.log_in()).await.unwrap_or_else(|_| {
            let place = self.target.place();
            Err(Error::unavailable(format!("{place} took no connection within {} s", limit.as_secs()))
                .help("is there a firewall in between? `connect_timeout` says how long to wait"))
        })
    }

    async fn log_in(&self) -> Result<Client, Error> {
        let stream = self.reach().await?;
        let mut config = tokio_postgres::Config::new();
        config.user(&self.target.user).dbname(&self.target.database).application_name("dcd history-postgres");
        if let Some(password) = &self.target.password {
            config.password(password);
        }
        let wrong = |error: &_| failure::of(error, &self.target);
        // The tasks run while a call waits; they end with the client.
        let connector = self.connector.borrow().clone();
        if let Some(connector) = connector {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let begun = config.connect_raw(stream, connector.clone()).await;
            let begun = match (begun, connector.with_all_ciphers()) {
                (Err(error), Some(connector)) if failure::is_without_cipher(&error) => {
                    self.connector.replace(Some(connector.clone()));
                    config.connect_raw(self.reach().await?, connector).await
                }
                (begun, _) => begun,
            };
            let (client, connection) = begun.map_err(|error| wrong(&error))?;
            tokio::spawn(async { connection.await.map_err(|error| lost(&error)) });
            return Ok(client);
        }
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|error| wrong(&error))?;
        tokio::spawn(async { connection.await.map_err(|error| lost(&error)) });
        Ok(client)
    }

    /// Connects to the first address that takes it.
    async fn reach(&self) -> Result<TcpStream, Error> {
        let Target { host, port, .. } = &self.target;
        // By the standard library, because that of tokio needs threads.
        let addresses = (host.as_str(), *port).to_socket_addrs();
        let addresses = addresses.map_err(|error| self.unknown(&error))?;
        let mut last = Error::unavailable(format!("the name {host} has no address"));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Statements are small and waited for.
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = failure::of_connection(&error, &self.target),
            }
        }
        Err(last)
    }

    fn unknown(&self, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return failure::of_connection(error, &self.target);
        }
        let Target { host, port, .. } = &self.target;
        Error::unavailable(format!("the name {host} cannot be looked up: {error}")).help(format!(
            "is it written right, and granted, as \"allow\": {{\"tcp\": [\"{host}:{port}\"]}}?"
        ))
    }

    /// Tells the server to stop with what nobody waits for any more, as far as that is quickly done.
    async fn give_up(&self) {
        let Some(client) = self.client.take() else { return };
        let token = client.cancel_token();
        let cancel = async {
            let stream = self.reach().await.ok()?;
            let connector = self.connector.borrow().clone();
            match connector {
                Some(connector) => token.cancel_query_raw(stream, connector).await.ok(),
                None => token.cancel_query_raw(stream, NoTls).await.ok(),
            }
        };
        if !matches!(timeout(CANCEL, cancel).await, Ok(Some(()))) {
            log::debug("the server could not be told to stop", &[]);
        }
    }
}

fn lost(error: &tokio_postgres::Error) {
    log::debug("the connection ended", &[("error", &error.to_string())]);
}
