//! A transaction of several statements on a session of the pool. BEGIN is sent with the first and
//! COMMIT with the last, so neither costs a round trip.

use std::time::Duration;

use surefoot::StoreError;
use tokio_postgres::Row;

use crate::failure::Failure;
use crate::pipeline::{self, Call};
use crate::pool::Pooled;
use crate::shared::Shared;
use crate::sql::Statements;

/// A process that is frozen between two statements would hold its locks, of a queue for example, as
/// long as it is frozen, and no other could take over. So the server ends such a transaction well
/// before the lease expires.
const STANDSTILL: Duration = Duration::from_secs(2);

/// A transaction. Dropping it before [`Self::commit`] or [`Self::roll_back`] closes its session.
#[derive(Debug)]
pub(crate) struct Tx<'c> {
    pub(crate) shared: &'c Shared,
    session: Pooled<'c>,
    begin: String,
}

impl<'c> Tx<'c> {
    pub(crate) async fn begin(shared: &'c Shared) -> Result<Self, StoreError> {
        let most = STANDSTILL.as_millis();
        let session = shared.session().await?;
        let begin = format!(
            "{}; SET LOCAL idle_in_transaction_session_timeout = '{most}ms'",
            session.begin()
        );
        Ok(Self {
            session,
            shared,
            begin,
        })
    }

    /// Begins a reading transaction: all of its statements see one snapshot.
    pub(crate) async fn begin_reading(shared: &'c Shared) -> Result<Self, StoreError> {
        let session = shared.session().await?;
        let begin = session.begin_reading();
        Ok(Self {
            session,
            shared,
            begin,
        })
    }

    pub(crate) fn sql(&self) -> &'c Statements {
        &self.shared.sql
    }

    pub(crate) async fn query(&mut self, call: Call<'_>) -> Result<Vec<Row>, Failure> {
        Ok(self.queries(vec![call]).await?.pop().unwrap_or_default())
    }

    /// Executes several statements in one round trip.
    pub(crate) async fn queries(&mut self, calls: Vec<Call<'_>>) -> Result<Vec<Vec<Row>>, Failure> {
        let first = !std::mem::replace(&mut self.session.busy, true);
        let session = &self.session;
        let ready = pipeline::ready(session, calls).await?;
        let begin = if first {
            Some(pipeline::word(session, &self.begin).await)
        } else {
            None
        };
        let sent = pipeline::send(ready).await;
        let begun = match begin {
            Some(begin) => begin.answer().await,
            None => Ok(()),
        };
        let answers = pipeline::answers(sent).await;
        begun?;
        Ok(answers?)
    }

    /// Commits after these last statements.
    pub(crate) async fn commit(mut self, calls: Vec<Call<'_>>) -> Result<Vec<Vec<Row>>, Failure> {
        if !self.session.busy {
            self.queries(Vec::new()).await?;
        }
        let session = &self.session;
        let sent = pipeline::send(pipeline::ready(session, calls).await?).await;
        let commit = pipeline::word(session, "COMMIT").await;
        let answers = pipeline::answers(sent).await;
        let committed = commit.answer().await;
        self.session.busy = committed.is_err();
        let answers = answers?;
        committed?;
        Ok(answers)
    }

    /// Undoes the changes; the session can be used again.
    pub(crate) async fn roll_back(mut self) {
        if self.session.busy && self.session.batch_execute("ROLLBACK").await.is_ok() {
            self.session.busy = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use surefoot_scratch_postgres::ScratchPostgres;

    use super::*;
    use crate::PostgresStore;
    use crate::args::Args;

    #[tokio::test]
    async fn an_idle_transaction_is_ended() {
        let url = ScratchPostgres::shared().fresh_database().unwrap();
        let store = PostgresStore::options(&url).open().await.unwrap();
        // The best of three, because other tests run at the same time.
        let mut kept = Duration::MAX;
        for _ in 0..3 {
            kept = kept.min(keeps_a_lock(&store.shared).await);
            let mut other = Tx::begin(&store.shared).await.unwrap();
            other
                .query(("SELECT pg_advisory_xact_lock(1)", Args::none()))
                .await
                .unwrap();
            other.commit(Vec::new()).await.unwrap();
            if kept < Duration::from_secs(5) {
                return;
            }
        }
        panic!("a lease is over before: {kept:?}");
    }

    /// Time for which an inactive transaction keeps a lock.
    async fn keeps_a_lock(shared: &Shared) -> Duration {
        let mut tx = Tx::begin(shared).await.unwrap();
        tx.query(("SELECT pg_advisory_xact_lock(1)", Args::none()))
            .await
            .unwrap();
        let began = Instant::now();
        while !tx.session.is_closed() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it keeps its locks"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }
}
