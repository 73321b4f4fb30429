//! The crash in the middle: a worker that surely holds jobs dies, and its jobs are watched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dutiful::{AttemptOutcome, Client, Filter, JobId, JobInfo, State};

use super::crew::Crew;
use super::screen::Screen;
use super::worker;
use crate::failure::Failure;

/// For so long a victim with this many jobs is looked for; after that one job is enough.
const CHOOSY: Duration = Duration::from_secs(1);
const JOBS_WANTED: usize = 3;
/// Most active jobs that are looked at to find a victim.
const LOOK_MAX: usize = 200;

/// How far the crash is.
#[derive(Debug)]
pub(crate) enum Crash {
    /// Nobody is to be killed.
    Off,
    /// Nobody was found in the middle of a job yet; looked for since then.
    Ahead(Option<Instant>),
    /// A worker was killed, and these were its jobs.
    Behind(Fallen),
}

/// What a killed worker left behind.
#[derive(Debug)]
pub(crate) struct Fallen {
    worker: u64,
    jobs: Vec<JobId>,
    now: Standing,
    said: Standing,
}

/// Where the jobs of a killed worker stand; each counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    held: usize,
    stalled: usize,
    rescued: usize,
    finished: usize,
}

impl Crash {
    /// Looks for a victim when it is time, or tells how its jobs fare.
    pub(crate) async fn step(
        &mut self,
        is_time: bool,
        client: &Client,
        crew: &mut Crew,
        screen: &Screen,
    ) -> Result<(), Failure> {
        match self {
            Self::Ahead(since) if is_time => {
                let choosy = since.get_or_insert_with(Instant::now).elapsed() < CHOOSY;
                let wanted = if choosy { JOBS_WANTED } else { 1 };
                if let Some(fallen) = strike(wanted, client, crew, screen).await? {
                    *self = Self::Behind(fallen);
                }
                Ok(())
            }
            Self::Behind(fallen) => fallen.follow(client, screen).await,
            Self::Off | Self::Ahead(_) => Ok(()),
        }
    }

    /// True when a kill was asked for and nobody was in the middle of a job.
    pub(crate) fn missed(&self) -> bool {
        matches!(self, Self::Ahead(_))
    }

    /// Returns a line about the killed worker's jobs, for the foot of the screen.
    pub(crate) fn line(&self) -> Option<String> {
        let Self::Behind(fallen) = self else { return None };
        if fallen.said.finished == fallen.jobs.len() {
            return None;
        }
        let Standing { held, stalled, rescued, finished } = fallen.now;
        Some(format!(
            "worker {} is dead, its {}: {held} under lease, {stalled} stalled, {rescued} rescued, \
             {finished} finished",
            fallen.worker,
            jobs_in_words(fallen.jobs.len())
        ))
    }
}

/// Kills the worker that holds the most jobs, if it holds so many still when it is frozen.
async fn strike(
    wanted: usize,
    client: &Client,
    crew: &mut Crew,
    screen: &Screen,
) -> Result<Option<Fallen>, Failure> {
    let victim = holders(client).await?.into_iter().max_by_key(|(_, jobs)| jobs.len());
    let Some((worker, _)) = victim.filter(|(_, jobs)| jobs.len() >= wanted) else {
        return Ok(None);
    };
    let frozen = crew.freeze(worker)?;
    let jobs = holders(client).await?.remove(&worker).unwrap_or_default();
    if jobs.len() < wanted {
        frozen.thaw()?;
        return Ok(None);
    }
    let (pid, count) = (frozen.pid(), jobs.len());
    crew.kill(frozen).await?;
    screen.say(format!(
        "Worker {worker} (process {pid}) was killed by SIGKILL while it held {}. It cleaned up \
         nothing.",
        jobs_in_words(count)
    ));
    if crew.len() == 0 {
        let number = crew.hire()?;
        screen.say(format!("It was the only one, so worker {number} starts in its place."));
    }
    let now = Standing { held: count, ..Standing::default() };
    Ok(Some(Fallen { worker, jobs, now, said: now }))
}

/// Returns the jobs that each worker holds, by its number.
async fn holders(client: &Client) -> Result<BTreeMap<u64, Vec<JobId>>, Failure> {
    let active = Filter { state: Some(State::Active), limit: Some(LOOK_MAX), ..Filter::default() };
    let mut holders: BTreeMap<u64, Vec<JobId>> = BTreeMap::new();
    for job in client.jobs(active).await?.jobs {
        let Some(job) = client.job(job.id).await? else { continue };
        let running = job.attempts.last().filter(|_| job.state == State::Active);
        let holder = running
            .filter(|attempt| attempt.outcome == AttemptOutcome::Running)
            .and_then(|attempt| worker::number(attempt.worker_name.as_deref()?));
        if let Some(worker) = holder {
            holders.entry(worker).or_default().push(job.id);
        }
    }
    Ok(holders)
}

impl Fallen {
    /// Counts where the jobs stand and says each step once.
    async fn follow(&mut self, client: &Client, screen: &Screen) -> Result<(), Failure> {
        let all = self.jobs.len();
        if self.said.finished == all {
            return Ok(());
        }
        let mut now = Standing::default();
        for id in &self.jobs {
            let place = client.job(*id).await?.map_or(Place::Finished, |job| place(&job));
            match place {
                Place::Held => now.held += 1,
                Place::Stalled => now.stalled += 1,
                Place::Rescued => now.rescued += 1,
                Place::Finished => now.finished += 1,
            }
        }
        self.now = now;
        let jobs = jobs_in_words(all);
        if now.held == 0 && self.said.stalled < all {
            self.said.stalled = all;
            screen.say(format!(
                "Its {jobs} stalled: nobody renews their leases, which ended after {} s.",
                worker::LEASE.as_secs()
            ));
        }
        if now.rescued + now.finished == all && self.said.rescued < all {
            self.said.rescued = all;
            screen.say(format!(
                "The {jobs} were rescued: back in the queue, for any worker that lives."
            ));
        }
        if now.finished == all {
            self.said.finished = all;
            screen.say(format!("The {jobs} have finished, on a later attempt."));
        }
        Ok(())
    }
}

enum Place {
    Held,
    Stalled,
    Rescued,
    Finished,
}

fn place(job: &JobInfo) -> Place {
    let rescued = || job.attempts.iter().any(|one| one.outcome == AttemptOutcome::Stalled);
    match job.state {
        State::Completed | State::Dead | State::Cancelled => Place::Finished,
        State::Stalled => Place::Stalled,
        State::Active if !rescued() => Place::Held,
        _ => Place::Rescued,
    }
}

fn jobs_in_words(count: usize) -> String {
    if count == 1 { "1 job".into() } else { format!("{count} jobs") }
}
