//! E-mail over SMTP.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};
use surefoot::files::{self, Links};
use surefoot::{AddressPolicy, BoxError};

use super::message::Message;
use super::{Email, SmtpSecurity, Tools, unreachable};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Size limit of a certificate file.
const MAX_CERTIFICATE_FILE_SIZE: u64 = 1 << 20;

pub(super) async fn send(
    mail: &Email,
    addresses: &AddressPolicy,
    message: &Message,
    tools: &Tools<'_>,
) -> Result<String, BoxError> {
    let letter = letter(mail, message, &tools.id)?;
    let port = mail.port.unwrap_or(match mail.security {
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::Tls => 465,
        SmtpSecurity::None => 25,
    });
    let addresses = addresses
        .resolve(&mail.host, port)
        .await
        .map_err(unreachable)?;
    let mut failure: BoxError = "no address".into();
    for address in addresses {
        match deliver(mail, address, &letter, tools).await {
            Ok(reply) => return Ok(reply),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn deliver(
    mail: &Email,
    address: SocketAddr,
    letter: &Mail,
    tools: &Tools<'_>,
) -> Result<String, BoxError> {
    // Connects to the address that the policy allowed. The certificate must match the name.
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .tls(tls(mail)?)
            .timeout(Some(TIMEOUT));
    if let Some((user, password)) = &mail.login {
        let password = (tools.credential)(password)?;
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.build();
    let sending = tokio::time::timeout(TIMEOUT, transport.send(letter.clone()));
    let response = sending
        .await
        .map_err(|_| format!("{} did not answer in time", mail.host))??;
    let reply: Vec<&str> = response.message().collect();
    Ok(format!("{} {}", response.code(), reply.join(" "))
        .chars()
        .take(200)
        .collect())
}

fn tls(mail: &Email) -> Result<Tls, BoxError> {
    if mail.security == SmtpSecurity::None {
        return Ok(Tls::None);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut parameters = TlsParameters::builder(mail.host.clone());
    if let Some(path) = &mail.ca_file {
        let pem = files::read(path, Links::Follow, MAX_CERTIFICATE_FILE_SIZE)
            .map_err(|error| format!("cannot read ca_file {}: {error}", path.display()))?;
        parameters = parameters.add_root_certificate(Certificate::from_pem(&pem)?);
    }
    let parameters = parameters.build_rustls()?;
    Ok(if mail.security == SmtpSecurity::Tls {
        Tls::Wrapper(parameters)
    } else {
        Tls::Required(parameters)
    })
}

fn letter(mail: &Email, message: &Message, id: &str) -> Result<Mail, BoxError> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| BoxError::from(format!("`{text}` is not an e-mail address: {error}")))
    };
    let from = mailbox(&mail.from)?;
    let domain = from.email.domain().to_owned();
    let mut letter = Mail::builder()
        .from(from)
        // Identical for every attempt, so that duplicates are recognised as one message.
        .message_id(Some(format!("<{id}@{domain}>")))
        .subject(message.headline())
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        letter = letter.to(mailbox(to)?);
    }
    Ok(letter.body(message.body())?)
}
