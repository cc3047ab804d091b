//! Requests that are sent one after the other without waiting for answers between: one round trip for all.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::{Client, Error, Row};

use crate::args::Args;
use crate::connect::Session;

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

/// Sends a statement, once it has its name if it is to have one.
pub(crate) async fn call<'a>(session: &'a Session, call: Call<'a>) -> Sent<'a, Result<Vec<Row>, Error>> {
    let ready = session.ready(call).await;
    Sent::send(async move { ready?.rows().await }).await
}

/// Sends a word such as BEGIN.
pub(crate) async fn word<'a>(client: &'a Client, word: &'a str) -> Sent<'a, Result<(), Error>> {
    Sent::send(client.batch_execute(word)).await
}

/// Waits for the answers. The first error is the one that says what was wrong: later ones only follow from it.
pub(crate) async fn answers(calls: Vec<Sent<'_, Result<Vec<Row>, Error>>>) -> Result<Vec<Vec<Row>>, Error> {
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.answer().await?);
    }
    Ok(answers)
}
