//! A POST to an address that the policy allows: no redirects, no proxy, with a timeout.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use surefoot::{AddressPolicy, BoxError};

use super::unreachable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Length of the quoted part of a response, in characters.
const EXCERPT_LENGTH: usize = 200;

/// Size limit of a response.
const MAX_RESPONSE_SIZE: usize = 64 * 1024;

pub(super) async fn post(
    url: &str,
    addresses: &AddressPolicy,
    headers: HeaderMap,
    body: String,
) -> Result<String, BoxError> {
    let url = parse(url)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses = addresses.resolve(&host, port).await.map_err(unreachable)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .user_agent(concat!("surefoot/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .resolve_to_addrs(&host, &addresses)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| format!("cannot create an HTTP client: {error}"))?;
    // The URL may be a secret, so no error contains it.
    let sent = client
        .post(url)
        .headers(headers)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await;
    let response = sent.map_err(|error| NoAnswer {
        host: host.clone(),
        error: error.without_url(),
    })?;
    let status = response.status();
    let excerpt = excerpt(response).await;
    if status.is_success() {
        return Ok(format!("{status}"));
    }
    let colon = if excerpt.is_empty() { "" } else { ": " };
    Err(format!("{host} answered {status}{colon}{excerpt}").into())
}

fn parse(url: &str) -> Result<Url, BoxError> {
    let parsed = Url::parse(url.trim())
        .map_err(|error| format!("the notifier's address is not a URL: {error}"))?;
    match (parsed.scheme(), parsed.host_str()) {
        ("http" | "https", Some(_)) => Ok(parsed),
        _ => Err("the notifier's address is not http or https".into()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{host} did not answer")]
struct NoAnswer {
    host: String,
    #[source]
    error: reqwest::Error,
}

async fn excerpt(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_RESPONSE_SIZE
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&body);
    text.trim()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(EXCERPT_LENGTH)
        .collect()
}
