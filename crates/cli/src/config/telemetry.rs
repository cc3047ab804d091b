//! `[telemetry]`: where traces go.

use std::collections::HashMap;

use serde::Deserialize;
use surefoot::CredentialSource;
use surefoot_telemetry::TelemetryOptions;

use crate::errors::Failure;

/// `[telemetry]`. Without an endpoint nothing is sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetryTable {
    /// The collector's address, without `/v1/traces`.
    pub(crate) endpoint: Option<String>,
    /// Which service this is, as the collector sees it.
    service: Option<String>,
    /// The name of the credential with what is sent beside each request: `name=value,name=value`.
    headers: Option<String>,
}

impl TelemetryTable {
    /// The environment, by the names that OpenTelemetry has for it, has the last word.
    pub(super) fn within_environment(self) -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self {
            endpoint: set("OTEL_EXPORTER_OTLP_ENDPOINT").or(self.endpoint),
            service: set("OTEL_SERVICE_NAME").or(self.service),
            ..self
        }
    }

    /// Builds the exporter of traces, if configured. `instance` names the process.
    pub(crate) fn options(
        &self,
        instance: String,
        credentials: &dyn CredentialSource,
    ) -> Result<Option<TelemetryOptions>, Failure> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(None);
        };
        let headers = self
            .headers
            .as_deref()
            .map(|name| headers(name, credentials))
            .transpose()?;
        Ok(Some(TelemetryOptions {
            endpoint: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            headers: headers.unwrap_or_default(),
            service: self
                .service
                .clone()
                .unwrap_or_else(|| "surefoot".to_owned()),
            instance,
        }))
    }
}

fn headers(
    name: &str,
    credentials: &dyn CredentialSource,
) -> Result<HashMap<String, String>, Failure> {
    let wrong = |message: String| Failure::usage(message).within("telemetry.headers");
    let text = credentials
        .get(name)
        .map_err(|error| wrong(error.to_string()))?;
    let pair = |pair: &str| {
        pair.split_once('=')
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    };
    let pairs = text.expose().split(',').map(pair).collect::<Option<_>>();
    // Its content is secret and appears in no message.
    pairs.ok_or_else(|| {
        wrong(format!(
            "the credential `{name}` is not name=value,name=value"
        ))
    })
}
