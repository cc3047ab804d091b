//! Sessions: connections to the database, each with the task that drives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use surefoot::StoreError;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error, Row, SimpleQueryMessage, Socket, Statement,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::address::Address;
use super::error::store_error;
use super::prepared::PreparedStatements;
use super::{hosts, settings, tls};
use crate::args::Args;
use crate::pipeline::{Call, Sent};

/// Opens sessions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    address: Address,
    /// A configuration for each host of the address.
    hosts: Vec<Config>,
    /// Host to try first: the one that answered last, or the one after a host that did not answer.
    next_host: AtomicUsize,
    tls: MakeRustlsConnect,
    schema: String,
    timeout: Duration,
    /// Major version of the server that answered last; 0 before the first.
    version: AtomicU32,
    /// Set after a pooler refused settings in the startup packet: they are no longer sent.
    bare: AtomicBool,
}

/// An attempt to connect to a host. When it is over, the next call begins with the next host, also
/// when it was dropped: a heartbeat gives up before the connect timeout.
struct Attempt<'a> {
    next_host: &'a AtomicUsize,
    index: usize,
    hosts: usize,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let next = (self.index + 1) % self.hosts;
        // Another attempt may have moved on already.
        let _ =
            self.next_host
                .compare_exchange(self.index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The connection as returned by the driver.
type Opened = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// A connection. Closed on drop.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    prepared: PreparedStatements,
    state: State,
    _driver: JoinSet<()>,
}

/// State of a new session.
#[derive(Debug)]
struct State {
    /// True if it has a server process of its own and the settings of `settings.rs`, without a
    /// pooler in between.
    direct: bool,
    /// Statements that follow BEGIN in a session that cannot keep settings.
    set_local: String,
    /// `synchronous_commit` as set by the server, the database and the role.
    synchronous_commit: String,
}

impl Connector {
    /// Creates a connector for the database at `address`, with the store in `schema`.
    pub(crate) fn new(
        mut address: Address,
        schema: &str,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let tls = tls::connect(&address)?;
        let config = &mut address.config;
        if config.get_application_name().is_none() {
            config.application_name("surefoot");
        }
        // The URL takes precedence.
        let timeout = config.get_connect_timeout().copied().unwrap_or(timeout);
        config.connect_timeout(timeout);
        // A peer that disappears silently is detected within half a minute; operations give up
        // sooner.
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
        let hosts = hosts::of_each(config);
        Ok(Self(Arc::new(Inner {
            address,
            hosts,
            next_host: AtomicUsize::new(0),
            tls,
            schema: schema.to_owned(),
            timeout,
            version: AtomicU32::new(0),
            bare: AtomicBool::new(false),
        })))
    }

    /// Opens a session.
    pub(crate) async fn connect(&self) -> Result<Session, StoreError> {
        self.connect_with(|_| ()).await
    }

    /// Opens a session; unsolicited messages are passed to `on_message`.
    ///
    /// Hosts are tried in turn, beginning with the one that answered last. Each has the connect
    /// timeout for everything up to the first answer, so that a host which accepts connections and
    /// never answers does not keep the next from being tried.
    pub(crate) async fn connect_with(
        &self,
        on_message: impl FnMut(AsyncMessage) + Send + Clone + 'static,
    ) -> Result<Session, StoreError> {
        let Inner {
            address,
            hosts,
            next_host,
            timeout,
            ..
        } = &*self.0;
        let begin = next_host.load(Ordering::Relaxed);
        let mut failure = StoreError::Unavailable(format!("{address}: no host to connect to"));
        for index in (begin..begin + hosts.len()).map(|index| index % hosts.len()) {
            let attempt = Attempt {
                next_host,
                index,
                hosts: hosts.len(),
            };
            let open = self.open(&hosts[index], on_message.clone());
            failure = match tokio::time::timeout(*timeout, open).await {
                Ok(Ok(session)) => {
                    drop(attempt);
                    next_host.store(index, Ordering::Relaxed);
                    return Ok(session);
                }
                Ok(Err(error)) => match store_error(&error) {
                    StoreError::Unavailable(why) => {
                        StoreError::Unavailable(format!("{address}: {why}"))
                    }
                    StoreError::Unusable(why) => StoreError::Unusable(format!("{address}: {why}")),
                    other => other,
                },
                Err(_) => StoreError::Unavailable(format!(
                    "{address}: the database did not answer within {timeout:?}"
                )),
            };
        }
        Err(failure)
    }

