//! The HTTP client for the provider: no redirects, a timeout, a size limit.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::http::Response;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Size limit of a response. Discovery documents and key sets have a few kilobytes.
const MAX_RESPONSE_SIZE: usize = 1 << 20;

/// The client.
#[derive(Debug)]
pub(super) struct Http(Client);

/// Why a request gave no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer")]
    Request(#[from] reqwest::Error),
    #[error("an answer that is not HTTP")]
    Response(#[from] openidconnect::http::Error),
    #[error("an answer larger than 1 MiB")]
    Large,
    #[error("{address} answered {status}")]
    Status { address: Url, status: StatusCode },
    #[error("{address}: {source}")]
    Json {
        address: Url,
        source: serde_json::Error,
    },
}

impl Http {
    pub(super) fn new() -> reqwest::Result<Self> {
        // An error means that the program has installed a crypto provider already, which serves as
        // well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect could lead into the private network.
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map(Self)
    }

    /// Fetches a JSON document with a bearer token.
    pub(super) async fn get_json(&self, address: &Url, token: &str) -> Result<Value, HttpError> {
        let request = self
            .0
            .get(address.clone())
            .bearer_auth(token)
            .header("accept", "application/json");
        let response = request.send().await?;
        if !response.status().is_success() {
            return Err(HttpError::Status {
                address: address.clone(),
                status: response.status(),
            });
        }
        let body = read(response).await?;
        serde_json::from_slice(&body).map_err(|source| HttpError::Json {
            address: address.clone(),
            source,
        })
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_RESPONSE_SIZE {
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
