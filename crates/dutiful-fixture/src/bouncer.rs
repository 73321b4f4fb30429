//! A PgBouncer in front of a server, for what poolers change: sessions that are not one's own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::install::{as_owner, owner};
use crate::keeper::Keeper;
use crate::postgres::Postgres;
use crate::wait::{PATIENCE, Process, free_port, until};
use crate::{PASSWORD, USER};

/// Where systems put it; Debian's folder is not in every path.
const PLACES: [&str; 3] = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
/// Somebody else may take a port between the look and the start, again and again.
const PORT_TRIES_MAX: usize = 5;
/// What it logs when it listens.
const READY: &str = "process up";

/// When a connection of the server goes back to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the client leaves.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement; transactions of several are refused.
    Statement,
}

/// A pooler of its own, stopped and removed when dropped, or when the test process ends.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    keeper: Keeper,
}

impl PgBouncer {
    /// Starts a pooler for all databases of a server, with the same user and password.
    ///
    /// # Errors
    ///
    /// When PgBouncer is not installed, or does not start: with its log.
    pub fn start(server: &Postgres, mode: Mode) -> Result<Self> {
        let found = PLACES.iter().map(PathBuf::from).find(|place| place.exists());
        let program = found.context("find pgbouncer: `./test` installs it")?;
        let owner = owner()?;
        // INT would wait for its clients.
        let mut keeper = Keeper::new(owner, "TERM", |folder| {
            let mut words = as_owner(owner, &program);
            words.push(folder.join("settings").display().to_string());
            words
        })?;
        for _ in 0..PORT_TRIES_MAX {
            let port = free_port()?;
            configure(keeper.folder(), server.port(), port, mode)?;
            let process = Process::find(keeper.start()?);
            let is_up = || log_of(keeper.folder()).contains(READY);
            until(PATIENCE, || is_up() || !process.is_some_and(Process::lives));
            if is_up() {
                return Ok(Self { port, keeper });
            }
            keeper.stop("KILL")?;
        }
        bail!("start PgBouncer: {}", log_of(keeper.folder()))
    }

    /// Returns the URL of a database of the server, through the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns everything that it logged so far.
    pub fn log(&self) -> String {
        log_of(self.keeper.folder())
    }
}

fn configure(folder: &Path, server: u16, port: u16, mode: Mode) -> Result<()> {
    let mode = match mode {
        Mode::Session => "session",
        Mode::Transaction => "transaction",
        Mode::Statement => "statement",
    };
    let users = folder.join("users");
    let settings = format!(
        "[databases]\n\
         * = host=127.0.0.1 port={server}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = {}\n\
         pool_mode = {mode}\n\
         max_client_conn = 300\n\
         ignore_startup_parameters = extra_float_digits\n",
        users.display()
    );
    fs::write(&users, format!("\"{USER}\" \"{PASSWORD}\"\n"))?;
    fs::write(folder.join("settings"), settings).context("write PgBouncer's settings")
}

fn log_of(folder: &Path) -> String {
    fs::read(folder.join("log")).map_or(String::new(), |log| String::from_utf8_lossy(&log).into())
}
