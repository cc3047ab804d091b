//! `http.request`: one HTTP request, which carries the step's idempotency key and respects rate
//! limits.

mod body;
mod connect;
mod exchange;
mod rate_limit;
mod retry_after;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use async_trait::async_trait;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use surefoot::{AddressPolicy, Outcome, Output, StepContext, StepError, StepHandler};

use super::fields::Fields;
use super::unless_cancelled;
use exchange::Exchange;

const FIELDS: Fields = Fields {
    required: &["url"],
    one_of: &[],
    optional: &[
        "method",
        "headers",
        "json",
        "body",
        "expect",
        "timeout",
        "credential",
    ],
};

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
    /// Statuses of a success; any of 200 to 299 if empty.
    #[serde(default)]
    expect: Vec<u16>,
    timeout: Option<String>,
    /// Name of a credential, sent as a bearer token.
    credential: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Keeps one client, and with it its connections, for all steps.
pub(super) struct HttpRequest {
    addresses: AddressPolicy,
    client: OnceLock<Client>,
}

#[async_trait]
impl StepHandler for HttpRequest {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        let exchange = Exchange::new(self.client()?, &self.addresses, &context, &input)?;
        let output = unless_cancelled(&context, exchange.run()).await?;
        Ok(Output::new(output)?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)?;
        match (with.get("json"), with.get("body")) {
            (Some(_), Some(_)) => {
                Err("only one of the fields `json`, `body` may be given".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl HttpRequest {
    pub(super) fn new(addresses: &AddressPolicy) -> Self {
        Self {
            addresses: addresses.clone(),
            client: OnceLock::new(),
        }
    }

    /// Created at the first request: reading the machine's certificates takes longer than
    /// everything else at start-up.
    fn client(&self) -> Result<&Client, StepError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect::client(&self.addresses)?;
        Ok(self.client.get_or_init(|| client))
    }
}
