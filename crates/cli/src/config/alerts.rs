//! `[alerts]`: what is worth a person's attention, and who is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use surefoot::AddressPolicy;
use surefoot_server::AlertOptions;
use surefoot_server::alerts::{
    Command, Email, FailureRate, Notifier, NotifierKind, Rules, SmtpSecurity, Source,
};

use super::field::{Switch, Time};
use crate::errors::Failure;

/// `[alerts]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsTable {
    /// Interval between evaluations of the rules.
    every: Option<Time>,
    #[serde(default)]
    rules: RulesTable,
    #[serde(default)]
    notifiers: BTreeMap<String, NotifierTable>,
}

/// `[alerts.rules]`: a rule that is not named is as it ships.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RulesTable {
    long_run: Switch<Time>,
    failures: Switch<FailuresTable>,
    waiting: Switch<Time>,
    no_worker: Switch<Time>,
    interruptions: Option<bool>,
    answer: Option<bool>,
    unreadable: Option<bool>,
    slow_store: Switch<Time>,
}

/// `failures = { percent = 10, over = "1h", at_least = 10 }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailuresTable {
    percent: Option<f64>,
    over: Option<Time>,
    at_least: Option<u64>,
}

/// `[alerts.notifiers.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum NotifierTable {
    Webhook(WebhookTable),
    Slack(SlackTable),
    Email(EmailTable),
    Command(CommandTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    url: Option<String>,
    /// The name of the credential that is the address.
    url_credential: Option<String>,
    /// The name of the credential that signs.
    secret: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlackTable {
    url: Option<String>,
    /// The name of the credential that is the address.
    url_credential: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmailTable {
    host: String,
    port: Option<u16>,
    #[serde(default)]
    security: Security,
    ca_file: Option<PathBuf>,
    user: Option<String>,
    /// The name of the credential that is the password.
    password: Option<String>,
    from: String,
    to: Vec<String>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Security {
    #[default]
    StartTls,
    Tls,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandTable {
    command: Vec<String>,
}

/// More than a day of ended runs is not kept by the hour.
const LONGEST_RATE: Duration = Duration::from_secs(24 * 3600);

impl AlertsTable {
    /// Reads the table. Paths in it are relative to `base`.
    pub(super) fn options(
        self,
        base: &Path,
        network: &AddressPolicy,
    ) -> Result<AlertOptions, Failure> {
        let usual = AlertOptions::default();
        let named = |(name, table): (String, NotifierTable)| table.notifier(&name, base, network);
        let every = self.every.map_or(usual.every, |time| time.0);
        if every.is_zero() {
            return Err(Failure::usage(
                "alerts.every is 0: the rules are looked at every 5s unless you say otherwise",
            ));
        }
        Ok(AlertOptions {
            every,
            rules: self.rules.rules()?,
            notifiers: self
                .notifiers
                .into_iter()
                .map(named)
                .collect::<Result<_, _>>()?,
            public_url: None,
        })
    }
}

impl RulesTable {
    fn rules(self) -> Result<Rules, Failure> {
        let usual = Rules::default();
        let rules = Rules {
            long_run: self.long_run.over(usual.long_run, |time| time.0),
            failures: self.failures.over(usual.failures, FailuresTable::rate),
            waiting: self.waiting.over(usual.waiting, |time| time.0),
            no_worker: self.no_worker.over(usual.no_worker, |time| time.0),
            interruptions: self.interruptions.unwrap_or(usual.interruptions),
            answer: self.answer.unwrap_or(usual.answer),
            unreadable: self.unreadable.unwrap_or(usual.unreadable),
            slow_store: self.slow_store.over(usual.slow_store, |time| time.0),
        };
        match &rules.failures {
            Some(rate) if !(0.0..100.0).contains(&rate.percent) => {
                let found = rate.percent;
                Err(Failure::usage(format!(
                    "alerts.rules.failures.percent is {found}: give a share of 0 to below 100"
                )))
            }
            Some(rate) if rate.over.is_zero() || rate.over > LONGEST_RATE => Err(Failure::usage(
                "alerts.rules.failures.over is not more than nothing and at most 24h",
            )),
            _ => Ok(rules),
        }
    }
}

impl FailuresTable {
    fn rate(self) -> FailureRate {
        let usual = FailureRate::default();
        FailureRate {
            percent: self.percent.unwrap_or(usual.percent),
            over: self.over.map_or(usual.over, |time| time.0),
            at_least: self.at_least.unwrap_or(usual.at_least),
        }
    }
}

impl NotifierTable {
    fn notifier(
        self,
        name: &str,
        base: &Path,
        network: &AddressPolicy,
    ) -> Result<Notifier, Failure> {
        let wrong = |message: &str| Failure::usage(format!("alerts.notifiers.{name}: {message}"));
        let (allow_private, kind) = match self {
            Self::Webhook(table) => {
                let url = source(table.url, table.url_credential).map_err(wrong)?;
                (
                    table.allow_private,
                    NotifierKind::Webhook {
                        url,
                        secret: table.secret,
                    },
                )
            }
            Self::Slack(table) => {
                let url = source(table.url, table.url_credential).map_err(wrong)?;
                (table.allow_private, NotifierKind::Slack { url })
            }
            Self::Email(table) => (
                table.allow_private,
                NotifierKind::Email(table.email(base).map_err(wrong)?),
            ),
            Self::Command(table) if table.command.first().is_none_or(String::is_empty) => {
                return Err(wrong(
                    "command names no program: give [\"/path/to/program\", \"argument\"]",
                ));
            }
            Self::Command(table) => (
                false,
                NotifierKind::Command(Command {
                    command: table.command,
                }),
            ),
        };
        let addresses = if allow_private {
            network.clone()
        } else {
            network.clone().public_only()
        };
        Ok(Notifier {
            name: name.to_owned(),
            addresses,
            kind,
        })
    }
}

fn source(url: Option<String>, credential: Option<String>) -> Result<Source, &'static str> {
    match (url, credential) {
        (Some(url), None) => Ok(Source::Plain(url)),
        (None, Some(name)) => Ok(Source::Credential(name)),
        _ => Err(
            "give one of url and url_credential, the name of the credential that is the address",
        ),
    }
}

impl EmailTable {
    fn email(self, base: &Path) -> Result<Email, &'static str> {
        let login = match (self.user, self.password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => {
                return Err(
                    "give both user and password, the name of the credential that is the password, or neither",
                );
            }
        };
        if login.is_some() && matches!(self.security, Security::None) {
            return Err(
                "security is none, and the password would go out in the clear: take starttls or tls, or no user",
            );
        }
        if self.to.is_empty() {
            return Err("to is empty: give the addresses of those who are told");
        }
        Ok(Email {
            host: self.host,
            port: self.port,
            security: match self.security {
                Security::StartTls => SmtpSecurity::StartTls,
                Security::Tls => SmtpSecurity::Tls,
                Security::None => SmtpSecurity::None,
            },
            ca_file: self.ca_file.map(|file| base.join(file)),
            login,
            from: self.from,
            to: self.to,
        })
    }
}
