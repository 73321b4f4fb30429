//! The operators' password: its hash by Argon2, and how often it may be guessed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use crate::labels::lock;

/// Shortest and longest password, in bytes.
const PASSWORD_MIN: usize = 8;
const PASSWORD_MAX: usize = 1024;
/// So many guesses are free; each further one waits, whoever makes it.
const FREE: u32 = 10;
const PAUSE: Duration = Duration::from_secs(6);

/// Returns the hash of a password, as `AccessOptions::password_hash` takes it. Takes some 20 MiB
/// and a part of a second.
///
/// # Errors
/// A sentence: too short, too long, or the system has no randomness.
pub fn hash_password(password: &str) -> Result<String, String> {
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.len()) {
        return Err(format!("the password has {PASSWORD_MIN} to {PASSWORD_MAX} bytes"));
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| format!("the system has no randomness: {error}"))?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// Refuses what is no hash, before anybody tries to sign in.
pub(super) fn check_hash(hash: &str) -> Result<(), String> {
    match PasswordHash::new(hash) {
        Ok(hash) if hash.algorithm.as_str().starts_with("argon2") => Ok(()),
        _ => Err("the password's hash is none: make one with `dutiful password`".to_owned()),
    }
}

/// How often somebody guessed wrong, of late.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<Option<(Instant, u32)>>);

impl Guesses {
    /// Says whether a password is right, or how long to wait before the next guess.
    pub(crate) async fn check(&self, password: String, hash: &str) -> Result<bool, Duration> {
        self.count(Instant::now())?;
        let hash = hash.to_owned();
        // It takes long on purpose.
        let checked = tokio::task::spawn_blocking(move || {
            let fits = password.len() <= PASSWORD_MAX;
            fits && Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()
        });
        let right = checked.await.unwrap_or(false);
        if right {
            *lock(&self.0) = None;
        }
        Ok(right)
    }

    /// Counts a guess before it is looked at, so that many at once are counted too.
    fn count(&self, now: Instant) -> Result<(), Duration> {
        let mut guesses = lock(&self.0);
        let (since, made) = guesses.unwrap_or((now, 0));
        // One is forgotten after each pause.
        let gone = now.saturating_duration_since(since).as_secs() / PAUSE.as_secs();
        let gone = u32::try_from(gone).unwrap_or(u32::MAX);
        let (since, made) = (since + PAUSE * gone, made.saturating_sub(gone));
        if made >= FREE {
            *guesses = Some((since, made));
            return Err(PAUSE.saturating_sub(now.saturating_duration_since(since)));
        }
        *guesses = Some(if made == 0 { (now, 1) } else { (since, made + 1) });
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_is_known_by_its_hash() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_ne!(hash, hash_password("correct horse").unwrap(), "salted");
        check_hash(&hash).unwrap();
        let guesses = Guesses::default();
        assert_eq!(guesses.check("correct horse".into(), &hash).await, Ok(true));
        for wrong in ["", "correct hors", "correct horse ", &"x".repeat(5000)] {
            assert_eq!(guesses.check(wrong.into(), &hash).await, Ok(false), "{wrong}");
        }
        assert!(hash_password("short").is_err() && hash_password(&"x".repeat(5000)).is_err());
        for none in ["", "correct horse", "$2b$12$abc", "$argon2id$"] {
            assert!(check_hash(none).is_err(), "{none}");
        }
    }

    #[test]
    fn guesses_have_to_wait_after_ten_wrong_ones() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        for _ in 0..FREE {
            guesses.count(start).unwrap();
        }
        let wait = guesses.count(start).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= PAUSE, "{wait:?}");
        assert!(guesses.count(start + PAUSE / 2).is_err());
        guesses.count(start + PAUSE).unwrap();
        assert!(guesses.count(start + PAUSE).is_err());
        let minutes =
            (0..600).filter(|s| guesses.count(start + PAUSE + Duration::from_secs(*s)).is_ok());
        assert!(minutes.count() <= 101, "ten a minute");
    }
}
