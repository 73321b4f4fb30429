//! A mail server of one page and the call that hands it a mail: HTTP POST on 127.0.0.1.
//!
//! It refuses the first attempt of every 20th order, and it recognises a mail that it has delivered
//! already by its `Idempotency-Key`, as payment and mail services do.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dutiful::HandlerError;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ledger::Ledger;

/// The first attempt of each order whose number this divides is refused.
pub(crate) const REFUSED_EVERY: u64 = 20;
/// Most bytes of a request or an answer.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024;
/// Longest time that one exchange may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(5);
/// A mail server takes its time; without any the crash would find nobody in the middle of a mail.
const THINKING: Duration = Duration::from_millis(150);

/// A mail as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) order: u64,
    pub(crate) to: String,
    pub(crate) subject: String,
}

/// The running server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1 and notes every mail in the ledger.
    pub(crate) async fn open(ledger: Ledger) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk { ledger, seen: Mutex::default() });
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    // A client that hangs up spoils its own mail only.
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, desk.clone()))),
                    // Out of descriptors for a moment.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the server remembers.
struct Desk {
    ledger: Ledger,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    delivered: HashSet<String>,
    refused: HashSet<u64>,
}

impl Desk {
    /// Takes a mail, refuses it, or recognises it; what it answers is on the ledger before.
    fn take(&self, mail: &Mail, key: &str) -> io::Result<(u16, &'static str)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if mail.order.is_multiple_of(REFUSED_EVERY) && seen.refused.insert(mail.order) {
            self.ledger.note(format_args!("refused {} {key}", mail.order))?;
            return Ok((503, "the mailbox is busy, try again"));
        }
        if !seen.delivered.insert(key.to_owned()) {
            self.ledger.note(format_args!("repeat {} {key}", mail.order))?;
            return Ok((200, "delivered before"));
        }
        self.ledger.note(format_args!("delivered {} {key}", mail.order))?;
        Ok((202, "delivered"))
    }
}

async fn serve(mut stream: TcpStream, desk: Arc<Desk>) -> io::Result<()> {
    let (status, text) = match timeout(EXCHANGE_MAX, receive(&mut stream)).await {
        Ok(Ok((mail, key))) => {
            tokio::time::sleep(THINKING).await;
            desk.take(&mail, &key)?
        }
        Ok(Err(_)) | Err(_) => (400, "this is no mail"),
    };
    let answer = format!(
        "HTTP/1.1 {status} {text}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads one `POST /mail` with its key and body.
async fn receive(stream: &mut TcpStream) -> io::Result<(Mail, String)> {
    let no_mail = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    let (head, mut body) = read_head(stream).await?;
    let mut lines = head.lines();
    if lines.next() != Some("POST /mail HTTP/1.1") {
        return Err(no_mail("not POST /mail"));
    }
    let field = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find_map(|(field, value)| {
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length: u64 = field("content-length")
        .and_then(|length| length.parse().ok())
        .filter(|length| *length <= MESSAGE_BYTES_MAX)
        .ok_or_else(|| no_mail("no length"))?;
    let missing = length.saturating_sub(body.len() as u64);
    stream.take(missing).read_to_end(&mut body).await?;
    let key = field("idempotency-key").ok_or_else(|| no_mail("no key"))?;
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(no_mail("a key that the ledger cannot hold"));
    }
    Ok((serde_json::from_slice(&body)?, key))
}

/// Reads up to the empty line; returns what stands before it and what came after it.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(MESSAGE_BYTES_MAX);
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "a head that is no text")
            })?;
            return Ok((head, body));
        }
        if limited.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Hands a mail to the server; anything but its yes is an error, to be tried again.
pub(crate) async fn send(server: SocketAddr, mail: &Mail, key: &str) -> dutiful::Result<()> {
    let body = serde_json::to_string(mail)?;
    let request = format!(
        "POST /mail HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {key}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(request.as_bytes()).await?;
        read_head(&mut stream).await
    };
    let (head, _) = timeout(EXCHANGE_MAX, exchange).await.map_err(|_| {
        HandlerError::msg("the mail server did not answer in time").with_class("mail_timeout")
    })??;
    let answer = head.lines().next().unwrap_or_default();
    if answer.starts_with("HTTP/1.1 2") {
        return Ok(());
    }
    Err(HandlerError::msg(format!("the mail server said \"{answer}\"")).with_class("mail_refused"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ledger;

    #[tokio::test]
    async fn refuses_every_20th_order_once_and_recognises_a_repeated_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.ledger");
        let receiver = Receiver::open(Ledger::open(&path).unwrap()).await.unwrap();
        let mail = |order| Mail { order, to: "ann@example.com".into(), subject: "ü".into() };
        let post = |order, key| async move { send(receiver.address, &mail(order), key).await };
        assert!(post(19, "a").await.is_ok());
        assert!(post(19, "a").await.is_ok());
        assert!(post(20, "b").await.is_err());
        assert!(post(20, "b").await.is_ok());
        let words: Vec<_> = ledger::read(&path).unwrap().iter().map(|l| l[..2].join(" ")).collect();
        assert_eq!(words, ["delivered 19", "repeat 19", "refused 20", "delivered 20"]);
    }

    #[tokio::test]
    async fn answers_nonsense_with_400_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("mail.ledger")).unwrap();
        let receiver = Receiver::open(ledger).await.unwrap();
        for nonsense in [
            "GET / HTTP/1.1\r\n\r\n",
            "POST /mail HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            "POST /mail HTTP/1.1\r\nContent-Length: 2\r\nIdempotency-Key: k\r\n\r\n{}",
        ] {
            let mut stream = TcpStream::connect(receiver.address).await.unwrap();
            stream.write_all(nonsense.as_bytes()).await.unwrap();
            let (head, _) = read_head(&mut stream).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        }
    }
}
