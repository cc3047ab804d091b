//! The content of a notification.

use serde_json::{Value, json};
use surefoot::Timestamp;

use crate::alerts::alert::{Alert, AlertState};
use crate::alerts::rules::Rule;

/// The content of a notification. It is stored as the parameters of a run, so it does not change
/// however late it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alerts) struct Message {
    pub(in crate::alerts) alert: String,
    pub(super) rule: String,
    pub(super) subject: String,
    pub(in crate::alerts) state: AlertState,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) run: Option<String>,
    pub(super) queue: Option<String>,
    pub(in crate::alerts) fired_at: String,
    pub(super) resolved_at: Option<String>,
    pub(super) url: Option<String>,
}

impl Message {
    pub(in crate::alerts) fn of(alert: &Alert, public_url: Option<&str>) -> Self {
        let run = alert.run.map(|run| run.to_string());
        let page = run
            .as_ref()
            .map_or_else(|| "alerts".to_owned(), |run| format!("runs/{run}"));
        Self {
            alert: alert.id.clone(),
            rule: alert.rule.to_string(),
            subject: alert.subject.clone(),
            state: alert.state,
            title: alert.title.clone(),
            text: alert.text.clone(),
            run,
            queue: alert.queue.clone(),
            fired_at: alert.fired_at.to_string(),
            resolved_at: alert.resolved_at.map(|at| at.to_string()),
            url: public_url.map(|url| format!("{}/{page}", url.trim_end_matches('/'))),
        }
    }

    pub(super) fn test(now: Timestamp, public_url: Option<&str>) -> Self {
        Self {
            alert: "test/test".to_owned(),
            rule: Rule::Test.to_string(),
            subject: "test".to_owned(),
            state: AlertState::Firing,
            title: "a test of this notifier".to_owned(),
            text: "requested with `surefoot alerts test`; nothing is wrong".to_owned(),
            run: None,
            queue: None,
            fired_at: now.to_string(),
            resolved_at: None,
            url: public_url.map(|url| format!("{}/alerts", url.trim_end_matches('/'))),
        }
    }

    pub(in crate::alerts) fn json(&self) -> Value {
        json!({
            "alert": self.alert,
            "rule": self.rule,
            "subject": self.subject,
            "state": self.state.as_str(),
            "title": self.title,
            "text": self.text,
            "run": self.run,
            "queue": self.queue,
            "fired_at": self.fired_at,
            "resolved_at": self.resolved_at,
            "url": self.url,
        })
    }

    pub(in crate::alerts) fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            alert: text("alert")?,
            rule: text("rule")?,
            subject: text("subject")?,
            state: text("state")?.parse().ok()?,
            title: text("title")?,
            text: text("text")?,
            run: text("run"),
            queue: text("queue"),
            fired_at: text("fired_at")?,
            resolved_at: text("resolved_at"),
            url: text("url"),
        })
    }

    /// A summary of one line.
    pub(super) fn headline(&self) -> String {
        format!("[surefoot] {}: {}", self.state, self.title)
    }

    /// The text for people.
    pub(super) fn body(&self) -> String {
        let when = match &self.resolved_at {
            Some(at) => format!("Fired {}, resolved {at}.", self.fired_at),
            None => format!("Fired {}.", self.fired_at),
        };
        let link = self
            .url
            .as_ref()
            .map(|url| format!("\n{url}"))
            .unwrap_or_default();
        format!(
            "{}\n\n{when} Alert {}.{link}\n",
            sentence(&self.text),
            self.alert
        )
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>())
        .unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_survives_a_round_trip() {
        let message = Message::test(
            Timestamp::from_micros(1_800_000_000_000_000),
            Some("https://a.example/"),
        );
        assert_eq!(Message::from_json(&message.json()), Some(message.clone()));
        assert_eq!(message.url.as_deref(), Some("https://a.example/alerts"));
        let over = Message {
            state: AlertState::Resolved,
            resolved_at: Some((Timestamp::from_micros(0) + Duration::from_secs(1)).to_string()),
            ..message
        };
        assert_eq!(Message::from_json(&over.json()), Some(over));
        assert_eq!(Message::from_json(&json!({ "alert": "x" })), None);
    }
}
