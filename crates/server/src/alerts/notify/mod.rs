//! Notifiers: recipients and kinds of notifications, one file per kind.

mod command;
mod email;
mod message;
mod post;
mod webhook;

use std::path::PathBuf;

use surefoot::{AddressError, AddressPolicy, BoxError, CredentialSource, Secret};
use tokio_util::sync::CancellationToken;

pub use command::{CommandCall, RunCommand};
pub(super) use message::Message;

use super::AlertOptions;

/// A recipient of notifications.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// Its name in the configuration.
    pub name: String,
    /// The addresses that it may connect to.
    pub addresses: AddressPolicy,
    /// The kind, with its settings.
    pub kind: NotifierKind,
}

/// The kinds of notifiers.
#[derive(Clone, Debug)]
pub enum NotifierKind {
    /// A POST with JSON, signed according to Standard Webhooks.
    Webhook {
        /// The URL.
        url: Source,
        /// The name of the credential that holds the signing secret.
        secret: Option<String>,
    },
    /// A message to a Slack-compatible incoming webhook.
    Slack {
        /// The URL. Anyone who knows it can post there, so it is best kept as a credential.
        url: Source,
    },
    /// An e-mail.
    Email(Email),
    /// A program on this machine.
    Command(Command),
}

/// The source of a value.
#[derive(Clone, Debug)]
pub enum Source {
    /// The configuration.
    Plain(String),
    /// The credential of this name.
    Credential(String),
}

/// A mail server, and the recipients.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server's name.
    pub host: String,
    /// Its port. Default: 587, 465 or 25, depending on [`Self::security`].
    pub port: Option<u16>,
    /// The transport security of the connection.
    pub security: SmtpSecurity,
    /// A file of certificates trusted beside the machine's own.
    pub ca_file: Option<PathBuf>,
    /// The user name, and the name of the credential that holds the password.
    pub login: Option<(String, String)>,
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
}

/// The transport security of a connection to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// The connection starts in plain text and must be upgraded before anything else.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// No encryption.
    None,
}

/// A program on this machine. It receives JSON on its standard input, and environment variables.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program and its arguments, run without a shell.
    pub command: Vec<String>,
}

/// The context of a delivery.
pub(super) struct Tools<'a> {
    /// Identical for every attempt to send the message.
    pub(super) id: String,
    pub(super) credential: &'a (dyn Fn(&str) -> Result<Secret, BoxError> + Send + Sync),
    pub(super) run_command: Option<&'a RunCommand>,
    pub(super) cancellation: &'a CancellationToken,
}

impl Tools<'_> {
    fn read(&self, source: &Source) -> Result<Secret, BoxError> {
        match source {
            Source::Plain(text) => Ok(Secret::new(text.as_str())),
            Source::Credential(name) => (self.credential)(name),
        }
    }
}

/// Delivers a message and returns the recipient's reply.
pub(super) async fn deliver(
    notifier: &Notifier,
    message: &Message,
    tools: &Tools<'_>,
) -> Result<String, BoxError> {
    let addresses = &notifier.addresses;
    match &notifier.kind {
        NotifierKind::Webhook { url, secret } => {
            let secret = secret.as_deref().map(tools.credential).transpose()?;
            webhook::send(
                tools.read(url)?.expose(),
                secret.as_ref(),
                addresses,
                message,
                &tools.id,
            )
            .await
        }
        NotifierKind::Slack { url } => {
            webhook::send_slack(tools.read(url)?.expose(), addresses, message).await
        }
        NotifierKind::Email(mail) => email::send(mail, addresses, message, tools).await,
        NotifierKind::Command(command) => command::run(command, message, tools).await,
    }
}

/// Adds how to allow the address for this notifier.
fn unreachable(error: AddressError) -> BoxError {
    match error {
        AddressError::Denied { host, address } => format!(
            "{host} is at {address}, which is not a public address: set allow_private = true for this notifier if it is \
             meant; a link-local one must be in `allow` under [network]"
        )
        .into(),
        error @ AddressError::Unknown { .. } => error.into(),
    }
}

/// Sends a test message to one notifier immediately. It creates no run, so it works without a
/// worker.
///
/// # Errors
/// Why the message was not delivered.
pub async fn test(
    options: &AlertOptions,
    notifier: &Notifier,
    credentials: &dyn CredentialSource,
    run_command: Option<&RunCommand>,
    now: surefoot::Timestamp,
) -> Result<String, BoxError> {
    let credential = |name: &str| credentials.get(name).map_err(BoxError::from);
    let cancellation = CancellationToken::new();
    let id = format!("msg_{}", surefoot::RunId::new());
    let tools = Tools {
        id,
        credential: &credential,
        run_command,
        cancellation: &cancellation,
    };
    deliver(
        notifier,
        &Message::test(now, options.public_url.as_deref()),
        &tools,
    )
    .await
}
