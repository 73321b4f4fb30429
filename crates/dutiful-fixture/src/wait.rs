//! What both kinds of servers wait for: a free port, a condition, and the end of processes.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Below the ports that systems give to outgoing connections, so that a server that is down for a
/// moment finds its port free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_TRIES_MAX: usize = 1000;
/// Pauses between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// A server is ready by then, or never: after a crash it syncs every file of every database first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// Orphans of a killed postmaster that live on for longer are killed as well.
const ORPHANS: Duration = Duration::from_secs(10);

/// Finds a port of 127.0.0.1 on which nobody listens. Somebody else may take it before it is used:
/// whoever uses it tries again with another then.
pub(crate) fn free_port() -> Result<u16> {
    for _ in 0..PORT_TRIES_MAX {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("find a free port of 127.0.0.1 in {PORTS:?}")
}

/// Looks again and again until it is so; says whether it was within the time.
pub(crate) fn until(patience: Duration, mut so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if so() {
            return true;
        }
        if began.elapsed() > patience {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// A process, told apart from a later one with the same pid by when it began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Process {
    pid: u32,
    began: u64,
}

impl Process {
    /// Finds a process that lives.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, began: stat.began })
    }

    /// Returns the processes that it started and that live.
    pub(crate) fn children(self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
        let all = pids.filter_map(|pid: u32| Some((pid, stat(pid)?)));
        let own = all.filter(|(_, stat)| stat.parent == self.pid);
        own.map(|(pid, stat)| Self { pid, began: stat.began }).collect()
    }

    /// Says whether it still runs; one that nobody has waited for yet does not.
    pub(crate) fn lives(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    fn kill(self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.lives()) {
            // It may have ended since the look.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Returns once none of them lives; those that do not end by themselves are killed.
pub(crate) fn until_gone(processes: &[Process]) -> Result<()> {
    let gone = || processes.iter().all(|process| !process.lives());
    if !until(ORPHANS, gone) {
        processes.iter().for_each(|process| process.kill());
        if !until(ORPHANS, gone) {
            bail!("end what a killed server left running: {processes:?}");
        }
    }
    Ok(())
}

struct Stat {
    parent: u32,
    began: u64,
}

/// Reads `/proc/<pid>/stat`: after the name in parentheses come the state, the parent, and as the
/// 20th field when it began, in ticks since the machine did.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    if ["Z", "X"].contains(fields.first()?) {
        return None;
    }
    Some(Stat { parent: fields.get(1)?.parse().ok()?, began: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn knows_children_while_they_live() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let own = Process::find(std::process::id()).unwrap();
        let found = Process::find(child.id()).unwrap();
        assert!(own.children().contains(&found));
        child.kill().unwrap();
        assert!(until(PATIENCE, || !found.lives()), "one that nobody waited for yet has ended");
        child.wait().unwrap();
        assert_eq!(Process::find(child.id()), None);
        assert!(!own.children().contains(&found));
    }

    #[test]
    fn finds_ports_that_can_be_bound() {
        let port = free_port().unwrap();
        assert!(PORTS.contains(&port));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
