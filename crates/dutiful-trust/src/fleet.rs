//! The processes of a campaign: spawned from this program, killed, stopped, woken, asked to end.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::ledger::{Entry, Kind, Ledger, now_us};
use crate::roles::Shape;

/// How often the driver looks at its processes.
pub const LOOK: Duration = Duration::from_millis(5);
/// Most lines of a dead process that are shown.
const LINES_MAX: usize = 5;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Enqueues.
    Producer,
    /// Runs jobs.
    Worker,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
        }
    }
}

/// A living process.
pub struct Process {
    child: Child,
    /// What it does.
    pub role: Role,
    /// When it was spawned.
    pub since: Instant,
    /// Until when it stands still.
    stopped_until: Option<Instant>,
    errors: std::path::PathBuf,
}

impl Process {
    /// Returns the id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while it stands still.
    pub fn is_stopped(&self) -> bool {
        self.stopped_until.is_some()
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a process has an id above zero")?;
        Ok(kill_process(pid, signal)?)
    }
}

/// All processes of a campaign, and the driver's own ledger.
pub struct Fleet {
    shape: Shape,
    ledger: Ledger,
    program: std::path::PathBuf,
    /// The living ones.
    pub live: Vec<Process>,
    /// The driver's dice.
    pub rng: fastrand::Rng,
    /// What processes did that nobody asked for.
    pub complaints: Vec<String>,
    /// True where jobs kill who runs them.
    pub may_crash: bool,
    /// How many processes ended that way.
    pub crashed: u64,
}

impl Fleet {
    /// Returns a fleet without processes.
    ///
    /// # Errors
    /// What the file system says about the ledger.
    pub fn new(shape: Shape) -> anyhow::Result<Self> {
        let ledger = Ledger::open(&shape.dir, "driver")?;
        let rng = fastrand::Rng::with_seed(shape.seed);
        let program = std::env::current_exe().context("find this program")?;
        let (live, complaints) = (Vec::new(), Vec::new());
        let (may_crash, crashed) = (false, 0);
        Ok(Self { shape, ledger, program, live, rng, complaints, may_crash, crashed })
    }

