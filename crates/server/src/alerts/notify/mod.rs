//! Who is told of an alert, and how. One file for each kind.

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

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// Its name in the configuration.
    pub name: String,
    /// Addresses that it may have.
    pub addresses: AddressPolicy,
    /// How it is told.
    pub kind: NotifierKind,
}

/// How somebody is told.
#[derive(Clone, Debug)]
pub enum NotifierKind {
    /// A POST with JSON, signed as Standard Webhooks has it.
    Webhook {
        /// Where to.
        url: Source,
        /// The name of the credential that signs.
        secret: Option<String>,
    },
    /// A message to a Slack-compatible incoming webhook.
    Slack {
        /// Where to; whoever knows it can write there, so it is best kept as a credential.
        url: Source,
    },
    /// An e-mail.
    Email(Email),
    /// A program on this machine.
    Command(Command),
}

/// Where something is written.
#[derive(Clone, Debug)]
pub enum Source {
    /// In the configuration.
    Plain(String),
    /// In the credential of this name.
    Credential(String),
}

/// A mail server and who gets the mail.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server's name.
    pub host: String,
    /// Its port; by default 587, 465 or 25, by [`Self::security`].
    pub port: Option<u16>,
    /// How the connection is kept from others.
    pub security: SmtpSecurity,
    /// A file of certificates to trust beside the machine's own.
    pub ca_file: Option<PathBuf>,
    /// Who we are to the server, with the name of the credential that is the password.
    pub login: Option<(String, String)>,
    /// Whom it is from.
    pub from: String,
    /// Whom it is to.
    pub to: Vec<String>,
}

/// How the connection to a mail server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// It begins in the open and must be made secure before anything is said.
    StartTls,
    /// It is secure from the first byte.
    Tls,
    /// It is not.
    None,
}

/// A program on this machine: told by JSON on its standard input and by environment variables.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program and its arguments. No shell reads them.
    pub command: Vec<String>,
}

/// What a delivery needs beside the message.
pub(super) struct Tools<'a> {
    /// The same however often the message is sent.
    pub(super) id: String,
    pub(super) credential: &'a (dyn Fn(&str) -> Result<Secret, String> + Send + Sync),
    pub(super) run_command: Option<&'a RunCommand>,
    pub(super) cancellation: &'a CancellationToken,
}

impl Tools<'_> {
    fn read(&self, source: &Source) -> Result<Secret, BoxError> {
        match source {
            Source::Plain(text) => Ok(Secret::new(text.as_str())),
            Source::Credential(name) => Ok((self.credential)(name)?),
        }
    }
}

/// Delivers a message, and gives what the other side said.
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

/// Adds the notifier's own way to allow an address.
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

/// Sends a test message to one notifier, at once: no run is made, so it works without a worker.
///
/// # Errors
/// Why it was not delivered.
pub async fn test(
    options: &AlertOptions,
    notifier: &Notifier,
    credentials: &dyn CredentialSource,
    run_command: Option<&RunCommand>,
    now: surefoot::Timestamp,
) -> Result<String, BoxError> {
    let credential = |name: &str| credentials.get(name).map_err(|error| error.to_string());
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
