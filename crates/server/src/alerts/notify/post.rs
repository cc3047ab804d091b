//! One POST to an address that was judged: no redirects, no proxy, no waiting without end.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use surefoot::{AddressPolicy, BoxError};

use super::unreachable;

const CONNECT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of an answer is repeated, in characters.
const EXCERPT: usize = 200;

/// The longest answer that is read.
const LARGEST: usize = 64 * 1024;

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
        .connect_timeout(CONNECT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| format!("cannot make an HTTP client: {error}"))?;
    // The address may be a secret: it stands in no error.
    let sent = client
        .post(url)
        .headers(headers)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await;
    let response = sent.map_err(|error| Unanswered {
        host: host.clone(),
        error: error.without_url(),
    })?;
    let status = response.status();
    let said = excerpt(response).await;
    if status.is_success() {
        return Ok(format!("{status}"));
    }
    let colon = if said.is_empty() { "" } else { ": " };
    Err(format!("{host} answered {status}{colon}{said}").into())
}

fn parse(url: &str) -> Result<Url, BoxError> {
    let parsed = Url::parse(url.trim())
        .map_err(|error| format!("the notifier's address is no URL: {error}"))?;
    match (parsed.scheme(), parsed.host_str()) {
        ("http" | "https", Some(_)) => Ok(parsed),
        _ => Err("the notifier's address is not http or https".into()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{host} did not answer")]
struct Unanswered {
    host: String,
    #[source]
    error: reqwest::Error,
}

async fn excerpt(mut response: reqwest::Response) -> String {
    let mut body = Vec::new();
    while body.len() < LARGEST
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&body);
    text.trim()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(EXCERPT)
        .collect()
}
