//! How the provider is asked: no redirects, no waiting without end, no answers without end.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::http::Response;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, Url};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read: discovery documents and key sets have a few kilobytes.
const LARGEST: usize = 1 << 20;

/// Asks the provider.
#[derive(Debug)]
pub(super) struct Http(Client);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer")]
    Request(#[from] reqwest::Error),
    #[error("an answer that is no HTTP")]
    Response(#[from] openidconnect::http::Error),
    #[error("an answer larger than 1 MiB")]
    Large,
}

impl Http {
    pub(super) fn new() -> Result<Self, String> {
        // An error means that the program has chosen a provider of cryptography already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // An address that sends us elsewhere could send us into the private network.
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build();
        client
            .map(Self)
            .map_err(|error| format!("cannot make an HTTP client: {error}"))
    }

    /// What is there for whoever has this token.
    pub(super) async fn get_json(&self, address: &Url, token: &str) -> Result<Value, String> {
        let request = self
            .0
            .get(address.clone())
            .bearer_auth(token)
            .header("accept", "application/json");
        let response = request.send().await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("{address} answered {}", response.status()));
        }
        let body = read(response).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body).map_err(|error| format!("{address}: {error}"))
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LARGEST {
            return Err(HttpError::Large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.0.execute(request.try_into()?).await?;
            let mut answer = Response::builder().status(response.status());
            for (name, value) in response.headers() {
                answer = answer.header(name, value);
            }
            Ok(answer.body(read(response).await?)?)
        })
    }
}
