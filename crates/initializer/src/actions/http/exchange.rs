//! A request and its response, over redirects: the method never changes, and nothing of the step
//! leaves the origin.

use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE,
};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::{Map, Value, json};
use surefoot::{AddressPolicy, StepContext, StepError, cut, parse_duration};
use tokio::time::Instant;

use super::super::fields::text;
use super::{Input, body, connect, rate_limit};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Limit of redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// Limit of characters of a refusal's body in the step's error.
const EXCERPT: usize = 300;

/// A request, with everything needed to send it once for each redirect.
pub(super) struct Exchange<'a> {
    client: &'a Client,
    addresses: &'a AddressPolicy,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<String>,
    expect: &'a [u16],
    deadline: Instant,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        client: &'a Client,
        addresses: &'a AddressPolicy,
        context: &StepContext,
        input: &'a Input,
    ) -> Result<Self, StepError> {
        let timeout = input
            .timeout
            .as_deref()
            .map(parse_duration)
            .transpose()
            .map_err(StepError::fatal)?;
        let method = Method::from_bytes(input.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| StepError::fatal(format!("`{}` is not an HTTP method", input.method)))?;
        let url = address(&input.url)?;
        let body = match (&input.json, &input.body) {
            (None, None) => None,
            (Some(json), None) => Some(json.to_string()),
            (None, Some(body)) => Some(body.clone()),
            (Some(_), Some(_)) => return Err(StepError::fatal("give one of `json` and `body`")),
        };
        let headers = headers(context, input, &connect::host(&url))?;
        let deadline = Instant::now() + timeout.unwrap_or(DEFAULT_TIMEOUT);
        Ok(Self {
            client,
            addresses,
            method,
            url,
            headers,
            body,
            expect: &input.expect,
            deadline,
        })
    }

    /// Sends the request, and follows redirects.
    pub(super) async fn run(mut self) -> Result<Value, StepError> {
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send().await?;
            match self.redirect(&response)? {
                None => return self.answer(response).await,
                Some(target) => self.go_to(target)?,
            }
        }
        Err(StepError::fatal(format!(
            "{} was redirected more than {MOST_REDIRECTS} times",
            self.name()
        )))
    }

    async fn send(&self) -> Result<Response, StepError> {
        connect::check_literal(self.addresses, &self.url)?;
        let request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .timeout(self.deadline.saturating_duration_since(Instant::now()))
            .headers(self.headers.clone());
        let request = match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        };
        request.send().await.map_err(|error| self.not_sent(error))
    }

    /// Target of a redirect; `None` if the response is not a redirect, or is one that the step
    /// expects.
    fn redirect(&self, response: &Response) -> Result<Option<Url>, StepError> {
        let status = response.status();
        if self.expect.contains(&status.as_u16())
            || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
        {
            return Ok(None);
        }
        let Some(location) = response.headers().get(LOCATION) else {
            return Ok(None);
        };
        let location = String::from_utf8_lossy(location.as_bytes());
        let target = self
            .url
            .join(&location)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let target = target.ok_or_else(|| {
            StepError::fatal(format!(
                "{} answered {status} to a place that is not http or https",
                self.name()
            ))
        })?;
        let is_read_only = matches!(self.method, Method::GET | Method::HEAD);
        let keeps_method = matches!(status.as_u16(), 307 | 308) && same_origin(&self.url, &target);
        if keeps_method
            || (is_read_only && (self.body.is_none() || same_origin(&self.url, &target)))
        {
            return Ok(Some(target));
        }
        Err(StepError::fatal(format!(
            "{} was redirected ({status}) to {}, and was not sent there: nothing may have been done. Write that address \
             in the step if it is meant, or `expect: [{}]` if the redirect is the answer",
            self.name(),
            shown(&target),
            status.as_u16()
        )))
    }

    /// Switches to the target of a redirect. The step's data stays with the original origin.
    fn go_to(&mut self, mut target: Url) -> Result<(), StepError> {
        // A server must not choose a user name and a password. Both calls fail only for URLs
        // without a host.
        let _ = target.set_username("");
        let _ = target.set_password(None);
        if !same_origin(&self.url, &target) {
            self.headers.clear();
        }
        self.url = target;
        Ok(())
    }

    /// The step's output, or an error for an unexpected response.
    async fn answer(&self, response: Response) -> Result<Value, StepError> {
        let status = response.status();
        let headers = response.headers().clone();
        let is_expected = match self.expect {
            [] => status.is_success(),
            list => list.contains(&status.as_u16()),
        };
        if is_expected {
            let content = body::read(response, &self.name()).await?;
            let mut output = json!({ "status": status.as_u16(), "headers": readable(&headers), "body": content.value });
            if content.is_base64 {
                output["body_encoding"] = "base64".into();
            }
            return Ok(output);
        }
        let refusal = self.refusal(status, response).await;
        if let Some(delay) = rate_limit::delay(status, &headers) {
            let reason = format!("{} (rate limit: {refusal})", connect::host(&self.url));
            return Err(StepError::unavailable(reason, delay));
        }
        if passes(status) {
            Err(StepError::from(refusal))
        } else {
            Err(StepError::fatal(refusal))
        }
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> String {
        let excerpt = cut(body::beginning(response).await.trim(), EXCERPT);
        let colon = if excerpt.is_empty() { "" } else { ": " };
        format!("{} answered {status}{colon}{excerpt}", self.name())
    }

    /// The request as messages name it.
    fn name(&self) -> String {
        format!("{} {}", self.method, shown(&self.url))
    }

    fn not_sent(&self, error: reqwest::Error) -> StepError {
        let is_hopeless = error.is_builder() || connect::is_denied(&error);
        let error = Unanswered {
            request: self.name(),
            error: error.without_url(),
        };
        if is_hopeless {
            StepError::fatal(error)
        } else {
            StepError::from(error)
        }
    }
}

