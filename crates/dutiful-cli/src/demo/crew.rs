//! The worker processes: this program again, with a hidden command.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::home::Home;
use super::worker;
use crate::failure::Failure;

/// How long workers may take to stop in order before they are killed.
const STOP_MAX: Duration = Duration::from_secs(worker::GRACE.as_secs() + 3);

/// The workers that were started; those that run still die with this.
#[derive(Debug)]
pub(crate) struct Crew {
    workers: Vec<Hand>,
    hired: u64,
    root: PathBuf,
    mail: Option<SocketAddr>,
}

/// One worker process.
#[derive(Debug)]
struct Hand {
    number: u64,
    child: Child,
    /// The worker stops when this end of the pipe is closed, by us or by our death.
    pipe: Option<ChildStdin>,
}

impl Crew {
    /// Returns a crew of nobody.
    pub(crate) fn new(home: &Home) -> Self {
        Self { workers: Vec::new(), hired: 0, root: home.root().to_owned(), mail: None }
    }

    /// Tells workers that start from now on where the mail server listens.
    pub(crate) fn hand_mail_to(&mut self, server: SocketAddr) {
        self.mail = Some(server);
    }

    /// Starts one more worker and returns its number.
    pub(crate) fn hire(&mut self) -> Result<u64, Failure> {
        let number = self.hired + 1;
        let start = || {
            let errors = File::create(Home::existing(self.root.clone()).worker_errors(number))?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("demo-worker").args(["--number", &number.to_string()]);
            command.arg("--home").arg(&self.root);
            if let Some(mail) = self.mail {
                command.args(["--mail", &mail.to_string()]);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
            command.kill_on_drop(true).spawn()
        };
        let mut child =
            start().map_err(|error| Failure::failed(format!("start worker {number}: {error}")))?;
        let pipe = child.stdin.take();
        self.workers.push(Hand { number, child, pipe });
        self.hired = number;
        Ok(number)
    }

    /// Returns how many run.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Says so when a worker ended that nobody sent away.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        for hand in &mut self.workers {
            let Ok(Some(status)) = hand.child.try_wait() else { continue };
            let home = Home::existing(self.root.clone());
            let said = std::fs::read_to_string(home.worker_errors(hand.number)).unwrap_or_default();
            let said = said.lines().last().unwrap_or("it said nothing");
            return Err(Failure::failed(format!(
                "keep worker {} running: it ended with {status} ({said})",
                hand.number
            )));
        }
        Ok(())
    }

    /// Stops a process in its tracks, so that nothing about it changes while somebody looks.
    pub(crate) fn freeze(&self, number: u64) -> Result<Frozen, Failure> {
        let failed =
            |error: rustix::io::Errno| Failure::failed(format!("stop worker {number}: {error}"));
        let pid = self
            .workers
            .iter()
            .find(|hand| hand.number == number)
            .and_then(|hand| hand.child.id())
            .and_then(|id| Pid::from_raw(id as i32))
            .ok_or_else(|| Failure::failed(format!("stop worker {number}: it has ended")))?;
        kill_process(pid, Signal::STOP).map_err(failed)?;
        // The signal is sent, not yet obeyed. NOWAIT leaves the news of an end to its owner.
        let news = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), news).map_err(failed)?;
        Ok(Frozen { number, pid })
    }

    /// Kills a frozen worker by SIGKILL.
    pub(crate) async fn kill(&mut self, frozen: Frozen) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("kill worker {}: {error}", frozen.number))
        };
        kill_process(frozen.pid, Signal::KILL).map_err(|error| failed(&error))?;
        if let Some(at) = self.workers.iter().position(|hand| hand.number == frozen.number) {
            let mut hand = self.workers.remove(at);
            hand.child.wait().await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Lets all workers stop in order; kills those that do not.
    pub(crate) async fn dismiss(&mut self) {
        for hand in &mut self.workers {
            hand.pipe = None;
        }
        for mut hand in self.workers.drain(..) {
            if timeout(STOP_MAX, hand.child.wait()).await.is_err() {
                // It is gone already when this fails.
                let _ = hand.child.kill().await;
            }
        }
    }
}

/// A worker that SIGSTOP holds.
#[derive(Debug)]
pub(crate) struct Frozen {
    number: u64,
    pid: Pid,
}

impl Frozen {
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Lets it go on as if nothing had been.
    pub(crate) fn thaw(self) -> Result<(), Failure> {
        kill_process(self.pid, Signal::CONT)
            .map_err(|error| Failure::failed(format!("wake worker {}: {error}", self.number)))
    }
}
