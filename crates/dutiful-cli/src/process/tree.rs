//! Kills commands with everything they started, even when this process itself is killed.
//!
//! Each command leads a process group, which is killed when its [`Group`] is dropped. A worker that
//! dies by SIGKILL drops nothing; then its *keeper* does it: a child process that knows the running
//! groups and kills them when the pipe from the worker ends. Without it the commands of a dead
//! worker would go on beside the second run of their jobs. Two things escape: a process that leaves
//! its group (`setsid`), as a daemon means to, and a command whose worker is killed in the moment
//! between its start and its mention to the keeper, which at-least-once has to allow.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Answer, Failure};

/// The process that outlives the worker by a moment.
#[derive(Clone, Debug)]
pub(crate) struct Keeper(Arc<Mutex<Option<(Child, ChildStdin)>>>);

impl Keeper {
    /// Starts it, as this program with the hidden command `keep-groups`.
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("keep-groups")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take().expect("stdin is piped");
        Ok(Self(Arc::new(Mutex::new(Some((child, stdin))))))
    }

    /// Returns one that keeps nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Arc::default())
    }

    /// Returns the guard of the process group that this child leads.
    pub(crate) fn watch(&self, child: Option<u32>) -> Group {
        let leader = child.and_then(|id| Pid::from_raw(id as i32));
        if let Some(leader) = leader {
            self.tell('+', leader);
        }
        Group { leader, keeper: self.clone() }
    }

    fn tell(&self, sign: char, leader: Pid) {
        let mut keeper = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some((_, stdin)) = keeper.as_mut() {
            // A keeper that somebody killed leaves the guards of this process, which do the same.
            let _ = writeln!(stdin, "{sign}{}", leader.as_raw_nonzero());
        }
    }

    /// Ends it, when no command runs any more.
    pub(crate) fn stop(&self) {
        let keeper = self.0.lock().unwrap_or_else(|poison| poison.into_inner()).take();
        if let Some((mut child, stdin)) = keeper {
            drop(stdin);
            let _ = child.wait();
        }
    }
}

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Option<Pid>,
    keeper: Keeper,
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader else { return };
        // The number cannot belong to a stranger: either its leader was not reaped yet, or it was a
        // moment ago and Linux hands out numbers in a circle. ESRCH means that nobody is left.
        let _ = kill_process_group(leader, Signal::KILL);
        self.keeper.tell('-', leader);
    }
}

/// The hidden command: reads `+group` and `-group` lines; at the end kills the groups that remain.
pub(crate) async fn keep() -> Answer {
    let failed = |error: io::Error| Failure::failed(format!("keep process groups: {error}"));
    // A signal to everybody (systemd stops a service so) must not end the keeper before the worker.
    let ignored = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let _ignored =
        ignored.map(signal).into_iter().collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let mut groups = HashSet::new();
    // Nothing else happens in this process, so it may block.
    for line in io::stdin().lines() {
        let line = line.map_err(failed)?;
        match line.split_at_checked(1) {
            Some(("+", group)) => groups.insert(group.to_owned()),
            Some(("-", group)) => groups.remove(group),
            _ => false,
        };
    }
    for group in groups {
        if let Some(leader) = group.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
    Ok(ExitCode::SUCCESS)
}