/// A request without a response.
#[derive(Debug, thiserror::Error)]
#[error("{request} got no answer")]
struct Unanswered {
    request: String,
    #[source]
    error: reqwest::Error,
}

/// Statuses that may be over at the next attempt.
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn address(text: &str) -> Result<Url, StepError> {
    // The text may contain a password, and is not repeated.
    let url = Url::parse(text)
        .map_err(|error| StepError::fatal(format!("`url` is not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(StepError::fatal(format!(
            "`{}` is not http or https but {scheme}",
            shown(&url)
        ))),
    }
}

/// A URL without the parts that may be secret: user name and password, query and fragment.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Headers of the workflow, which override those that the action adds.
fn headers(context: &StepContext, input: &Input, host: &str) -> Result<HeaderMap, StepError> {
    let mut headers = HeaderMap::new();
    let key = HeaderValue::from_str(&context.idempotency_key()).map_err(StepError::fatal)?;
    headers.insert(HeaderName::from_static("idempotency-key"), key);
    if input.json.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &input.headers {
        let bad = || {
            StepError::fatal(format!(
                "the header `{name}` has a name or value that HTTP does not allow"
            ))
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = text(|| format!("the header `{name}`"), value)?;
        headers.insert(name, HeaderValue::from_str(&value).map_err(|_| bad())?);
    }
    if let Some(name) = &input.credential {
        let secret = context.credential_for(name, host)?;
        let bad = |_| {
            StepError::fatal(format!(
                "the credential `{name}` holds characters that HTTP does not allow"
            ))
        };
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {}", secret.expose())).map_err(bad)?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(headers)
}

/// Headers of a response as an output. Cookies are credentials, and are left out.
fn readable(headers: &HeaderMap) -> Map<String, Value> {
    let mut readable = Map::new();
    for name in headers.keys().filter(|name| *name != SET_COOKIE) {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| header_text(value.as_bytes()))
            .collect();
        readable.insert(name.to_string(), values.join(", ").into());
    }
    readable
}

/// UTF-8, or HTTP's earlier encoding, Latin-1.
fn header_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(
        |_| bytes.iter().copied().map(char::from).collect(),
        str::to_owned,
    )
}
