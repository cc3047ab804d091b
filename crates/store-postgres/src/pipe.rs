//! Requests that are sent one after the other without waiting for answers between: one round trip for all.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::{Client, Error, Row};

use crate::args::Args;
use crate::connect::{Ready, Session};

/// A request that is on its way.
pub(crate) struct Sent<'a, T> {
    answer: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    here: Option<T>,
}

impl<'a, T> Sent<'a, T> {
    /// Sends it: the client puts a request into its queue when its future is first polled.
    pub(crate) async fn send(request: impl Future<Output = T> + Send + 'a) -> Self {
        let mut answer: Pin<Box<dyn Future<Output = T> + Send + 'a>> = Box::pin(request);
        let here = poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Ready(None),
        });
        let here = here.await;
        Self { answer, here }
    }

    pub(crate) async fn answer(self) -> T {
        match self.here {
            Some(answer) => answer,
            None => self.answer.await,
        }
    }
}

/// A statement and its parameters.
pub(crate) type Call<'a> = (&'a str, Args<'a>);

/// Gives statements the names that they are to have, before anything is sent: the driver keeps no more than a piece or two of
/// an answer that nobody takes, and holds back all that comes after it. Who then waits for a name waits for ever.
pub(crate) async fn ready<'a>(
    session: &'a Session,
    calls: Vec<Call<'a>>,
) -> Result<Vec<Ready<'a>>, Error> {
    let mut ready = Vec::with_capacity(calls.len());
    for call in calls {
        ready.push(session.ready(call).await?);
    }
    Ok(ready)
}

/// Sends statements.
pub(crate) async fn send(ready: Vec<Ready<'_>>) -> Vec<Sent<'_, Result<Vec<Row>, Error>>> {
    let mut sent = Vec::with_capacity(ready.len());
    for one in ready {
        sent.push(Sent::send(one.rows()).await);
    }
    sent
}

/// Sends a word such as BEGIN.
pub(crate) async fn word<'a>(client: &'a Client, word: &'a str) -> Sent<'a, Result<(), Error>> {
    Sent::send(client.batch_execute(word)).await
}

/// Waits for the answers. The first error is the one that says what was wrong: later ones only follow from it.
pub(crate) async fn answers(
    calls: Vec<Sent<'_, Result<Vec<Row>, Error>>>,
) -> Result<Vec<Vec<Row>>, Error> {
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.answer().await?);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use surefoot_scratch_postgres::ScratchPostgres;

    use super::*;
    use crate::connect::PostgresOptions;

    /// An answer that comes in many pieces, before a statement that gets its name meanwhile.
    #[tokio::test]
    async fn no_statement_is_prepared_behind_an_unread_response() {
        const LARGE: &str = "SELECT repeat('x', 100000) FROM generate_series(1, 50)";
        let connector = PostgresOptions::of(&ScratchPostgres::shared().url())
            .connector()
            .unwrap();
        let session = connector.connect().await.unwrap();
        for time in 0..3 {
            let both = async {
                let calls = vec![(LARGE, Args::none()), ("SELECT 1", Args::none())];
                let ready = ready(&session, calls).await.unwrap();
                answers(send(ready).await).await.unwrap()
            };
            let rows = tokio::time::timeout(Duration::from_secs(20), both).await;
            let rows = rows.unwrap_or_else(|_| panic!("time {time}: it waits for itself"));
            assert_eq!((rows[0].len(), rows[1].len()), (50, 1));
        }
    }
}