    async fn open(
        &self,
        host: &Config,
        on_message: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Session, Error> {
        let mark = Uuid::new_v4().simple().to_string();
        let (client, connection) = self.open_connection(host, &mark).await?;
        let mut driver = JoinSet::new();
        driver.spawn(drive(connection, on_message));
        let state = self.prepare(&client, &mark).await?;
        Ok(Session {
            client,
            prepared: PreparedStatements::new(state.direct),
            state,
            _driver: driver,
        })
    }

    /// Sends the settings in the startup packet. A pooler that refuses them gets a packet without.
    async fn open_connection(&self, host: &Config, mark: &str) -> Result<(Client, Opened), Error> {
        let Inner {
            tls, version, bare, ..
        } = &*self.0;
        if !bare.load(Ordering::Relaxed) {
            let ours = settings::startup_options(version.load(Ordering::Relaxed), mark);
            let mut config = host.clone();
            config.options(
                config
                    .get_options()
                    .map_or(ours.clone(), |given| format!("{given} {ours}")),
            );
            match config.connect(tls.clone()).await {
                Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {}
                done => return done,
            }
        }
        let opened = host.connect(tls.clone()).await?;
        bare.store(true, Ordering::Relaxed);
        Ok(opened)
    }

    /// Determines the kind of the session, and makes the settings that its startup packet could
    /// not.
    async fn prepare(&self, client: &Client, mark: &str) -> Result<State, Error> {
        let messages = client.simple_query(&settings::question(mark)).await?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let get = |index| row.and_then(|row| row.get(index)).unwrap_or_default();
        let version = get(1).parse::<u32>().map_or(0, |number| number / 10_000);
        let known = self.0.version.swap(version, Ordering::Relaxed) == version;
        let direct = get(0) == "t";
        let synchronous_commit = get(2).to_owned();
        let is_weak = synchronous_commit == "off";
        let mut set_local = settings::set_local(version);
        let mut set = if known {
            String::new()
        } else {
            settings::set_newer_than_oldest(version)
        };
        if is_weak {
            set_local += "; SET LOCAL synchronous_commit = on";
            set += "SET synchronous_commit = on";
        }
        if direct && !set.is_empty() {
            client.batch_execute(&set).await?;
        }
        Ok(State {
            direct,
            set_local,
            synchronous_commit,
        })
    }

    /// Name of the store's schema.
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
    /// For statements whose best plan does not depend on their parameters.
    pub(crate) fn planning_once(mut self) -> Self {
        self.prepared.plan_once();
        self
    }

    /// Returns whether it has a server process of its own.
    pub(crate) fn is_direct(&self) -> bool {
        self.state.direct
    }

    /// `synchronous_commit` as set by the server, the database and the role; the store's own
    /// sessions never use `off`.
    pub(crate) fn synchronous_commit(&self) -> &str {
        &self.state.synchronous_commit
    }

    /// Statement that begins a writing transaction, whatever the defaults are.
    pub(crate) fn begin(&self) -> String {
        if self.is_direct() {
            return "BEGIN".to_owned();
        }
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE{}",
            self.state.set_local
        )
    }

    /// Statement that begins a reading transaction: all its statements see one snapshot.
    pub(crate) fn begin_reading(&self) -> String {
        let rest = if self.is_direct() {
            ""
        } else {
            &self.state.set_local
        };
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{rest}")
    }

    /// A statement ready to be sent: prepared, if it is due.
    pub(crate) async fn ready<'a>(&'a self, (text, args): Call<'a>) -> Result<Ready<'a>, Error> {
        let prepared = self.prepared.get(&self.client, text, &args).await?;
        Ok(Ready {
            client: &self.client,
            text,
            prepared,
            args,
        })
    }

    /// Rows of one statement, in its own transaction.
    pub(crate) async fn rows(&self, call: Call<'_>) -> Result<Vec<Row>, Error> {
        let ready = self.ready(call).await?;
        self.alone(ready.rows()).await
    }

