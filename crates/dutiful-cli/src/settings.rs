//! The settings of one run: flags first, then the environment, then dutiful.toml, then defaults.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dutiful::{Client, Observer};

use crate::config::Config;
use crate::failure::Failure;

/// The store when nobody names one.
pub(crate) const STORE_DEFAULT: &str = "sqlite:dutiful.db";
/// The file that is read when nobody names another.
pub(crate) const CONFIG_DEFAULT: &str = "dutiful.toml";

/// Flags that every command knows.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store: sqlite:FILE [default: sqlite:dutiful.db]
    #[arg(long, global = true, env = "DUTIFUL_STORE", value_name = "URL", hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// The settings file [default: dutiful.toml, if there is one]
    #[arg(
        long,
        global = true,
        env = "DUTIFUL_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Print one line of JSON with stable names
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What every command is given beside its own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The store's URL.
    pub(crate) store: String,
    /// True when nobody named a store, so that it is the default one.
    #[allow(dead_code, reason = "for commands that make a store of their own when none is named")]
    pub(crate) store_is_default: bool,
    /// Print exactly one line of JSON on stdout.
    pub(crate) json: bool,
    /// What dutiful.toml says; empty without one.
    pub(crate) config: Config,
    /// The file that `config` was read from.
    pub(crate) config_file: PathBuf,
}

impl Settings {
    /// Merges the flags (clap put the environment beneath them already) with dutiful.toml.
    pub(crate) fn load(flags: Global) -> Result<Self, Failure> {
        let named = flags.config.is_some();
        let file = flags.config.unwrap_or_else(|| Path::new(CONFIG_DEFAULT).to_owned());
        let config = Config::read(&file, named)?;
        let store = flags.store.filter(|s| !s.is_empty()).or_else(|| config.store.clone());
        Ok(Self {
            store_is_default: store.is_none(),
            store: store.unwrap_or_else(|| STORE_DEFAULT.to_owned()),
            json: flags.json,
            config,
            config_file: file,
        })
    }

    /// Opens the store, and makes it where there is none.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.store).await?)
    }

    /// Opens a store that is there: what looks or changes must not take a slip of the pen for an
    /// empty store.
    pub(crate) async fn existing(&self) -> Result<Client, Failure> {
        Ok(Client::builder().must_exist().connect(&self.store).await?)
    }

    /// Opens the store with the schema that it has, to migrate it.
    pub(crate) async fn unmigrated(&self) -> Result<Client, Failure> {
        Ok(Client::builder().as_it_is().connect(&self.store).await?)
    }

    /// Opens the store for a worker, with or without the right to migrate it, and tells the
    /// observer, if there is one, of every enqueue.
    pub(crate) async fn worker_client(
        &self,
        migrate: bool,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Client, Failure> {
        let mut client = Client::builder().migrate(migrate);
        if let Some(observer) = observer {
            client = client.observer(observer);
        }
        Ok(client.connect(&self.store).await?)
    }
}