    /// Spawns a process; a producer is told whom it follows.
    ///
    /// # Errors
    /// What the system says.
    pub fn spawn(&mut self, role: Role, predecessor: Option<u32>) -> anyhow::Result<()> {
        let shape = &self.shape;
        let number = self.rng.u32(..);
        let errors = shape.dir.join(format!("{}-{number:08x}.err", role.as_str()));
        let mix = clap::ValueEnum::to_possible_value(&shape.mix).context("every mix has a name")?;
        let mut command = Command::new(&self.program);
        command
            .arg(role.as_str())
            .args(["--store", &shape.store])
            .arg("--dir")
            .arg(&shape.dir)
            .args(["--mix", mix.get_name()])
            .args(["--slots", &shape.slots.to_string()])
            .args(["--lease-ms", &shape.lease.as_millis().to_string()])
            .args(["--grace-ms", &shape.grace.as_millis().to_string()])
            .args(["--longest-ms", &shape.longest.as_millis().to_string()])
            .args(["--seed", &self.rng.u64(..).to_string()]);
        if let Some(pid) = predecessor.filter(|_| role == Role::Producer) {
            command.args(["--predecessor", &pid.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        let child = command.spawn().context("spawn a process of the campaign")?;
        let since = Instant::now();
        self.live.push(Process { child, role, since, stopped_until: None, errors });
        Ok(())
    }

    /// Kills the process at `index` with SIGKILL and spawns another in its place.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let mut process = self.live.swap_remove(index);
        self.note(Kind::Killed, &process)?;
        process.signal(Signal::KILL)?;
        process.child.wait()?;
        self.spawn(process.role, Some(process.child.id()))
    }

    /// Stops the process at `index` with SIGSTOP for a while.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&mut self, index: usize, while_: Duration) -> anyhow::Result<()> {
        self.live[index].signal(Signal::STOP)?;
        self.live[index].stopped_until = Some(Instant::now() + while_);
        self.note(Kind::Stopped, &self.live[index])
    }

    /// Wakes those that stood still long enough.
    ///
    /// # Errors
    /// What the system says.
    pub fn wake(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        for index in 0..self.live.len() {
            let until = self.live[index].stopped_until;
            if until.is_some_and(|until| until <= now) {
                self.note(Kind::Continued, &self.live[index])?;
                self.live[index].signal(Signal::CONT)?;
                self.live[index].stopped_until = None;
            }
        }
        Ok(())
    }

    /// Notices processes that ended by themselves, and replaces them.
    ///
    /// # Errors
    /// What the system says.
    pub fn look(&mut self) -> anyhow::Result<()> {
        for index in (0..self.live.len()).rev() {
            if let Some(status) = self.live[index].child.try_wait()? {
                let process = self.live.swap_remove(index);
                // Whatever it held stalls now, and that must not look like a stall out of nowhere.
                self.note(Kind::Killed, &process)?;
                let by_signal = std::os::unix::process::ExitStatusExt::signal(&status).is_some();
                if self.may_crash && by_signal && process.role == Role::Worker {
                    self.crashed += 1;
                } else {
                    self.complain(&process, status, "ended by itself");
                }
                self.spawn(process.role, Some(process.child.id()))?;
            }
        }
        Ok(())
    }

    /// Sleeps while looking after the processes.
    ///
    /// # Errors
    /// What the system says.
    pub fn pass(&mut self, while_: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + while_;
        while Instant::now() < until {
            std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            self.wake()?;
            self.look()?;
        }
        Ok(())
    }

    /// Asks the process at `index` to end and takes it out of the fleet.
    ///
    /// # Errors
    /// What the system says.
    pub fn ask_to_end(&mut self, index: usize) -> anyhow::Result<Ending> {
        let process = self.live.swap_remove(index);
        self.note(Kind::Asked, &process)?;
        process.signal(Signal::TERM)?;
        Ok(Ending { process, asked: Instant::now() })
    }

    /// Asks all processes of a role to end and waits; whoever is late or fails is complained of.
    /// Returns how long the slowest took.
    ///
    /// # Errors
    /// What the system says.
    pub fn end_all(&mut self, role: Role, within: Duration) -> anyhow::Result<Duration> {
        let mut endings = Vec::new();
        for index in (0..self.live.len()).rev() {
            if self.live[index].role == role {
                self.wait_until_ready(index)?;
                endings.push(self.ask_to_end(index)?);
            }
        }
        let mut slowest = Duration::ZERO;
        for ending in endings {
            let (process, status, took) = self.wait_for(ending, within)?;
            slowest = slowest.max(took);
            if status.code() != Some(0) {
                self.complain(&process, status, "was asked to end and failed");
            }
        }
        Ok(slowest)
    }

    /// Waits for a process that was asked to end; when it is late, it is complained of and killed.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_for(
        &mut self,
        ending: Ending,
        within: Duration,
    ) -> anyhow::Result<(Process, ExitStatus, Duration)> {
        let Ending { mut process, asked } = ending;
        loop {
            if let Some(status) = process.child.try_wait()? {
                return Ok((process, status, asked.elapsed()));
            }
            if asked.elapsed() > within {
                self.note(Kind::Killed, &process)?;
                process.signal(Signal::KILL)?;
                let status = process.child.wait()?;
                self.complain(&process, status, &format!("did not end within {within:?}"));
                return Ok((process, status, asked.elapsed()));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sends the second SIGTERM, after which a process holds its leases no longer than a crash.
    ///
    /// # Errors
    /// What the system says.
    pub fn insist(&mut self, ending: &Ending) -> anyhow::Result<()> {
        self.note(Kind::Killed, &ending.process)?;
        ending.process.signal(Signal::TERM)
    }

    /// Waits until a process opened its ledger: from then on it hears signals.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_until_ready(&mut self, index: usize) -> anyhow::Result<()> {
        const START_MAX: Duration = Duration::from_secs(30);
        let process = &mut self.live[index];
        let name = format!("{}-{}.ledger", process.role.as_str(), process.pid());
        let ledger = self.shape.dir.join(name);
        while !ledger.exists() && process.child.try_wait()?.is_none() {
            anyhow::ensure!(process.since.elapsed() < START_MAX, "start {ledger:?} in time");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Returns a random living process of this role (or any) that does not stand still.
    pub fn pick(&mut self, role: Option<Role>) -> Option<usize> {
        let fits = |process: &Process| {
            role.is_none_or(|role| process.role == role) && !process.is_stopped()
        };
        let able: Vec<_> = (0..self.live.len()).filter(|n| fits(&self.live[*n])).collect();
        (!able.is_empty()).then(|| able[self.rng.usize(..able.len())])
    }

    /// Writes down what the driver itself did about a job.
    pub fn note_job(&self, kind: Kind, id: dutiful::JobId, end: u32) {
        self.ledger.note(kind, *id.as_bytes(), end, 0);
    }

    /// Writes down what the driver did to the server that workers with so many slots use.
    ///
    /// # Errors
    /// What the file system says.
    pub fn note_server(&self, kind: Kind, slots: usize) -> anyhow::Result<()> {
        let (attempt, nonce, pid) = (0, slots as i64, 0);
        Ok(self.ledger.append(Entry { kind, id: [0; 16], attempt, nonce, at: now_us(), pid })?)
    }

    fn complain(&mut self, process: &Process, status: ExitStatus, what: &str) {
        let last = last_lines(&process.errors);
        let role = process.role.as_str();
        let pid = process.pid();
        self.complaints.push(format!("{role} {pid} {what} ({status}): {last}"));
    }

    fn note(&self, kind: Kind, process: &Process) -> anyhow::Result<()> {
        let nonce = if process.role == Role::Worker { self.shape.slots as i64 } else { 0 };
        let about =
            Entry { kind, id: [0; 16], attempt: 0, nonce, at: now_us(), pid: process.pid() };
        Ok(self.ledger.append(about)?)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in &mut self.live {
            // Whether it still lives or not: it must not be there afterwards.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// A process that was asked to end.
pub struct Ending {
    process: Process,
    asked: Instant,
}

fn last_lines(errors: &Path) -> String {
    let text = std::fs::read_to_string(errors).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(LINES_MAX).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}