    /// Sends one request in its own transaction.
    pub(crate) async fn alone<T: Send>(
        &self,
        request: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        if self.is_direct() {
            return request.await;
        }
        let words = self.begin();
        let begin = Sent::send(self.client.batch_execute(&words)).await;
        let request = Sent::send(request).await;
        let commit = Sent::send(self.client.batch_execute("COMMIT")).await;
        begin.answer().await?;
        let answer = request.answer().await;
        let committed = commit.answer().await;
        let answer = answer?;
        committed?;
        Ok(answer)
    }
}

/// A statement that is ready to be sent.
pub(crate) struct Ready<'a> {
    client: &'a Client,
    text: &'a str,
    prepared: Option<Statement>,
    args: Args<'a>,
}

impl Ready<'_> {
    /// Sends it at the first poll, and waits for its rows.
    pub(crate) async fn rows(self) -> Result<Vec<Row>, Error> {
        match &self.prepared {
            Some(statement) => self.client.query(statement, &self.args.values()).await,
            None => {
                self.client
                    .query_typed(self.text, &self.args.as_slice())
                    .await
            }
        }
    }
}

/// Reads messages until the session ends. The next user of the session notices its end.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    mut on_message: impl FnMut(AsyncMessage),
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) =
        std::future::poll_fn(|context| connection.poll_message(context)).await
    {
        on_message(message);
    }
}

#[cfg(test)]
mod tests {
    use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};

    use super::*;
    use crate::connect::PostgresOptions;

    /// Settings that differ from what the store needs, and their values in a transaction.
    const SETTINGS: [(&str, &str, &str); 7] = [
        ("statement_timeout", "'5s'", "0"),
        ("lock_timeout", "'5s'", "0"),
        ("search_path", "nowhere", "pg_catalog,pg_temp"),
        ("default_transaction_read_only", "on", "off"),
        (
            "default_transaction_isolation",
            "'serializable'",
            "read committed",
        ),
        ("row_security", "on", "off"),
        ("synchronous_commit", "off", "on"),
    ];

    fn shown_by(name: &str) -> &str {
        // The defaults are what a transaction without explicit modes would get.
        match name {
            "default_transaction_read_only" => "transaction_read_only",
            "default_transaction_isolation" => "transaction_isolation",
            other => other,
        }
    }

    #[tokio::test]
    async fn no_setting_of_the_role_reaches_a_transaction() {
        let server = ScratchPostgres::shared();
        let database = server.fresh_database().unwrap();
        let database = database.rsplit('/').next().unwrap();
        for (name, value, _) in SETTINGS {
            let alter = format!("ALTER ROLE postgres IN DATABASE {database} SET {name} = {value}");
            server.psql("postgres", &alter).unwrap();
        }
        let bouncer = ScratchBouncer::start(server, 2).unwrap();
        for (url, direct) in [
            (server.url_of(database), true),
            (bouncer.url_of(database), false),
        ] {
            let connector = PostgresOptions::of(&url).connector().unwrap();
            // The second session knows the server's version before it connects.
            for _ in 0..2 {
                let session = connector.connect().await.unwrap();
                assert_eq!(
                    (session.is_direct(), session.synchronous_commit()),
                    (direct, "off")
                );
                for (name, _, expect) in SETTINGS {
                    let statement = format!("SELECT current_setting('{}')", shown_by(name));
                    let rows = session.rows((&statement, Args::none())).await.unwrap();
                    let found = rows[0].get::<_, &str>(0).replace(", ", ",");
                    assert_eq!(found, expect, "{name}, direct: {direct}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_timeout_that_only_newer_servers_know_is_off() {
        let server = ScratchPostgres::shared();
        let connector = PostgresOptions::of(&server.url()).connector().unwrap();
        for _ in 0..2 {
            let session = connector.connect().await.unwrap();
            let statement = "SELECT coalesce(current_setting('idle_session_timeout', true), '0')";
            let rows = session.rows((statement, Args::none())).await.unwrap();
            assert_eq!(rows[0].get::<_, &str>(0), "0");
        }
    }
}
