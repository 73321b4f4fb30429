//! Sessions of people who signed in: kept in the store, so that they hold at every server and end
//! when they are ended, and known to the browser by a random secret whose hash alone is kept.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dutiful::store::KeepWhen;
use dutiful::{Client, Error};
use serde::{Deserialize, Serialize};

use super::Caller;
use super::scopes::Scopes;
use super::tokens::{FRESH, hash, random};
use crate::labels::lock;
use crate::shelf::Shelf;

/// How long somebody stays signed in.
pub(crate) const SESSION_LASTS: Duration = Duration::from_secs(12 * 3600);
/// Longest secret that is looked up.
const SECRET_MAX: usize = 100;
/// Most sessions that are remembered between two looks.
const REMEMBERED_MAX: usize = 1000;

const SESSIONS: Shelf = Shelf("sessions");

/// A session as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    actor: String,
    /// The token that was shown; the session holds for as long as it.
    pub(super) token: Option<String>,
    /// A hash of the password's hash: another password ends the session.
    password: Option<String>,
}

impl Session {
    pub(crate) fn of_token(id: &str) -> Self {
        Self { actor: String::new(), token: Some(id.to_owned()), password: None }
    }

    pub(crate) fn of_password(password_hash: &str) -> Self {
        let password = Some(hash(password_hash));
        Self { actor: "operator".to_owned(), token: None, password }
    }

    pub(super) fn is_of(&self, password_hash: Option<&str>) -> bool {
        self.token.is_some() || self.password == password_hash.map(hash)
    }

    pub(super) fn caller(&self) -> Caller {
        let (actor, scopes) = (self.actor.clone(), Scopes::ALL);
        Caller { actor, scopes, queues: None, known: true }
    }
}

/// Finds sessions, each in the store twice a second at most.
pub(crate) struct Sessions {
    client: Client,
    last: Mutex<HashMap<String, (Instant, Option<Session>)>>,
}

impl Sessions {
    pub(super) fn new(client: Client) -> Self {
        Self { client, last: Mutex::default() }
    }

    /// Begins a session and returns its secret.
    pub(crate) async fn begin(&self, session: &Session) -> Result<String, Error> {
        let secret = random::<32>().map_err(|why| {
            Error::Store(dutiful::StoreError::Unavailable(format!("begin a session: {why}")))
        })?;
        let (key, ttl) = (hash(&secret), Some(SESSION_LASTS));
        SESSIONS.put(&self.client, &key, session, KeepWhen::Absent, ttl).await?;
        Ok(secret)
    }

    pub(super) async fn find(&self, secret: &str) -> Result<Option<Session>, String> {
        if secret.len() > SECRET_MAX {
            return Ok(None);
        }
        let key = hash(secret);
        if let Some((at, session)) = lock(&self.last).get(&key)
            && at.elapsed() < FRESH
        {
            return Ok(session.clone());
        }
        let asked = Instant::now();
        let found = SESSIONS.get::<Session>(&self.client, &key).await;
        let found = found.map_err(|error| format!("the session could not be read: {error}"))?;
        let session = found.map(|item| item.value);
        let mut last = lock(&self.last);
        if last.len() >= REMEMBERED_MAX {
            last.clear();
        }
        last.insert(key, (asked, session.clone()));
        Ok(session)
    }

    /// Ends a session.
    pub(crate) async fn end(&self, parts: &axum::http::HeaderMap) -> Result<(), Error> {
        if let Some(secret) = super::cookie::session(parts) {
            let key = hash(&secret);
            SESSIONS.forget(&self.client, &key).await?;
            lock(&self.last).remove(&key);
        }
        Ok(())
    }
}
