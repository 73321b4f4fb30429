//! One private Postgres server: started, asked, killed, started again, and gone in the end.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Options};
use crate::install::{Version, as_owner, owner};
use crate::keeper::Keeper;
use crate::wait::{PATIENCE, Process, free_port, until, until_gone};
use crate::{PASSWORD, USER};

/// Somebody else may take a port between the look and the server's start, again and again.
const PORT_TRIES_MAX: usize = 5;
/// The line of the lock file in which the server says whether it is ready.
const STATUS_LINE: usize = 7;

/// A server of its own, stopped and removed when dropped, or when the test process ends.
#[derive(Debug)]
pub struct Postgres {
    version: Version,
    fsync: bool,
    port: u16,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server on a free port of 127.0.0.1 and returns when it takes connections.
    ///
    /// # Errors
    ///
    /// When the version is not installed, or the server does not start: with its log.
    pub fn start(options: &Options) -> Result<Self> {
        let postgres = options.version.bin()?.join("postgres");
        let owner = owner()?;
        let mut keeper = Keeper::new(owner, "INT", |folder| {
            let mut words = as_owner(owner, Path::new("env"));
            words.extend(options.environment.iter().map(|(name, value)| format!("{name}={value}")));
            let data = folder.join("data").display().to_string();
            words.extend([postgres.display().to_string(), "-D".to_owned(), data]);
            words
        })?;
        cluster::create(options.version, keeper.folder())?;
        for _ in 0..PORT_TRIES_MAX {
            let port = free_port()?;
            cluster::configure(options, keeper.folder(), port)?;
            if start_ready(&mut keeper)? {
                let keeper = Mutex::new(keeper);
                let databases = AtomicU32::new(0);
                let Options { version, fsync, .. } = *options;
                return Ok(Self { version, fsync, port, keeper, databases });
            }
            keeper.stop("KILL")?;
        }
        bail!("start Postgres: {}", log_of(keeper.folder()))
    }

    /// Returns the server that all tests of this process share, without fsync; the first one who
    /// asks starts it. It ends with the process.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`], the same for everybody who asks.
    pub fn shared(version: Version) -> Result<&'static Self> {
        static SYSTEM: OnceLock<Result<Postgres, String>> = OnceLock::new();
        static V18: OnceLock<Result<Postgres, String>> = OnceLock::new();
        let shared = match version {
            Version::System => &SYSTEM,
            Version::V18 => &V18,
        };
        let options = Options { version, ..Options::default() };
        let started = shared.get_or_init(|| Self::start(&options).map_err(|e| format!("{e:#}")));
        started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Returns the URL of a database of this server, with user and password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the port of 127.0.0.1; it stays through restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    ///
    /// When there is one with this name, or the server does not answer.
    pub fn create_database(&self, name: &str) -> Result<String> {
        // Copying files waits for two checkpoints, which is the faster way where nothing is synced.
        let strategy = if self.fsync { "wal_log" } else { "file_copy" };
        let name_quoted = name.replace('"', "\"\"");
        let sql =
            format!("CREATE DATABASE \"{name_quoted}\" TEMPLATE template0 STRATEGY {strategy}");
        self.psql("postgres", &sql)?;
        Ok(self.url(name))
    }

    /// Creates an empty database whose name no other has, and returns its URL.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn fresh_database(&self) -> Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.create_database(&format!("fresh_{number}"))
    }

    /// Runs SQL with `psql` in a database, or at a URL such as a pooler's, each statement for
    /// itself, and returns the rows: a line each, columns
    /// divided by `|`, no headings.
    ///
    /// # Errors
    ///
    /// At the first statement that fails, with what the server said.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(self.version.psql()?)
            .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", database])
            .env_clear()
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start psql")?;
        let mut input = psql.stdin.take().expect("stdin was asked for as a pipe");
        // Written beside the reading: much SQL with many rows would fill both pipes otherwise.
        let output = thread::scope(|scope| {
            // Who writes to a psql that gave up hears of it; its own words say more.
            scope.spawn(move || input.write_all(sql.as_bytes()));
            psql.wait_with_output()
        })?;
        if !output.status.success() {
            bail!("run SQL in {database}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Kills the postmaster with SIGKILL. When this returns, all of its processes are gone, and
    /// [`Postgres::restart`] recovers what was committed.
    ///
    /// # Errors
    ///
    /// When one of its processes cannot be ended.
    pub fn kill_9(&self) -> Result<()> {
        self.stop("KILL")
    }

    /// Stops without a checkpoint, so that the next start recovers; clients are told why.
    ///
    /// # Errors
    ///
    /// When one of its processes cannot be ended.
    pub fn stop_immediate(&self) -> Result<()> {
        self.stop("QUIT")
    }

    /// Starts again on the same port and data; a server that runs is stopped in order before.
    ///
    /// # Errors
    ///
    /// When the server does not start: with its log.
    pub fn restart(&self) -> Result<()> {
        self.stop("INT")?;
        let mut keeper = self.keeper();
        if !start_ready(&mut keeper)? {
            bail!("start Postgres again: {}", log_of(keeper.folder()));
        }
        Ok(())
    }

    /// Stops in order and starts again as a hot standby whose primary says nothing: it is read, and
    /// nothing can be written until `SELECT pg_promote()`.
    ///
    /// # Errors
    ///
    /// As [`Postgres::restart`].
    pub fn restart_as_standby(&self) -> Result<()> {
        let signal = self.keeper().folder().join("data/standby.signal");
        fs::write(signal, "").context("make it a standby")?;
        self.restart()
    }

    /// Returns the postmaster's process while it was not stopped here.
    pub fn pid(&self) -> Option<u32> {
        self.keeper().pid()
    }

    /// Returns everything that the server logged so far, all starts together.
    pub fn log(&self) -> String {
        log_of(self.keeper().folder())
    }

    fn stop(&self, signal: &str) -> Result<()> {
        let mut keeper = self.keeper();
        let postmaster = keeper.pid().and_then(Process::find);
        let children = postmaster.map(Process::children).unwrap_or_default();
        keeper.stop(signal)?;
        until_gone(&children)
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        // A test that failed in the middle leaves a keeper that is as good as before.
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the server and waits until it takes connections; says whether it does, or fails when
/// another reason than a taken port ended it.
fn start_ready(keeper: &mut Keeper) -> Result<bool> {
    let logged = log_of(keeper.folder()).len();
    let pid = keeper.start()?;
    let process = Process::find(pid);
    let lock_file = keeper.folder().join("data/postmaster.pid");
    let mut ready = false;
    until(PATIENCE, || {
        ready = is_ready(&lock_file, pid);
        ready || !process.is_some_and(Process::lives)
    });
    if ready {
        return Ok(true);
    }
    keeper.stop("KILL")?;
    let log = log_of(keeper.folder());
    let said = log.get(logged..).unwrap_or(&log);
    if !said.contains("Address already in use") {
        bail!("start Postgres: {said}");
    }
    Ok(false)
}

fn is_ready(lock_file: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(lock_file).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let status = lines.get(STATUS_LINE).copied();
    lines.first() == Some(&pid.to_string().as_str()) && status == Some("ready")
}

fn log_of(folder: &Path) -> String {
    fs::read(folder.join("log")).map_or(String::new(), |log| String::from_utf8_lossy(&log).into())
}
