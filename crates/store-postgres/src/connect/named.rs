//! Statements that a session knows by a name: the server parses them once, and in time plans them once. Of a single commit,
//! parsing and planning are two thirds of what the server does.
//!
//! A name is only good while the session has one process of the server to itself, so nothing is named until it has been
//! seen that no pooler stands between. A plan is as good as what the planner knew of the tables, and they grow: a name is
//! given up when the session is twice as old as it was when it gave it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error, Statement};

use crate::args::Args;

/// A name is kept at least and at most so long.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(60);

/// Names in a session at most: a statement that is put together from parts may have many forms.
const NAMES: usize = 200;

/// Whether sessions may give names. All sessions of a store share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming(Arc<AtomicBool>);

impl Naming {
    /// Each session has a process of the server to itself.
    pub(crate) fn allow(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_allowed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The names of one session.
#[derive(Debug)]
pub(super) struct Named {
    naming: Naming,
    opened: Instant,
    /// One plan for whatever the parameters are.
    generic: bool,
    known: Mutex<HashMap<String, Known>>,
}

/// A statement that was used; it has a name from its second use on.
#[derive(Debug)]
enum Known {
    Once,
    Named { statement: Statement, until: Instant },
}

impl Named {
    pub(super) fn new(naming: Naming) -> Self {
        Self { naming, opened: Instant::now(), generic: false, known: Mutex::default() }
    }

    /// Has statements planned once for all parameters, where the server would plan anew each time: it thinks that arrays are
    /// longer than a group of one, and that the plan for that one is worth its price.
    pub(super) fn plan_once(&mut self) {
        self.generic = true;
    }

    /// The statement under its name, if it has one or is to get one now.
    pub(super) async fn get(&self, client: &Client, text: &str, args: &Args<'_>) -> Result<Option<Statement>, Error> {
        if !self.naming.is_allowed() || self.is_first_use(text) {
            return Ok(None);
        }
        if let Some(statement) = self.known_by(text) {
            return Ok(Some(statement));
        }
        if self.generic {
            client.batch_execute("SET plan_cache_mode = force_generic_plan").await?;
        }
        let statement = client.prepare_typed(text, &args.types()).await?;
        let until = Instant::now() + self.opened.elapsed().clamp(LEAST, MOST);
        self.known().insert(text.to_owned(), Known::Named { statement: statement.clone(), until });
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
    use surefoot_scratch_postgres::ScratchPostgres;

    use super::*;
    use crate::connect::{PostgresOptions, Session};

    const TEXT: &str = "SELECT $1::bigint + 1";

    async fn names(session: &Session) -> String {
        let rows = session.simple_query("SELECT count(*) FROM pg_prepared_statements").await.unwrap();
        let count = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        count.unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_statement_gets_a_name_at_its_second_use_and_only_where_that_is_allowed() {
        let url = ScratchPostgres::shared().fresh_database().unwrap();
        let connector = PostgresOptions::of(&url).connector().unwrap();
        let session = connector.connect().await.unwrap().planning_once();
        let ask = async || {
            let rows = session.rows((TEXT, Args::none().with(41_i64))).await.unwrap();
            assert_eq!(rows[0].get::<_, i64>(0), 42);
        };
        for _ in 0..3 {
            ask().await;
        }
        assert_eq!(names(&session).await, "0", "a pooler may stand between");
        connector.naming().allow();
        ask().await;
        assert_eq!(names(&session).await, "0");
        ask().await;
        assert_eq!(names(&session).await, "1");
        // Past its time it is named anew, and the old name is given back.
        tokio::time::sleep(LEAST * 3).await;
        ask().await;
        ask().await;
        assert_eq!(names(&session).await, "1");
    }
}
