//! What is on the screen: the last look, where a person is in it, and what was asked of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dutiful::JobId;
use ratatui::widgets::TableState;

use super::looks::{Detail, Look, News, Wanted, Wish};
use super::rates::History;
use super::shapes::{Group, Groups, Job, JobPage, Stats, Worker};
use super::source::Query;

/// A sentence about what was done stands for so long.
const SAID_FOR: Duration = Duration::from_secs(8);

/// The pages, in the order of their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    #[default]
    Overview,
    Queues,
    Jobs,
    Dead,
    Workers,
}

impl Page {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Overview, Self::Queues, Self::Jobs, Self::Dead, Self::Workers];

    /// Returns its name on the screen.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Queues => "queues",
            Self::Jobs => "jobs",
            Self::Dead => "dead",
            Self::Workers => "workers",
        }
    }
}

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) place: String,
    pub(crate) every: Duration,
    pub(crate) page: Page,
    pub(crate) stats: Option<Stats>,
    pub(crate) types: BTreeSet<String>,
    pub(crate) history: History,
    pub(crate) queue: Choice,
    pub(crate) jobs: List,
    pub(crate) groups: Option<Groups>,
    pub(crate) group: Choice,
    /// A group of dead jobs that is looked into.
    pub(crate) inside: Option<(Group, List)>,
    pub(crate) workers: Option<Vec<Worker>>,
    pub(crate) worker: Choice,
    /// A job that is looked at by itself.
    pub(crate) open: Option<Opened>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) said: Option<Said>,
    /// Why the last look failed.
    pub(crate) missed: Option<String>,
    pub(crate) looked_at: Option<Instant>,
    /// What is being done.
    pub(crate) busy: Option<String>,
    /// Rows that a list has on this screen, as it was drawn last.
    pub(crate) rows: usize,
}

/// A list of jobs: which ones, and how many pages back.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) query: Query,
    /// The cursors of the pages before this one.
    pub(crate) newer: Vec<Option<JobId>>,
    pub(crate) page: Option<JobPage>,
    pub(crate) choice: Choice,
}

/// Which row of a list is chosen: it stays with its row while rows come and go.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) at: usize,
    key: Option<String>,
    /// The first row that is seen.
    pub(crate) first: usize,
    pub(crate) table: TableState,
}

/// One job by itself.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: JobId,
    pub(crate) job: Option<Box<Job>>,
    pub(crate) gone: bool,
    pub(crate) scroll: usize,
}

/// What has the keys until it is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dialog {
    Help,
    Ask { question: String, wish: Wish },
    Filter { text: String, wrong: Option<String> },
}

/// A sentence about what was done.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) good: bool,
    at: Instant,
}

impl Choice {
    /// Moves by so many rows, as far as there are some.
    pub(crate) fn step(&mut self, by: isize, keys: &[String]) {
        self.at = self.at.saturating_add_signed(by).min(keys.len().saturating_sub(1));
        self.key = keys.get(self.at).cloned();
    }

    /// Finds the row again in a new look; `on_top` stays on the first one, whichever that is.
    pub(crate) fn follow(&mut self, keys: &[String], on_top: bool) {
        let stays = on_top && self.at == 0;
        let found = self.key.as_ref().filter(|_| !stays);
        let found = found.and_then(|key| keys.iter().position(|other| other == key));
        self.at = found.unwrap_or(self.at).min(keys.len().saturating_sub(1));
        self.key = keys.get(self.at).cloned();
    }
}

impl List {
    /// A list of these jobs, from the newest on.
    pub(crate) fn of(query: Query) -> Self {
        Self { query, ..Self::default() }
    }

    pub(crate) fn jobs(&self) -> &[Job] {
        self.page.as_ref().map_or(&[], |page| &page.jobs)
    }

    pub(crate) fn chosen(&self) -> Option<&Job> {
        self.jobs().get(self.choice.at)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.jobs().iter().map(|job| job.id.to_string()).collect()
    }

    /// Goes on to older jobs; says whether there are some.
    pub(crate) fn older(&mut self) -> bool {
        let next = self.page.as_ref().and_then(|page| page.next);
        if let Some(next) = next {
            self.newer.push(self.query.before);
            self.turn(Some(next));
        }
        next.is_some()
    }

    /// Goes back to newer jobs; says whether there are some.
    pub(crate) fn newer(&mut self) -> bool {
        let before = self.newer.pop();
        if let Some(before) = before {
            self.turn(before);
        }
        before.is_some()
    }

