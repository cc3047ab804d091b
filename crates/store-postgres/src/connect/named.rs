//! Statements that a session knows by a name: the server parses them once, and in time plans them once. Of a single commit,
//! parsing and planning are two thirds of what the server does.
//!
//! A name is only good while the session has one process of the server to itself, so nothing is named in a
//! session that a pooler may share. A plan is as good as what the planner knew of the tables, and they grow: a name is
//! given up when the session is twice as old as it was when it gave it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error, Statement};

use crate::args::Args;

/// A name is kept at least and at most so long.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(60);

/// Names in a session at most: a statement that is put together from parts may have many forms.
const NAMES: usize = 200;

/// The names of one session.
#[derive(Debug)]
pub(super) struct Named {
    /// Each statement of the session is served by the same process of the server.
    allowed: bool,
    opened: Instant,
    /// One plan for whatever the parameters are.
    generic: bool,
    known: Mutex<HashMap<String, Known>>,
}

/// A statement that was used; it has a name from its second use on.
#[derive(Debug)]
enum Known {
    Once,
    Named {
        statement: Statement,
        until: Instant,
    },
}

impl Named {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            opened: Instant::now(),
            generic: false,
            known: Mutex::default(),
        }
    }

    /// Has statements planned once for all parameters, where the server would plan anew each time: it thinks that arrays are
    /// longer than a group of one, and that the plan for that one is worth its price.
    pub(super) fn plan_once(&mut self) {
        self.generic = true;
    }

    /// The statement under its name, if it has one or is to get one now.
    pub(super) async fn get(
        &self,
        client: &Client,
        text: &str,
        args: &Args<'_>,
    ) -> Result<Option<Statement>, Error> {
        if !self.allowed || self.is_first_use(text) {
            return Ok(None);
        }
        if let Some(statement) = self.known_by(text) {
            return Ok(Some(statement));
        }
        if self.generic {
            client
                .batch_execute("SET plan_cache_mode = force_generic_plan")
                .await?;
        }
        let statement = client.prepare_typed(text, &args.types()).await?;
        let until = Instant::now() + self.opened.elapsed().clamp(LEAST, MOST);
        self.known().insert(
            text.to_owned(),
            Known::Named {
                statement: statement.clone(),
                until,
            },
        );
        Ok(Some(statement))
    }

    /// Notes it. When there is no room for another name, each use is as a first one.
    fn is_first_use(&self, text: &str) -> bool {
        let mut known = self.known();
        if known.contains_key(text) {
            return false;
        }
        if known.len() < NAMES {
            known.insert(text.to_owned(), Known::Once);
        }
        true
    }

    fn known_by(&self, text: &str) -> Option<Statement> {
        match self.known().get(text)? {
            Known::Named { statement, until } if Instant::now() < *until => Some(statement.clone()),
            _ => None,
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        // Past its time it is named anew, and the old name is given back.
        tokio::time::sleep(LEAST * 3).await;
        ask(&session).await;
        ask(&session).await;
        assert_eq!(names(&session).await, "1");
    }
}
