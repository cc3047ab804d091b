//! Sessions: connections to the database, each with the task that drives it.

use std::sync::Arc;
use std::time::Duration;

use surefoot::StoreError;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, Config, Error, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::error::store_error;
use super::named::{Named, Naming};
use super::tls;
use crate::args::Args;
use crate::pipe::Call;

/// Connects. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    address: Address,
    tls: MakeRustlsConnect,
    schema: String,
    timeout: Duration,
    naming: Naming,
}

/// A connection. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    named: Named,
    _driver: JoinSet<()>,
}

impl Connector {
    /// For sessions with the database at `address`, where the store is in `schema`.
    pub(crate) fn new(mut address: Address, schema: &str, timeout: Duration) -> Result<Self, StoreError> {
        let tls = tls::connect(&address)?;
        let config = &mut address.config;
        if config.get_application_name().is_none() {
            config.application_name("surefoot");
        }
        // What the URL says goes before.
        let timeout = config.get_connect_timeout().copied().unwrap_or(timeout);
        config.connect_timeout(timeout);
        // A peer that is gone without a word is found out within half a minute; what waits for an answer gives up sooner.
        if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
            config.keepalives_idle(Duration::from_secs(10));
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(5));
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(25));
        }
        Ok(Self(Arc::new(Inner { address, tls, schema: schema.to_owned(), timeout, naming: Naming::default() })))
    }

    /// Opens a session.
    pub(crate) async fn connect(&self) -> Result<Session, StoreError> {
        self.connect_with(|_| ()).await
    }

    /// Opens a session; what the database says unasked is given to `heard`.
    pub(crate) async fn connect_with(
        &self,
        heard: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Session, StoreError> {
        let Inner { address, tls, timeout, .. } = &*self.0;
        // The time that the crate is told bounds the connecting to one host; this one bounds the talk after it as well.
        let hosts = address.config.get_hosts().len().max(address.config.get_hostaddrs().len()).max(1);
        let most = *timeout * u32::try_from(hosts).unwrap_or(u32::MAX);
        let connected = tokio::time::timeout(most, address.config.connect(tls.clone())).await;
        let connected = connected
            .map_err(|_| StoreError::Unavailable(format!("{address}: the database did not answer within {most:?}")))?;
        let (client, connection) = connected.map_err(|error| match store_error(&error) {
            StoreError::Unavailable(why) => StoreError::Unavailable(format!("{address}: {why}")),
            StoreError::Unusable(why) => StoreError::Unusable(format!("{address}: {why}")),
            other => other,
        })?;
        let mut driver = JoinSet::new();
        driver.spawn(drive(connection, heard));
        Ok(Session { client, named: Named::new(self.0.naming.clone()), _driver: driver })
    }

    /// Whether its sessions give names to statements.
    pub(crate) fn naming(&self) -> &Naming {
        &self.0.naming
    }

    /// The name of the store's schema.
    pub(crate) fn schema(&self) -> &str {
        &self.0.schema
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({}, schema {})", self.0.address, self.0.schema)
    }
}

impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    /// For statements that are the same whatever their parameters are.
    pub(crate) fn planning_once(mut self) -> Self {
        self.named.plan_once();
        self
    }

    /// A statement as it is to be sent: under its name, when it has one.
    pub(crate) async fn ready<'a>(&'a self, (text, args): Call<'a>) -> Result<Ready<'a>, Error> {
        let named = self.named.get(&self.client, text, &args).await?;
        Ok(Ready { client: &self.client, text, named, args })
    }

    /// The rows of one statement.
    pub(crate) async fn rows(&self, call: Call<'_>) -> Result<Vec<Row>, Error> {
        self.ready(call).await?.rows().await
    }

    /// For transactions.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// A statement that is ready to be sent.
pub(crate) struct Ready<'a> {
    client: &'a Client,
    text: &'a str,
    named: Option<Statement>,
    args: Args<'a>,
}

impl Ready<'_> {
    /// Sends it, at the first poll, and waits for its rows.
    pub(crate) async fn rows(self) -> Result<Vec<Row>, Error> {
        match &self.named {
            Some(statement) => self.client.query(statement, &self.args.values()).await,
            None => self.client.query_typed(self.text, &self.args.as_slice()).await,
        }
    }
}

/// Reads what comes until the session ends. Its end is seen by whoever uses it next.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, mut heard: impl FnMut(AsyncMessage))
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        heard(message);
    }
}
