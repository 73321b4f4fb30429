//! Tokens: what a program shows to be let in. The store holds a hash of each, never the token.
//!
//! A token is `dut_ID_SECRET`: the id names it to people, the secret has 256 random bits. A server
//! reads all of them twice a second while it is asked, so a token that is revoked anywhere is
//! refused everywhere within a second. Where ever a token was made, nobody is let in without one
//! any more, also after the last one ran out: see [`open`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dutiful::store::KeepWhen;
use dutiful::{Client, Error, Name, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as AsyncMutex;

use super::scopes::{Scope, Scopes};
use crate::labels::lock;
use crate::shelf::Shelf;

/// What every token begins with, so that people and scanners for secrets know it.
const PREFIX: &str = "dut_";
/// Most tokens of one store.
pub(crate) const TOKENS_MAX: usize = 1000;
/// Longest name of a token, in bytes; most queues of one; shortest and longest life.
const NAME_MAX: usize = 100;
const QUEUES_MAX: usize = 100;
const EXPIRY_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How often a token may ask, per second, unless it says, and at most.
const RATE: u32 = 1000;
const RATE_MAX: u32 = 1_000_000;
/// What was read of the store is good for this long: well below the second within which a token
/// must be refused after it was revoked.
pub(super) const FRESH: Duration = Duration::from_millis(400);
/// How often it is written that a token was used.
const USED_EVERY: Duration = Duration::from_secs(60);
/// How long that is remembered.
const USED_FOR: Duration = Duration::from_secs(400 * 86_400);

const TOKENS: Shelf = Shelf("tokens");
const USES: Shelf = Shelf("token_uses");
/// Here it stands that credentials are asked for.
const ACCESS: Shelf = Shelf("access");
const CLOSED: &str = "closed";

/// A token as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Of the whole token, by SHA-256: it is random, so nothing slower is needed.
    hash: String,
    pub(crate) scopes: Scopes,
    #[serde(default)]
    pub(crate) queues: Vec<String>,
    pub(crate) rate_per_s: u32,
    created_us: i64,
    expires_us: Option<i64>,
}

/// A token to make.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// For people: who or what has it.
    pub name: String,
    /// What it allows: `read`, `enqueue`, `work`, `operate`, `admin`.
    pub scopes: Vec<String>,
    /// The only queues to enqueue into and work on; all where this is empty.
    pub queues: Vec<String>,
    /// For how long; for ever where nothing is said.
    pub expires_in: Option<Duration>,
    /// How often it may ask, per second, of one server (1000).
    pub rate_per_s: Option<u32>,
}

/// A token that is there, without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct TokenInfo {
    /// Names it.
    pub id: String,
    /// Who or what has it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<&'static str>,
    /// The only queues to enqueue into and work on; all where this is empty.
    pub queues: Vec<String>,
    /// How often it may ask, per second.
    pub rate_per_s: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// What was asked for cannot be.
    #[error("make a token: {0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Makes a token and returns it with what is known of it: this is the only time it is seen.
///
/// # Errors
/// [`TokenError`]: something about it cannot be, or the store fails.
pub async fn create(client: &Client, new: NewToken) -> Result<(String, TokenInfo), TokenError> {
    let invalid = TokenError::Invalid;
    let scopes = Scopes::named(new.scopes.iter().map(String::as_str)).map_err(invalid)?;
    check(&new, scopes).map_err(invalid)?;
    let there: Vec<_> = all(client).await?;
    if there.len() >= TOKENS_MAX {
        return Err(invalid(format!("there are {TOKENS_MAX}; revoke some first")));
    }
    let now = Timestamp::from_system(SystemTime::now()).map_err(Error::from)?;
    let (id, token) = loop {
        let id = random::<5>().map_err(invalid)?.to_lowercase().replace(['-', '_'], "0");
        let secret = random::<32>().map_err(invalid)?;
        if !there.iter().any(|one| one.id == id) {
            let token = format!("{PREFIX}{id}_{secret}");
            break (id, token);
        }
    };
    let record = Record {
        hash: hash(&token),
        name: new.name.trim().to_owned(),
        scopes,
        queues: new.queues,
        rate_per_s: new.rate_per_s.unwrap_or(RATE),
        created_us: now.us(),
        expires_us: new.expires_in.map(|after| now.plus(after).us()),
        id: id.clone(),
    };
    // First the door is closed, then the first key is there.
    let (when, store) = (KeepWhen::Always, Error::Store);
    ACCESS.put(client, CLOSED, &true, when, None).await.map_err(store)?;
    TOKENS.put(client, &id, &record, KeepWhen::Absent, new.expires_in).await.map_err(store)?;
    Ok((token, record.info(None)))
}

fn check(new: &NewToken, scopes: Scopes) -> Result<(), String> {
    let name = new.name.trim();
    if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(format!("its name, which says who has it, has 1 to {NAME_MAX} bytes"));
    }
    if new.queues.len() > QUEUES_MAX {
        return Err(format!("name at most {QUEUES_MAX} queues"));
    }
    for queue in &new.queues {
        Name::new("queue", queue).map_err(|error| error.to_string())?;
    }
    if !new.queues.is_empty() && !scopes.are_within(&[Scope::Enqueue, Scope::Work]) {
        return Err("for some queues alone it can allow enqueue and work; to read, operate or \
                    administer goes for all queues"
            .to_owned());
    }
    if new.expires_in.is_some_and(|after| after.is_zero() || after > EXPIRY_MAX) {
        return Err("it ends after more than nothing and at most ten years".to_owned());
    }
    if new.rate_per_s.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
        return Err(format!("its rate is 1 to {RATE_MAX} requests a second"));
    }
    Ok(())
}

