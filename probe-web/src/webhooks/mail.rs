//! Messages as mail, by the one server that whoever runs this one set.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde::Deserialize;

use crate::store::Delivery;

/// How long the mail server may take.
const TIME: Duration = Duration::from_secs(15);

/// Why mail cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server is not named as it has to be.
    #[error("{0:?} is no mail server: smtps://HOST[:PORT], or smtp://HOST[:PORT] for STARTTLS")]
    Server(String),
    /// It is not an address of somebody.
    #[error("{0:?} is no mail address")]
    Address(String),
    /// The message cannot be made.
    #[error("the message cannot be made: {0}")]
    Message(String),
    /// The server did not take it.
    #[error("{0}")]
    Refused(String),
}

/// Sends mail.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailer(from {})", self.from)
    }
}

/// What the body of a message for mail holds.
#[derive(Deserialize)]
struct Letter {
    subject: String,
    text: String,
    thread: String,
    first: bool,
}

impl Mailer {
    /// One that sends by a server: `smtps://HOST[:PORT]` (TLS from the start), or `smtp://HOST[:PORT]` (STARTTLS, which is needed beyond this
    /// computer). Whoever signs in has a name and a password.
    ///
    /// # Errors
    /// Where server or sender are not named as they have to be.
    pub fn new(server: &str, from: &str, user: Option<(String, String)>) -> Result<Self, MailError> {
        let wrong = || MailError::Server(server.to_owned());
        let (scheme, rest) = server.split_once("://").ok_or_else(wrong)?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['@', '/', '?', '#']) {
            return Err(wrong());
        }
        let uri: axum::http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        let host = uri.host().trim_start_matches('[').trim_end_matches(']');
        let is_here =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let builder = match scheme {
            "smtps" => AsyncSmtpTransport::<Tokio1Executor>::relay(host).map_err(|_| wrong())?,
            "smtp" if is_here => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
            "smtp" => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host).map_err(|_| wrong())?,
            _ => return Err(wrong()),
        };
        let builder = builder.timeout(Some(TIME));
        let builder = match uri.port_u16() {
            Some(port) => builder.port(port),
            None => builder,
        };
        let builder = match user {
            Some((name, password)) => builder.credentials(Credentials::new(name, password)),
            None => builder,
        };
        let from = from.parse().map_err(|_| MailError::Address(from.to_owned()))?;
        Ok(Self { transport: builder.build(), from })
    }

    /// Sends a message to `mailto:…`. What the server said.
    pub(crate) async fn send(
        &self,
        to: &str,
        message: &Delivery,
        at: Timestamp,
    ) -> Result<String, MailError> {
        let letter: Letter =
            serde_json::from_str(&message.body).map_err(|error| MailError::Message(error.to_string()))?;
        let to = address(to)?;
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        // Who gets it twice knows it by its id.
        let id = |of: &str| format!("<{of}@greenroom.invalid>");
        let thread = id(&letter.thread);
        let own = if letter.first { thread.clone() } else { id(&message.id.simple().to_string()) };
        let mut mail = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject.replace(['\r', '\n'], " "))
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(own))
            .header(ContentType::TEXT_PLAIN);
        if !letter.first {
            mail = mail.in_reply_to(thread.clone()).references(thread);
        }
        let mail = mail.body(letter.text).map_err(|error| MailError::Message(error.to_string()))?;
        let sent = self.transport.send(mail).await;
        let answer = sent.map_err(|error| MailError::Refused(error.to_string()))?;
        Ok(answer.code().to_string())
    }
}

/// Whom `mailto:…` names.
pub(crate) fn address(url: &str) -> Result<Mailbox, MailError> {
    let wrong = || MailError::Address(url.to_owned());
    let address = url.strip_prefix("mailto:").ok_or_else(wrong)?;
    Ok(Mailbox::new(None, address.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_named_in_full_and_without_secrets() {
        let new = |server: &str| Mailer::new(server, "Greenroom <greenroom@example.org>", None);
        for good in
            ["smtps://mail.example", "smtp://mail.example:587", "smtp://127.0.0.1:2525", "smtp://[::1]:25"]
        {
            assert!(new(good).is_ok(), "{good}");
        }
        for bad in [
            "mail.example",
            "http://mail.example",
            "smtp://ann:secret@mail.example",
            "smtps://",
            "smtp://x/y",
        ] {
            assert!(matches!(new(bad), Err(MailError::Server(_))), "{bad}");
        }
        assert!(matches!(Mailer::new("smtps://mail.example", "nobody", None), Err(MailError::Address(_))));
        assert!(address("mailto:ann@example.org").is_ok() && address("ann@example.org").is_err());
    }
}
