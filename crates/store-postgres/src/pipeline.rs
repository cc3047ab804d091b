//! Pipelined requests: several requests in one round trip, without waiting for answers in between.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::{Client, Error, Row};

use crate::args::Args;
use crate::connect::{Ready, Session};

/// A request in flight.
pub(crate) struct Sent<'a, T> {
    answer: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    here: Option<T>,
}

impl<'a, T> Sent<'a, T> {
    /// Sends it: the client queues a request when its future is first polled.
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

/// Prepares every statement before the first is sent. The driver buffers only a few messages of a
/// response that is not read, and holds back everything behind it: preparing in the middle of a
/// pipeline would wait for ever.
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

/// Sends a simple statement such as BEGIN.
pub(crate) async fn word<'a>(client: &'a Client, word: &'a str) -> Sent<'a, Result<(), Error>> {
    Sent::send(client.batch_execute(word)).await
}

/// Waits for the answers. The first error is the cause; later ones only follow from it.
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

    /// A response in many messages, before a statement that is prepared meanwhile.
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
