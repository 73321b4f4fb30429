//! The keeper of one server: a shell that outlives the test process just long enough to clean up.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

const SCRIPT: &str = include_str!("keeper.sh");

/// A server's folder and the shell that starts and stops what runs in it.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    shell: Child,
    // Only this process holds this end: when it is closed, the keeper cleans up.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: Option<u32>,
}

impl Keeper {
    /// Makes a folder whose owner is the server's user, and a keeper that will remove it.
    /// `command` is told the folder and returns the server's program with its arguments.
    pub(crate) fn new(
        owner: Option<(u32, u32)>,
        orderly: &str,
        command: impl FnOnce(&Path) -> Vec<String>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("dutiful-server.").tempdir();
        let folder = folder.context("make a temporary folder")?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "keeper"])
            .arg(folder.path())
            .arg(orderly)
            .args(command(folder.path()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .current_dir("/")
            // Ctrl-C ends the tests; the keeper and its server end after them, in order.
            .process_group(0)
            .spawn()
            .context("start the keeper's shell")?;
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().expect("stdout was asked for as a pipe");
        let answers = BufReader::new(answers);
        Ok(Self { folder: folder.keep(), shell, orders, answers, pid: None })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the server's process, if it was started and not stopped since.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Starts the server and returns its process, which need not be ready yet.
    pub(crate) fn start(&mut self) -> Result<u32> {
        if let Some(pid) = self.pid {
            bail!("start a server that runs as process {pid}: stop it before");
        }
        let pid = self.order("start")?;
        let pid = pid.parse().with_context(|| format!("read the server's pid from {pid:?}"))?;
        self.pid = Some(pid);
        Ok(pid)
    }

    /// Sends a signal, named as in `kill -s`, and returns once the process has ended; if it does
    /// not within some seconds, it is killed.
    pub(crate) fn stop(&mut self, signal: &str) -> Result<()> {
        if self.pid.take().is_some() {
            self.order(&format!("stop {signal}"))?;
        }
        Ok(())
    }

    fn order(&mut self, order: &str) -> Result<String> {
        let orders = self.orders.as_mut().expect("the pipe is closed by drop alone");
        writeln!(orders, "{order}").context("tell the keeper: was it killed?")?;
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer).context("hear from the keeper")?;
        if read == 0 {
            bail!("hear from the keeper: it is gone; was it killed?");
        }
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Nothing can be done about a failure here, and the folder's name tells whose it was.
        let _ = self.shell.wait();
    }
}
