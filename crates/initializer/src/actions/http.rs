//! `http.request`: one HTTP request, which carries the step's idempotency key and heeds `Retry-After`.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use surefoot::{Clock, Outcome, Output, StepContext, StepError, StepHandler, SystemClock, cut, parse_duration};

use super::fields::{Fields, text};
use super::{retry_after, unless_cancelled};

const FIELDS: Fields = Fields {
    required: &["url"],
    one_of: &[],
    optional: &["method", "headers", "json", "body", "expect", "timeout", "credential"],
};

/// The longest response body that becomes a step's output.
const LARGEST_BODY: usize = 1 << 20;

const USUAL_TIMEOUT: Duration = Duration::from_secs(30);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a refusal's body the step's error repeats, in characters.
const EXCERPT: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    json: Option<Value>,
    body: Option<String>,
    /// Statuses that are a success; any of 200 to 299 when it is empty.
    #[serde(default)]
    expect: Vec<u16>,
    timeout: Option<String>,
    /// The name of a credential, sent as a bearer token.
    credential: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Keeps one client, and with it its connections, for all steps.
#[derive(Default)]
pub(super) struct HttpRequest(OnceLock<Client>);

#[async_trait]
impl StepHandler for HttpRequest {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        let request = self.request(&context, &input)?;
        let output = unless_cancelled(&context, exchange(request, &input)).await?;
        Ok(Output::new(output)?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)?;
        match (with.get("json"), with.get("body")) {
            (Some(_), Some(_)) => Err("only one of the fields `json`, `body` may be given".to_owned()),
            _ => Ok(()),
        }
    }
}

impl HttpRequest {
    /// Made at the first request: reading the machine's certificates takes longer than all else at start-up.
    fn client(&self) -> Result<&Client, StepError> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        // An error means that the program has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("surefoot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| StepError::from(format!("cannot make an HTTP client: {error}")))?;
        Ok(self.0.get_or_init(|| client))
    }

    fn request(&self, context: &StepContext, input: &Input) -> Result<RequestBuilder, StepError> {
        let timeout = input.timeout.as_deref().map(parse_duration).transpose().map_err(StepError::fatal)?;
        let method = Method::from_bytes(input.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| StepError::fatal(format!("`{}` is no method of HTTP", input.method)))?;
        let mut request = self
            .client()?
            .request(method, address(&input.url)?)
            .timeout(timeout.unwrap_or(USUAL_TIMEOUT))
            .headers(headers(context, input)?);
        if let Some(credential) = &input.credential {
            request = request.bearer_auth(context.credential(credential)?.expose());
        }
        match (&input.json, &input.body) {
            (None, None) => Ok(request),
            (Some(json), None) => Ok(request.body(json.to_string())),
            (None, Some(body)) => Ok(request.body(body.clone())),
            (Some(_), Some(_)) => Err(StepError::fatal("give one of `json` and `body`")),
        }
    }
}

fn address(text: &str) -> Result<Url, StepError> {
    let url = Url::parse(text).map_err(|error| StepError::fatal(format!("`{text}` is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(StepError::fatal(format!("`{text}` is not http or https but {scheme}"))),
    }
}

/// What the workflow says, over what the action says by itself.
fn headers(context: &StepContext, input: &Input) -> Result<HeaderMap, StepError> {
    let mut headers = HeaderMap::new();
    let key = HeaderValue::from_str(&context.idempotency_key()).map_err(StepError::fatal)?;
    headers.insert(HeaderName::from_static("idempotency-key"), key);
    if input.json.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &input.headers {
        let bad = || StepError::fatal(format!("the header `{name}` has a name or value that HTTP does not allow"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = text(|| format!("the header `{name}`"), value)?;
        headers.insert(name, HeaderValue::from_str(&value).map_err(|_| bad())?);
    }
    Ok(headers)
}

async fn exchange(request: RequestBuilder, input: &Input) -> Result<Value, StepError> {
    let response = request.send().await.map_err(|error| not_sent(input, error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let expected = match input.expect.as_slice() {
        [] => status.is_success(),
        list => list.contains(&status.as_u16()),
    };
    if !expected {
        // What cannot be read of a refusal's body takes nothing from the refusal.
        let body = body(response).await.unwrap_or_default();
        return Err(refused(input, status, &headers, &body));
    }
    let body = body(response).await?;
    Ok(json!({ "status": status.as_u16(), "headers": shown(&headers), "body": content(&headers, &body) }))
}

/// Without the address, whose query may hold what is not for the log.
fn not_sent(input: &Input, error: reqwest::Error) -> StepError {
    let hopeless = error.is_builder() || error.is_redirect();
    let error = Failure { what: format!("{} {}", input.method, bare(&input.url)), error: error.without_url() };
    if hopeless { StepError::fatal(error) } else { StepError::from(error) }
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{what} got no answer")]
struct Failure {
    what: String,
    #[source]
    error: reqwest::Error,
}

fn bare(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

fn refused(input: &Input, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> StepError {
    let excerpt = cut(String::from_utf8_lossy(body).trim(), EXCERPT);
    let colon = if excerpt.is_empty() { "" } else { ": " };
    let error = format!("{} {} answered {status}{colon}{excerpt}", input.method, bare(&input.url));
    if let Some(delay) = asked_delay(status, headers) {
        return StepError::retry_after(error, delay);
    }
    let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if passes { StepError::from(error) } else { StepError::fatal(error) }
}

/// How long the server asks us to wait. Its own clock tells from when, if it sends it: the two may differ.
fn asked_delay(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let now = text(DATE).and_then(retry_after::date).unwrap_or_else(|| SystemClock.now());
    retry_after::parse(text(RETRY_AFTER)?, now)
}

async fn body(mut response: Response) -> Result<Vec<u8>, StepError> {
    let mut body = Vec::new();
    let broken = |error: reqwest::Error| StepError::from(format!("the response broke off: {}", error.without_url()));
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(StepError::fatal("the response is larger than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Cookies are credentials: they do not become an output.
fn shown(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys().filter(|name| *name != SET_COOKIE) {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        shown.insert(name.to_string(), values.join(", ").into());
    }
    shown
}

fn content(headers: &HeaderMap, body: &[u8]) -> Value {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = kind == "application/json" || kind.ends_with("+json");
    let parsed = json.then(|| serde_json::from_slice(body).ok()).flatten();
    parsed.unwrap_or_else(|| String::from_utf8_lossy(body).into())
}
