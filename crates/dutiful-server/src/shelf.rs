//! What the server keeps in the store beside the jobs, as JSON under a key of a shelf.

use std::time::Duration;

use dutiful::store::{Keep, KeepWhen, KeptItem, KeptRange};
use dutiful::{Client, Name, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest key, in bytes: longer ones, which only a caller can have made up, are nowhere.
const KEY_MAX: usize = 255;
/// Where it stands whose turn it is to do what one server of many does.
const TURNS: Shelf = Shelf("turns");

/// A kind of thing that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf(pub(crate) &'static str);

/// A thing that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Item<T> {
    pub(crate) key: String,
    pub(crate) value: T,
    pub(crate) version: i64,
}

impl Shelf {
    fn name(self) -> Result<Name, StoreError> {
        Name::new("shelf", self.0).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Returns what is kept under a key. What this program cannot read is as good as absent.
    pub(crate) async fn get<T: DeserializeOwned>(
        self,
        client: &Client,
        key: &str,
    ) -> Result<Option<Item<T>>, StoreError> {
        if !is_key(key) {
            return Ok(None);
        }
        // The next key in the order of bytes.
        let after = format!("{key}\u{1}");
        let found = self.range(client, key, Some(&after), false, 1).await?;
        Ok(found.into_iter().find(|item| item.key == key))
    }

    /// Keeps a thing, if what is there is as asked; returns its version.
    pub(crate) async fn put<T: Serialize>(
        self,
        client: &Client,
        key: &str,
        value: &T,
        when: KeepWhen,
        ttl: Option<Duration>,
    ) -> Result<Option<i64>, StoreError> {
        let value = serde_json::to_vec(value)
            .map_err(|error| StoreError::Unavailable(format!("write it as JSON: {error}")))?;
        let (shelf, key) = (self.name()?, key.to_owned());
        client.store().keep(Keep { shelf, key, value: Some(value), when, ttl }).await
    }

    /// Forgets what is kept under a key; says whether there was something.
    pub(crate) async fn forget(self, client: &Client, key: &str) -> Result<bool, StoreError> {
        if !is_key(key) {
            return Ok(false);
        }
        let (shelf, key) = (self.name()?, key.to_owned());
        let ask = Keep { shelf, key, value: None, when: KeepWhen::Always, ttl: None };
        Ok(client.store().keep(ask).await?.is_some())
    }

    /// Returns what is kept under `from <= key < to`, in the order of the keys' bytes.
    pub(crate) async fn range<T: DeserializeOwned>(
        self,
        client: &Client,
        from: &str,
        to: Option<&str>,
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Item<T>>, StoreError> {
        let (shelf, from) = (self.name()?, from.to_owned());
        let range = KeptRange { shelf, from, to: to.map(str::to_owned), newest_first, limit };
        let read = |item: KeptItem| {
            let value = serde_json::from_slice(&item.value).ok()?;
            Some(Item { key: item.key, value, version: item.version })
        };
        Ok(client.store().kept(range).await?.into_iter().filter_map(read).collect())
    }

    /// Takes or renews the turn to do what one server of many does; true while this holder has it,
    /// which is until `ttl` has passed since the last time.
    pub(crate) async fn take_turn(
        client: &Client,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let ours = |item: &Item<String>| item.value == holder;
        let when = match TURNS.get::<String>(client, name).await?.filter(ours) {
            Some(item) => KeepWhen::Version(item.version),
            None => KeepWhen::Absent,
        };
        Ok(TURNS.put(client, name, &holder, when, Some(ttl)).await?.is_some())
    }
}

/// Postgres keeps no NUL in a text.
fn is_key(key: &str) -> bool {
    key.len() <= KEY_MAX && !key.contains('\0')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const THINGS: Shelf = Shelf("things");
    const SECOND: Duration = Duration::from_secs(1);

    async fn client() -> Client {
        Client::connect("sqlite::memory:").await.unwrap()
    }

    #[tokio::test]
    async fn a_thing_is_found_under_its_key_alone() {
        let client = client().await;
        for key in ["ab", "a", "abc"] {
            THINGS.put(&client, key, &key, KeepWhen::Always, None).await.unwrap();
        }
        assert_eq!(THINGS.get::<String>(&client, "a").await.unwrap().unwrap().value, "a");
        assert_eq!(THINGS.get::<String>(&client, "ab").await.unwrap().unwrap().value, "ab");
        for nowhere in ["", "b", "a\0", &"a".repeat(300)] {
            assert!(THINGS.get::<String>(&client, nowhere).await.unwrap().is_none(), "{nowhere}");
            assert!(!THINGS.forget(&client, nowhere).await.unwrap());
        }
        assert!(THINGS.get::<u32>(&client, "a").await.unwrap().is_none(), "it is no number");
        assert!(THINGS.forget(&client, "a").await.unwrap());
        assert!(THINGS.get::<String>(&client, "a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn one_holder_has_the_turn_until_it_lets_it_run_out() {
        let client = client().await;
        let take = async |holder: &str, ttl| {
            Shelf::take_turn(&client, "watch", holder, ttl).await.unwrap()
        };
        assert!(take("one", 60 * SECOND).await);
        assert!(!take("two", 60 * SECOND).await);
        assert!(take("one", Duration::ZERO).await, "renewed, and over at once");
        assert!(take("two", 60 * SECOND).await);
        assert!(!take("one", 60 * SECOND).await);
    }
}
