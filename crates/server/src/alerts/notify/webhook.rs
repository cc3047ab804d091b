//! Webhooks signed according to Standard Webhooks (standardwebhooks.com), and Slack-compatible
//! ones.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use serde_json::json;
use surefoot::{AddressPolicy, BoxError, Clock as _, Secret, SystemClock};

use super::message::Message;
use super::post::post;
use crate::auth::encoding::{base64, from_base64};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The prefix of a secret in the notation of the standard; the rest is base64.
const PREFIX: &str = "whsec_";

pub(super) async fn send(
    url: &str,
    secret: Option<&Secret>,
    addresses: &AddressPolicy,
    message: &Message,
    id: &str,
) -> Result<String, BoxError> {
    let kind = format!("alert.{}", message.state);
    let at = message.resolved_at.as_ref().unwrap_or(&message.fired_at);
    let body = json!({ "type": kind, "timestamp": at, "data": message.json() }).to_string();
    // The time of this attempt, not of the alert: receivers refuse timestamps that are minutes old.
    let seconds = SystemClock.now().as_micros() / 1_000_000;
    let mut headers = HeaderMap::new();
    headers.insert(ID, HeaderValue::from_str(id)?);
    headers.insert(TIMESTAMP, seconds.into());
    if let Some(secret) = secret {
        headers.insert(
            SIGNATURE,
            HeaderValue::from_str(&sign(&key(secret)?, id, seconds, &body))?,
        );
    }
    post(url, addresses, headers, body).await
}

fn key(secret: &Secret) -> Result<Vec<u8>, BoxError> {
    let text = secret.expose();
    match text.strip_prefix(PREFIX) {
        None => Ok(text.as_bytes().to_vec()),
        Some(rest) => from_base64(rest)
            .ok_or_else(|| "the webhook's secret is not base64 after `whsec_`".into()),
    }
}

fn sign(key: &[u8], id: &str, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signature = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", base64(signature.as_ref()))
}

pub(super) async fn send_slack(
    url: &str,
    addresses: &AddressPolicy,
    message: &Message,
) -> Result<String, BoxError> {
    let body = json!({ "text": slack_text(message) }).to_string();
    post(url, addresses, HeaderMap::new(), body).await
}

fn slack_text(message: &Message) -> String {
    let link = message
        .url
        .as_ref()
        .map(|url| format!("\n<{url}|Open in Surefoot>"))
        .unwrap_or_default();
    format!(
        "*{}*\n{}{link}",
        escape(&message.headline()),
        escape(&message.text)
    )
}

/// Escapes text, so that the name of a run cannot ping a channel.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use surefoot::Timestamp;

    use super::*;

    #[test]
    fn the_signature_is_the_standards() {
        // Created with the standard's reference library for JavaScript (npm's standardwebhooks).
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"test": 2432232314}"#;
        let signature = sign(
            &key(&secret).unwrap(),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(key(&Secret::new("plain")).unwrap(), b"plain");
        assert!(key(&Secret::new("whsec_***")).is_err());
    }

    #[test]
    fn a_name_cannot_ping_a_channel() {
        let mut message = Message::test(Timestamp::from_micros(0), Some("https://a.example"));
        message.text = "run <!channel> waits & waits".to_owned();
        let text = slack_text(&message);
        assert!(
            text.contains("run &lt;!channel&gt; waits &amp; waits"),
            "{text}"
        );
        assert!(
            text.ends_with("\n<https://a.example/alerts|Open in Surefoot>"),
            "{text}"
        );
    }
}
