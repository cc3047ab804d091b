//! Prepared statements of a session: the server parses them once, and eventually plans them once.
//! Parsing and planning are two thirds of the server's work for a single commit.
//!
//! A prepared statement requires a server process of its own, so a session that a pooler may share
//! prepares none. A plan is only as good as the planner's knowledge of the tables, which grow: a
//! statement is dropped when the session is twice as old as it was at its preparation.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error, Statement};

use crate::args::Args;

/// Minimum and maximum lifetime of a prepared statement.
const MIN_LIFETIME: Duration = Duration::from_millis(100);
const MAX_LIFETIME: Duration = Duration::from_secs(60);

/// Limit of prepared statements in a session: a statement assembled from parts may have many forms.
const MAX_STATEMENTS: usize = 200;

/// Prepared statements of one session.
#[derive(Debug)]
pub(super) struct PreparedStatements {
    /// True if one server process serves every statement of the session.
    allowed: bool,
    opened: Instant,
    /// True to use one plan for all parameters.
    generic: bool,
    usage: Mutex<HashMap<String, Usage>>,
}

/// A statement that was used; it is prepared at its second use.
#[derive(Debug)]
enum Usage {
    Once,
    Prepared {
        statement: Statement,
        until: Instant,
    },
}

impl PreparedStatements {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            opened: Instant::now(),
            generic: false,
            usage: Mutex::default(),
        }
    }

    /// Plans statements once for all parameters. The server would otherwise plan each time: it
    /// assumes arrays longer than a batch of one, and considers a plan for that one worth its
    /// price.
    pub(super) fn plan_once(&mut self) {
        self.generic = true;
    }

    /// Returns the prepared statement, if there is one or it is due to be prepared now.
    pub(super) async fn get(
        &self,
        client: &Client,
        text: &str,
        args: &Args<'_>,
    ) -> Result<Option<Statement>, Error> {
        if !self.allowed || self.is_first_use(text) {
            return Ok(None);
        }
        if let Some(statement) = self.current(text) {
            return Ok(Some(statement));
        }
        if self.generic {
            client
                .batch_execute("SET plan_cache_mode = force_generic_plan")
                .await?;
        }
        let statement = client.prepare_typed(text, &args.types()).await?;
        let until = Instant::now() + self.opened.elapsed().clamp(MIN_LIFETIME, MAX_LIFETIME);
        self.usage().insert(
            text.to_owned(),
            Usage::Prepared {
                statement: statement.clone(),
                until,
            },
        );
        Ok(Some(statement))
    }

    /// Records the use. Without capacity for another statement, each use counts as the first.
    fn is_first_use(&self, text: &str) -> bool {
        let mut usage = self.usage();
        if usage.contains_key(text) {
            return false;
        }
        if usage.len() < MAX_STATEMENTS {
            usage.insert(text.to_owned(), Usage::Once);
        }
        true
    }

    fn current(&self, text: &str) -> Option<Statement> {
        match self.usage().get(text)? {
            Usage::Prepared { statement, until } if Instant::now() < *until => {
                Some(statement.clone())
            }
            _ => None,
        }
    }

    fn usage(&self) -> MutexGuard<'_, HashMap<String, Usage>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};

    use super::*;
    use crate::connect::{PostgresOptions, Session};

    const TEXT: &str = "SELECT $1::bigint + 1";

    async fn names(session: &Session) -> String {
        let rows = session
            .simple_query("SELECT count(*) FROM pg_prepared_statements")
            .await
            .unwrap();
        let count = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        count.unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_statement_gets_a_name_at_its_second_use_and_only_without_a_pooler() {
        let server = ScratchPostgres::shared();
        let bouncer = ScratchBouncer::start(server, 2).unwrap();
        let connect = async |url: &str| {
            PostgresOptions::of(url)
                .connector()
                .unwrap()
                .connect()
                .await
                .unwrap()
        };
        let ask = async |session: &Session| {
            let rows = session
                .rows((TEXT, Args::none().with(41_i64)))
                .await
                .unwrap();
            assert_eq!(rows[0].get::<_, i64>(0), 42);
        };
        let pooled = connect(&bouncer.url_of("postgres")).await.planning_once();
        for _ in 0..3 {
            ask(&pooled).await;
        }
        assert_eq!(names(&pooled).await, "0", "a pooler stands between");
        let session = connect(&server.url()).await.planning_once();
        ask(&session).await;
        assert_eq!(names(&session).await, "0");
        ask(&session).await;
        assert_eq!(names(&session).await, "1");
        // After its lifetime it is prepared again, and the old statement is closed.
        tokio::time::sleep(MIN_LIFETIME * 3).await;
        ask(&session).await;
        ask(&session).await;
        assert_eq!(names(&session).await, "1");
    }
}
