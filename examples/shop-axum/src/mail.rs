//! The mail: its job, its handler, and an outbox that knows a letter it has seen before.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use dutiful::{Context, Job, Result};
use serde::{Deserialize, Serialize};

/// A mail server takes its time to say that it has the letter.
const ANSWER: Duration = Duration::from_millis(300);

/// Welcomes a user who just signed up.
#[derive(Serialize, Deserialize)]
pub(crate) struct SendWelcome {
    pub(crate) user: i64,
    pub(crate) email: String,
}

impl Job for SendWelcome {
    const TYPE: &'static str = "send_welcome";
    const QUEUE: &'static str = "mail";
    const MAX_ATTEMPTS: u32 = 10;
    const TIMEOUT: Duration = Duration::from_secs(30);
}

/// What becomes the job's result.
#[derive(Serialize)]
pub(crate) struct Sent {
    letter: PathBuf,
}

/// Sends the letter. Whatever fails on the way is an error, and the job is tried again.
pub(crate) async fn send_welcome(job: SendWelcome, cx: Context<Outbox>) -> Result<Sent> {
    cx.progress(10, "writing the letter");
    let SendWelcome { user, email } = job;
    let text = format!("To: {email}\nSubject: Welcome!\n\nYou are our user number {user}.\n");
    cx.progress(50, "talking to the mail server");
    let letter = cx.app.deliver(&cx.idempotency_key(), &text).await?;
    Ok(Sent { letter })
}

/// A folder in place of a mail server. As a good one does, it takes a key with each letter, and
/// takes a second letter with the same key for the first.
pub(crate) struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// Opens the folder, and makes it when it is not there.
    pub(crate) async fn open(folder: PathBuf) -> std::io::Result<Self> {
        tokio::fs::create_dir_all(&folder).await?;
        Ok(Self { folder })
    }

    /// Delivers a letter once for each key, and returns where it is.
    async fn deliver(&self, key: &str, text: &str) -> std::io::Result<PathBuf> {
        let letter = self.folder.join(format!("{key}.eml"));
        let draft = self.folder.join(format!("{key}.draft"));
        tokio::fs::write(&draft, text).await?;
        // The letter appears whole or not at all; one that is there already stays as it is.
        match tokio::fs::hard_link(&draft, &letter).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => tokio::fs::remove_file(&draft).await?,
        }
        // Killed in here, the letter is out and nobody has heard of it.
        tokio::time::sleep(ANSWER).await;
        Ok(letter)
    }
}
