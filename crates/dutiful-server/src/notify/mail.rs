//! Notifications by mail: plain text over SMTP, with TLS wherever a password is sent.

use std::net::IpAddr;
use std::time::Duration;

use dutiful::{HandlerError, JobId};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use reqwest::Url;

use super::settings::{EmailSettings, given};
use super::{Notification, words};

/// Longest wait for the server's next answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Most addresses of one target.
const TO_MAX: usize = 20;
/// The port of `smtp://` when none is named, and of `smtps://`.
const PORT: u16 = 25;
const PORT_TLS: u16 = 465;

/// A server that takes mail, and whom to write.
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    pub(super) fn new(
        of: &EmailSettings,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let address = |text: &String| {
            let wrong = |_| format!("has {text:?} in email, which is no address");
            text.parse::<Mailbox>().map_err(wrong)
        };
        if of.to.is_empty() || of.to.len() > TO_MAX {
            return Err(format!("is to have 1 to {TO_MAX} addresses in email.to"));
        }
        let to = of.to.iter().map(address).collect::<Result<_, _>>()?;
        let smtp = given("smtp", of.smtp.as_ref(), of.smtp_env.as_deref(), env)?;
        let smtp = smtp.ok_or("has no email.smtp; write smtp = \"smtp://localhost:25\"")?;
        Ok(Self { transport: transport(&smtp)?, from: address(&of.from)?, to })
    }

    /// Sends it as one mail to all.
    pub(super) async fn send(&self, what: &Notification, id: JobId) -> dutiful::Result<()> {
        let message = self.message(what, id).map_err(|error| {
            // The addresses were read before, so this will not go better the next time.
            HandlerError::discard(HandlerError::msg(format!("no mail could be made: {error}")))
        })?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => Err(HandlerError::boxed(error.into()).with_class("smtp")),
        }
    }

    fn message(&self, what: &Notification, id: JobId) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let mut mail = Message::builder()
            .from(self.from.clone())
            .subject(words::subject(what))
            // The same for each attempt, so that a repeat is known as one.
            .message_id(Some(format!("<{id}@{domain}>")))
            .raw_header(automatic())
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(words::text(what))
    }
}

/// Keeps those who are away from answering.
fn automatic() -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    HeaderValue::new(name, "auto-generated".to_owned())
}

/// Returns what sends to this server. Errors never repeat the URL, which may have a password.
fn transport(smtp: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let wrong = || {
        "has no server in email.smtp; write \"smtp://localhost:25\" or \
         \"smtps://user:password@mail.example.com:465\""
            .to_owned()
    };
    let mut url = Url::parse(smtp).map_err(|_| wrong())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?.to_owned();
    let port = match url.scheme() {
        "smtp" => PORT,
        "smtps" => PORT_TLS,
        _ => return Err(wrong()),
    };
    if url.port().is_none() {
        url.set_port(Some(port)).map_err(|()| wrong())?;
    }
    url.set_query(None);
    let tls = tls(&url, &host).map_err(|_| wrong())?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str());
    let transport = transport.map_err(|_| wrong())?.tls(tls).timeout(Some(ANSWER_MAX));
    Ok(transport.build())
}

fn tls(url: &Url, host: &str) -> Result<Tls, lettre::transport::smtp::Error> {
    if url.scheme() == "smtps" {
        return Ok(Tls::Wrapper(TlsParameters::new(host.to_owned())?));
    }
    let has_password = !url.username().is_empty() || url.password().is_some();
    if has_password && !is_this_machine(host) {
        return Ok(Tls::Required(TlsParameters::new(host.to_owned())?));
    }
    // Who could pose as the server could also say that it knows no TLS: so its certificate is not
    // asked for more than its word, as between mail servers.
    let any = TlsParameters::builder(host.to_owned()).dangerous_accept_invalid_certs(true);
    Ok(Tls::Opportunistic(any.build()?))
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(crate::listen::is_loopback)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_by_tls_only_but_to_this_machine() {
        let of = |text: &str| {
            let url = Url::parse(text).unwrap();
            match tls(&url, url.host_str().unwrap()).unwrap() {
                Tls::None => "none",
                Tls::Opportunistic(_) => "offered",
                Tls::Required(_) => "required",
                Tls::Wrapper(_) => "from the start",
            }
        };
        assert_eq!(of("smtps://u:p@mail.example.com"), "from the start");
        assert_eq!(of("smtp://u:p@mail.example.com:587"), "required");
        assert_eq!(of("smtp://u:p@localhost.example.com"), "required");
        assert_eq!(of("smtp://mail.example.com"), "offered");
        for here in ["smtp://u:p@localhost:25", "smtp://u:p@127.0.0.1", "smtp://u:p@[::1]:2525"] {
            assert_eq!(of(here), "offered", "{here}");
        }
    }
}
