//! Where the jobs of a campaign are kept: a new file, a server of its own, or what a person named.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dutiful_fixture::{Options, Postgres, Version};

use crate::final_state::{Tables, file_of, is_postgres};

/// The word for a server that is started for the campaign alone.
const OWN_SERVER: &str = "postgres";
/// The schema there.
const SCHEMA: &str = "trust";
/// What SQLite and Postgres say when an acknowledged commit survives power loss.
const DURABLE: [&str; 2] = ["synchronous=full", "fsync=on, synchronous_commit=on"];

/// The store of a campaign.
pub(super) struct Home {
    /// Its URL.
    pub(super) url: String,
    /// Its file, if it is one.
    pub(super) file: Option<PathBuf>,
    /// The server that was started for it, which ends with the campaign.
    pub(super) server: Option<Postgres>,
}

impl Home {
    /// Makes the store and its tables, so that nobody finds it without them.
    pub(super) fn make(named: Option<&str>, dir: &Path) -> anyhow::Result<Self> {
        let home = match named {
            None => Self::of_file(format!("sqlite:{}", dir.join("store.db").display()))?,
            Some(OWN_SERVER) => {
                // Commits wait for the disk here, as they do for people.
                let options = Options {
                    version: Version::System,
                    fsync: true,
                    settings: vec![("recovery_init_sync_method".into(), "syncfs".into())],
                    ..Options::default()
                };
                let server = Postgres::start(&options)?;
                // No database of its own: recovery syncs each file of each database.
                let url = format!("{}?schema={SCHEMA}", server.url("postgres"));
                Self { url, file: None, server: Some(server) }
            }
            Some(url) if is_postgres(url) => Self { url: url.to_owned(), file: None, server: None },
            Some(url) => Self::of_file(url.to_owned())?,
        };
        if home.file.is_none() {
            with_client(&home.url, true, |_| ()).context("make the tables in Postgres")?;
            let making = crate::roles::make_counter(&home.url);
            runtime()?.block_on(making).context("make the counter in Postgres")?;
            let jobs = home.tables()?.read()?.jobs.len();
            anyhow::ensure!(jobs == 0, "use this schema: it has {jobs} jobs, and they mislead");
        }
        Ok(home)
    }

    fn of_file(url: String) -> anyhow::Result<Self> {
        let file = file_of(&url)?;
        anyhow::ensure!(!file.exists(), "use {}: it exists already", file.display());
        Ok(Self { url, file: Some(file), server: None })
    }

    /// Opens the tables for the judge.
    pub(super) fn tables(&self) -> anyhow::Result<Tables> {
        Tables::open(&self.url)
    }

    /// Asks the library itself what the store promises.
    pub(super) fn durability(&self) -> anyhow::Result<String> {
        with_client(&self.url, false, |client| client.facts().durability)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            // Its data goes with it: nobody has to wait for a last checkpoint.
            let _ = server.kill_9();
        }
    }
}

/// True when what is acknowledged survives power loss.
pub(super) fn is_durable(durability: &str) -> bool {
    DURABLE.iter().any(|word| durability.contains(word))
}

fn with_client<T>(
    url: &str,
    migrate: bool,
    look: impl FnOnce(&dutiful::Client) -> T,
) -> anyhow::Result<T> {
    runtime()?.block_on(async {
        let client = dutiful::Client::builder().migrate(migrate).connect(url).await?;
        let seen = look(&client);
        client.close().await?;
        Ok(seen)
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