    fn turn(&mut self, before: Option<JobId>) {
        self.query.before = before;
        (self.page, self.choice) = (None, Choice::default());
    }
}

impl Model {
    /// A screen on which nothing was seen yet.
    pub(crate) fn new(place: String, every: Duration) -> Self {
        Self { place, every, ..Self::default() }
    }

    /// Says what the next look is to be at.
    pub(crate) fn wanted(&self) -> Wanted {
        if let Some(open) = &self.open {
            return Wanted::Job(open.id);
        }
        match (self.page, &self.inside) {
            (Page::Overview, _) => Wanted::Numbers,
            (Page::Queues, _) => Wanted::Queues,
            (Page::Jobs, _) => Wanted::Jobs(self.jobs.query.clone()),
            (Page::Dead, None) => Wanted::Groups,
            (Page::Dead, Some((_, list))) => Wanted::Jobs(list.query.clone()),
            (Page::Workers, _) => Wanted::Workers,
        }
    }

    /// Returns the list of jobs that is on the screen.
    pub(crate) fn list(&mut self) -> Option<&mut List> {
        match (self.page, &mut self.inside) {
            (Page::Jobs, _) => Some(&mut self.jobs),
            (Page::Dead, Some((_, list))) => Some(list),
            _ => None,
        }
    }

    /// Returns the job that keys are about: the one that is shown, or is chosen in a list.
    pub(crate) fn job(&mut self) -> Option<&Job> {
        if self.open.is_some() {
            return self.open.as_ref().and_then(|open| open.job.as_deref());
        }
        self.list().and_then(|list| list.chosen())
    }

    /// Takes in what happened elsewhere.
    pub(crate) fn take(&mut self, news: News) {
        match news {
            News::Looked(look) => self.see(*look),
            News::Missed(why) => self.missed = Some(why),
            News::Done(done) => {
                self.busy = None;
                match done {
                    Ok(text) => self.say(text, true),
                    Err(why) => self.say(format!("failed to {why}"), false),
                }
            }
        }
    }

    pub(crate) fn say(&mut self, text: impl Into<String>, good: bool) {
        self.said = Some(Said { text: text.into(), good, at: Instant::now() });
    }

    /// Forgets what was said a while ago.
    pub(crate) fn tidy(&mut self) {
        if self.said.as_ref().is_some_and(|said| said.at.elapsed() > SAID_FOR) {
            self.said = None;
        }
    }

    fn see(&mut self, look: Look) {
        let Look { at, place, stats, totals, detail } = look;
        self.history.note(at, &totals, self.every);
        self.types = totals.totals.into_iter().map(|one| one.job_type).collect();
        (self.stats, self.place) = (Some(stats), place);
        (self.missed, self.looked_at) = (None, Some(at));
        self.see_detail(detail);
        let queues = self.stats.iter().flat_map(|stats| &stats.queues);
        let queues: Vec<_> = queues.map(|one| one.queue.clone()).collect();
        self.queue.follow(&queues, false);
    }

    /// A detail that is no longer on the screen is dropped.
    fn see_detail(&mut self, detail: Detail) {
        match detail {
            Detail::Nothing => {}
            // A server's numbers may be a moment old, and what was just changed shall be seen.
            Detail::Queues(queues) => {
                if let Some(stats) = &mut self.stats {
                    stats.queues = queues;
                }
            }
            Detail::Jobs(query, page) => {
                if let Some(list) = self.list().filter(|list| list.query == query) {
                    list.page = Some(page);
                    let keys = list.keys();
                    list.choice.follow(&keys, true);
                }
            }
            Detail::Job(id, job) => {
                if let Some(open) = self.open.as_mut().filter(|open| open.id == id) {
                    open.gone = job.is_none();
                    open.job = job.or_else(|| open.job.take());
                }
            }
            Detail::Groups(groups) => {
                let keys: Vec<_> =
                    groups.groups.iter().map(|one| one.fingerprint.clone()).collect();
                self.group.follow(&keys, false);
                self.groups = Some(groups);
            }
            Detail::Workers(mut workers) => {
                workers.retain(|one| one.state != "stopped");
                let keys: Vec<_> = workers.iter().map(key_of_worker).collect();
                self.worker.follow(&keys, false);
                self.workers = Some(workers);
            }
        }
    }
}

/// Two workers of one name began at different times.
pub(crate) fn key_of_worker(worker: &Worker) -> String {
    format!("{} {}", worker.name, worker.started_at)
}