/// Returns the tokens that are there, the newest first.
///
/// # Errors
/// When the store fails.
pub async fn list(client: &Client) -> Result<Vec<TokenInfo>, Error> {
    let uses = USES.range::<i64>(client, "", None, false, 2 * TOKENS_MAX).await?;
    let uses: HashMap<_, _> = uses.into_iter().map(|item| (item.key, item.value)).collect();
    let mut all = all(client).await?;
    all.sort_by_key(|one| std::cmp::Reverse(one.created_us));
    Ok(all.iter().map(|one| one.info(uses.get(&one.id).copied())).collect())
}

/// Takes a token away: within a second no server lets it in. Returns false when there is none.
///
/// # Errors
/// When the store fails.
pub async fn revoke(client: &Client, id: &str) -> Result<bool, Error> {
    let gone = TOKENS.forget(client, id).await?;
    USES.forget(client, id).await?;
    Ok(gone)
}

/// Takes all tokens away and lets everybody in again who reaches a server, where nothing else asks
/// for credentials. Returns how many tokens there were.
///
/// # Errors
/// When the store fails.
pub async fn open(client: &Client) -> Result<usize, Error> {
    let all = all(client).await?;
    for one in &all {
        revoke(client, &one.id).await?;
    }
    ACCESS.forget(client, CLOSED).await?;
    Ok(all.len())
}

async fn all(client: &Client) -> Result<Vec<Record>, Error> {
    let found = TOKENS.range::<Record>(client, "", None, false, 2 * TOKENS_MAX).await?;
    Ok(found.into_iter().map(|item| item.value).collect())
}

impl Record {
    fn info(&self, used_us: Option<i64>) -> TokenInfo {
        TokenInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            scopes: self.scopes.names(),
            queues: self.queues.clone(),
            rate_per_s: self.rate_per_s,
            created_at: Timestamp::from_us(self.created_us),
            expires_at: self.expires_us.map(Timestamp::from_us),
            last_used_at: used_us.map(Timestamp::from_us),
        }
    }
}

/// Returns so many random bytes as text.
pub(super) fn random<const N: usize>() -> Result<String, String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system has no randomness: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

pub(super) fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret.as_bytes()))
}

/// Compares in a time that says nothing of where they differ.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && differ == 0
}

/// All tokens, as they were a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Known {
    by_id: BTreeMap<String, Record>,
    closed: bool,
}

impl Known {
    /// True where no credentials are asked for by tokens.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && !self.closed
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Record> {
        self.by_id.get(id)
    }

    /// Returns the id of a token that holds.
    pub(crate) fn id_of(&self, token: &str) -> Option<String> {
        self.by_secret(token).map(|one| one.id.clone())
    }

    pub(super) fn by_secret(&self, token: &str) -> Option<&Record> {
        let (id, _) = token.strip_prefix(PREFIX)?.split_once('_')?;
        self.by_id(id).filter(|one| same(&one.hash, &hash(token)))
    }
}

type Read = Result<Arc<Known>, String>;

/// Reads the tokens of a store, for all who ask in a while.
pub(crate) struct Tokens {
    client: Client,
    last: RwLock<Option<(Instant, Read)>>,
    reading: AsyncMutex<()>,
    used: Mutex<HashMap<String, Instant>>,
}

impl Tokens {
    pub(super) fn new(client: Client) -> Self {
        let (last, reading, used) = Default::default();
        Self { client, last, reading, used }
    }

    /// Returns all tokens, or why they could not be read: then nobody is let in.
    pub(crate) async fn all(&self) -> Read {
        if let Some(read) = self.fresh() {
            return read;
        }
        let _reading = self.reading.lock().await;
        if let Some(read) = self.fresh() {
            return read;
        }
        // As old as its question: a token that is revoked from now on may still be in the answer.
        let asked = Instant::now();
        let read = self.read().await.map(Arc::new);
        let read = read.map_err(|error| format!("the credentials could not be read: {error}"));
        *self.last.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((asked, read.clone()));
        read
    }

    fn fresh(&self) -> Option<Read> {
        let last = self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, read)| read.clone())
    }

    async fn read(&self) -> Result<Known, Error> {
        let all = all(&self.client).await?;
        let closed = !all.is_empty() || ACCESS.get::<bool>(&self.client, CLOSED).await?.is_some();
        Ok(Known { by_id: all.into_iter().map(|one| (one.id.clone(), one)).collect(), closed })
    }

    /// What changed here counts here at once.
    pub(crate) fn changed(&self) {
        *self.last.write().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// Writes that a token was used, now and then, while nobody waits for it.
    pub(super) fn used(&self, record: &Record) {
        let mut used = lock(&self.used);
        if used.get(&record.id).is_some_and(|at| at.elapsed() < USED_EVERY) {
            return;
        }
        used.retain(|_, at| at.elapsed() < USED_EVERY);
        used.insert(record.id.clone(), Instant::now());
        drop(used);
        let (client, id) = (self.client.clone(), record.id.clone());
        tokio::spawn(async move {
            let Ok(now) = Timestamp::from_system(SystemTime::now()) else { return };
            // A use that is not written is written with the next.
            let _ = USES.put(&client, &id, &now.us(), KeepWhen::Always, Some(USED_FOR)).await;
        });
    }
}
