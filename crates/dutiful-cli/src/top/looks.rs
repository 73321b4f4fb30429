//! The looks: a task that asks the source again and again for what is on the screen, so that keys
//! never wait for it, and the changes that a person asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dutiful::{Change, JobId, Verb};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::shapes::{Groups, Job, JobPage, Queue, Stats, Totals, Worker};
use super::source::{Query, Source};
use crate::commands::change;

/// Longest look.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// After a look there is a rest so many times as long, so that nobody loads a store by watching it.
const REST: u32 = 4;
/// Most jobs of a group in one change.
const CHUNK: usize = 500;

/// What is on the screen beside the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    #[default]
    Numbers,
    Queues,
    Jobs(Query),
    Job(JobId),
    Groups,
    Workers,
}

/// What is to be looked at; a higher `turn` asks for a look at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    pub(crate) turn: u64,
}

/// One look.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) place: String,
    pub(crate) stats: Stats,
    pub(crate) totals: Totals,
    pub(crate) detail: Detail,
}

/// The part of a look that was wanted.
#[derive(Debug)]
pub(crate) enum Detail {
    Nothing,
    Queues(Vec<Queue>),
    Jobs(Query, JobPage),
    Job(JobId, Option<Box<Job>>),
    Groups(Groups),
    Workers(Vec<Worker>),
}

/// What the screen is told.
#[derive(Debug)]
pub(crate) enum News {
    Looked(Box<Look>),
    /// A look failed: the end of a sentence that begins with "failed to".
    Missed(String),
    /// A wish is done, in a sentence, or failed to be.
    Done(Result<String, String>),
}

/// A change that a person asked for and confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Pause { queue: String, pause: bool },
    Change { verb: Verb, id: JobId },
    ChangeGroup { verb: Verb, fingerprint: String },
}

/// Looks until nobody listens. What is on the screen now comes first: a look at what was there
/// before is given up.
pub(crate) async fn look_on(
    source: Arc<Source>,
    mut asked: watch::Receiver<Asked>,
    news: mpsc::Sender<News>,
    every: Duration,
) {
    loop {
        let wanted = asked.borrow_and_update().wanted.clone();
        let began = Instant::now();
        let looked = tokio::select! {
            looked = timeout(LOOK_MAX, look(&source, &wanted)) => looked,
            changed = asked.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let (told, rest) = match looked {
            Ok(Ok(look)) => (News::Looked(Box::new(look)), every.max(began.elapsed() * REST)),
            Ok(Err(why)) => (News::Missed(why), every),
            Err(_) => (News::Missed(format!("look: no answer came within {LOOK_MAX:?}")), every),
        };
        if news.send(told).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            changed = asked.changed() => if changed.is_err() { return },
        }
    }
}

pub(crate) async fn look(source: &Source, wanted: &Wanted) -> Result<Look, String> {
    let (stats, totals, detail) =
        tokio::try_join!(source.stats(), source.totals(), detail(source, wanted))?;
    Ok(Look { at: Instant::now(), place: source.place(), stats, totals, detail })
}

async fn detail(source: &Source, wanted: &Wanted) -> Result<Detail, String> {
    Ok(match wanted {
        Wanted::Numbers => Detail::Nothing,
        Wanted::Queues => Detail::Queues(source.queues().await?.queues),
        Wanted::Jobs(query) => Detail::Jobs(query.clone(), source.jobs(query).await?),
        Wanted::Job(id) => Detail::Job(*id, source.job(*id).await?.map(Box::new)),
        Wanted::Groups => Detail::Groups(source.groups().await?),
        Wanted::Workers => Detail::Workers(source.workers().await?.workers),
    })
}

/// Does what was asked; says what was done.
pub(crate) async fn act(source: &Source, wish: Wish) -> Result<String, String> {
    match wish {
        Wish::Pause { queue, pause } => {
            let verb = if pause { "pause" } else { "resume" };
            let changed = source.pause(&queue, pause).await;
            let changed = changed.map_err(|why| format!("{verb} queue {queue}: {why}"))?;
            let word = if pause { "paused" } else { "running" };
            let already = if changed { "" } else { " already" };
            Ok(format!("queue {queue} is {word}{already}"))
        }
        Wish::Change { verb, id } => {
            let refused = |why| format!("{} job {id}: {why}", change::infinitive(verb));
            let changes = source.change(verb, vec![id]).await.map_err(refused)?;
            match changes.first().unwrap_or(&Change::NotFound) {
                Change::Done => Ok(format!("{} job {id}", change::participle(verb))),
                Change::Requested => Ok(format!("asked the worker of job {id} to stop it")),
                other => Err(refused(change::reason(verb, other))),
            }
        }
        Wish::ChangeGroup { verb, fingerprint } => change_group(source, verb, fingerprint).await,
    }
}

/// Changes all that are in a group now, page by page from the newest: what dies meanwhile is newer.
async fn change_group(source: &Source, verb: Verb, fingerprint: String) -> Result<String, String> {
    let (mut done, mut left) = (0_usize, Vec::new());
    let mut query = Query { fingerprint: Some(fingerprint), ..Query::default() };
    let stopped = |done: usize, why: String| {
        format!("{} all jobs of the group: {why} ({done} are)", change::infinitive(verb))
    };
    loop {
        let page = source.jobs(&query).await.map_err(|why| stopped(done, why))?;
        let ids: Vec<_> = page.jobs.iter().map(|job| job.id).collect();
        for chunk in ids.chunks(CHUNK) {
            let changes = source.change(verb, chunk.to_vec()).await;
            for one in changes.map_err(|why| stopped(done, why))? {
                if change::is_fine(&one) { done += 1 } else { left.push(one) }
            }
        }
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let word = change::participle(verb);
    match left.first() {
        None => Ok(format!("{word} {done} jobs")),
        Some(first) => Ok(format!(
            "{word} {done} jobs and left {}: {}",
            left.len(),
            change::reason(verb, first)
        )),
    }
}

impl std::fmt::Display for Wish {
    /// What is being done while it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pause { queue, pause } => {
                let word = if *pause { "pausing" } else { "resuming" };
                write!(f, "{word} queue {queue}")
            }
            Self::Change { verb, id } => write!(f, "{} of job {id}", change::infinitive(*verb)),
            Self::ChangeGroup { verb, .. } => {
                write!(f, "{} of the whole group", change::infinitive(*verb))
            }
        }
    }
}
