//! Where each lane begins: the time before which nothing of it is left, so that a claim starts to
//! read there.
//!
//! Rows that were claimed stay in the index until vacuum may remove them, and it may not while
//! anybody holds an older snapshot (a report, a backup, a forgotten session). A claim that began at
//! the lane's start would walk through all of them, longer each second. So each worker remembers
//! floors, one for each queue and priority that it claims much from:
//!
//! 1. Every few thousand rows a *look* asks, by a snapshot of its own and without locks, for the
//!    first row that is still there: the lane's front. Rows under somebody's uncommitted claim are
//!    seen too, for they may come back.
//! 2. What a look cannot see are rows of transactions that still run. So the look's transaction
//!    takes a number, and its front only waits. Once a later look's snapshot says that all numbers
//!    up to that one have ended, whatever they left is visible, and the floor moves to the lower
//!    of the two fronts. Rows that come later carry later times: `moment_` (enqueue.sql) takes a
//!    number before it reads the clock. A session that only reads has no number and holds nothing
//!    up.
//! 3. Should the server's clock or its numbers go back, all floors are forgotten. And every few
//!    seconds, but for a small part of the time at most, a *search* reads the lanes from their
//!    start and lowers a floor that has something beneath it.
//!
//! Floors only spare work: a lane without one, and whatever lies between the known priorities, is
//! read from its start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use super::Db;
use super::errors::Trouble;
use super::wire::Line;
use crate::clock::Timestamp;
use crate::id::Name;
use crate::store::{ClaimRequest, Claimed};

/// A look is due when so many rows were claimed from a lane since the last …
const LOOK_ROWS: usize = 2000;
/// … or this often as many from all lanes as there are lanes …
const LOOK_ROUNDS: usize = 50;
/// … and takes in every lane from which one in so many of the fullest was.
const ALONG_PART: usize = 4;
/// A search is due this often …
const SEARCH_EVERY: Duration = Duration::from_secs(3);
/// … or after so many times as long as the last one took.
const SEARCH_REST: u32 = 50;
/// Most lanes of a queue that have a floor; the others are read from their start.
const LANES_MAX: usize = 32;
/// Most workers of a process whose floors are remembered.
const WORKERS_MAX: usize = 64;
/// No job has a priority as high as this.
const BELOW_ALL: i16 = i16::MAX;

/// The floors of each worker: what one may not run hides nothing from another.
#[derive(Default)]
pub(super) struct Floors(Mutex<HashMap<i64, Lanes>>);

/// What a worker knows of its lanes.
#[derive(Default)]
struct Lanes {
    types: Arc<HashSet<Name>>,
    queues: HashMap<Name, BTreeMap<i16, Lane>>,
    /// The server's clock and the number of the last look.
    seen: Option<(Timestamp, i64)>,
    /// Grows when floors are lowered; answers to questions from before count no more.
    version: u64,
    looking: bool,
    searching: bool,
    search_at: Option<Instant>,
}

/// A queue's jobs of one priority.
#[derive(Clone, Copy, Default)]
struct Lane {
    floor: Option<Timestamp>,
    /// The front of an earlier look and its number.
    waiting: Option<(Timestamp, i64)>,
    /// Rows claimed since the last look.
    claimed: usize,
}

/// How a claim reads its lanes: the stretches of each queue, from a priority and a time on, up to
/// a priority. Arrays of one length, but for the first two, which go by queue and count from 1.
#[derive(Default)]
pub(super) struct Stretches {
    first: Vec<i32>,
    last: Vec<i32>,
    priorities: Vec<i16>,
    times: Vec<Timestamp>,
    ends: Vec<i16>,
}

/// What to ask the server about.
struct Question {
    worker: i64,
    version: u64,
    /// True when it reads the lanes from their start.
    search: bool,
    types: Arc<HashSet<Name>>,
    lanes: Vec<(Name, i16)>,
    starts: Vec<Timestamp>,
}

/// What the server said: the front of each lane, none when nothing is there.
struct Answer {
    fronts: Vec<Option<Timestamp>>,
    now: Timestamp,
    /// The lowest number that still ran.
    oldest: i64,
    number: i64,
}

impl Floors {
    /// Returns how to read these queues.
    pub(super) fn stretches(&self, ask: &ClaimRequest) -> Stretches {
        let mut stretches = Stretches::default();
        let known = self.lock();
        let lanes = known.get(&ask.worker.0).filter(|lanes| lanes.knows(ask));
        for lane in &ask.lanes {
            stretches.add(lanes.and_then(|lanes| lanes.queues.get(&lane.queue)));
        }
        stretches
    }

    /// Takes note of what was claimed; returns what to ask now.
    fn note(&self, ask: &ClaimRequest, claimed: &[Claimed], priorities: &[i16]) -> Vec<Question> {
        let mut known = self.lock();
        if known.len() >= WORKERS_MAX && !known.contains_key(&ask.worker.0) {
            known.clear();
        }
        let lanes = known.entry(ask.worker.0).or_default();
        if !lanes.knows(ask) {
            *lanes =
                Lanes { types: ask.types.clone(), version: lanes.version + 1, ..Lanes::default() };
        }
        for (job, priority) in claimed.iter().zip(priorities) {
            lanes.count(&job.queue, *priority);
        }
        lanes.questions(ask.worker.0)
    }

    fn heard(&self, question: &Question, answer: Option<&Answer>, took: Duration) {
        let mut known = self.lock();
        let Some(lanes) = known.get_mut(&question.worker) else { return };
        if question.search {
            lanes.searching = false;
            lanes.search_at = Some(Instant::now() + SEARCH_EVERY.max(took * SEARCH_REST));
        } else {
            lanes.looking = false;
        }
        if let Some(answer) = answer.filter(|_| lanes.version == question.version) {
            lanes.learn(question, answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Lanes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn knows(&self, ask: &ClaimRequest) -> bool {
        Arc::ptr_eq(&self.types, &ask.types) || self.types == ask.types
    }

    fn count(&mut self, queue: &Name, priority: i16) {
        let Some(queue) = self.queues.get_mut(queue) else {
            let lane = Lane { claimed: 1, ..Lane::default() };
            self.queues.insert(queue.clone(), BTreeMap::from([(priority, lane)]));
            return;
        };
        if queue.len() < LANES_MAX || queue.contains_key(&priority) {
            queue.entry(priority).or_default().claimed += 1;
        }
    }

    fn questions(&mut self, worker: i64) -> Vec<Question> {
        let every = || {
            let each = |(queue, lanes): (_, &BTreeMap<i16, Lane>)| {
                lanes.iter().map(|(at, lane)| (queue, *at, *lane)).collect::<Vec<_>>()
            };
            self.queues.iter().flat_map(each)
        };
        let question = |search, lanes: Vec<(&Name, i16, Lane)>| Question {
            worker,
            version: self.version,
            search,
            types: self.types.clone(),
            starts: lanes
                .iter()
                .map(|(_, _, lane)| lane.floor.filter(|_| !search).unwrap_or_default())
                .collect(),
            lanes: lanes.into_iter().map(|(queue, at, _)| (queue.clone(), at)).collect(),
        };
        let mut due = Vec::new();
        let claimed = || every().map(|(.., lane)| lane.claimed);
        let (lanes, all) = claimed().fold((0, 0), |(lanes, all), rows| (lanes + 1, all + rows));
        let most = claimed().max().unwrap_or_default();
        if !self.looking && (most >= LOOK_ROWS || all >= LOOK_ROWS.max(lanes * LOOK_ROUNDS)) {
            let least = (most / ALONG_PART).max(1);
            let busy = every().filter(|(.., lane)| lane.claimed >= least).collect();
            due.push(question(false, busy));
        }
        let rested = self.search_at.is_none_or(|at| Instant::now() >= at);
        if !self.searching && rested && every().any(|(.., lane)| lane.floor.is_some()) {
            let floored = every().filter(|(.., lane)| lane.floor.is_some()).collect();
            due.push(question(true, floored));
        }
        for question in &due {
            if question.search {
                self.searching = true;
                continue;
            }
            self.looking = true;
            for (queue, at) in &question.lanes {
                if let Some(lane) = self.queues.get_mut(queue).and_then(|lanes| lanes.get_mut(at)) {
                    lane.claimed = 0;
                }
            }
        }
        due
    }

    fn learn(&mut self, question: &Question, answer: &Answer) {
        let went_back = |(now, number)| answer.now < now || answer.number < number;
        if !question.search && self.seen.is_some_and(went_back) {
            self.forget();
            return;
        }
        if !question.search {
            self.seen = Some((answer.now, answer.number));
        }
        for ((queue, at), front) in question.lanes.iter().zip(&answer.fronts) {
            let lane = self.queues.get_mut(queue).and_then(|lanes| lanes.get_mut(at));
            let Some(lane) = lane else { continue };
            let front = front.unwrap_or(answer.now);
            if question.search {
                if lane.floor.is_some_and(|floor| front < floor) {
                    (lane.floor, lane.waiting) = (Some(front), None);
                    self.version += 1;
                }
                continue;
            }
            match lane.waiting {
                Some((_, number)) if answer.oldest <= number => {}
                waiting => {
                    if let Some((earlier, _)) = waiting {
                        lane.floor = Some(earlier.min(front));
                    }
                    lane.waiting = Some((front, answer.number));
                }
            }
        }
    }

    fn forget(&mut self) {
        self.queues.clear();
        self.seen = None;
        self.version += 1;
    }
}

impl Stretches {
    /// The last five parameters of whoever reads lanes.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.first, &self.last, &self.priorities, &self.times, &self.ends]
    }

    /// Returns the stretches of some of the queues.
    pub(super) fn of(&self, queues: &[usize]) -> Self {
        Self {
            first: queues.iter().map(|at| self.first[*at]).collect(),
            last: queues.iter().map(|at| self.last[*at]).collect(),
            priorities: self.priorities.clone(),
            times: self.times.clone(),
            ends: self.ends.clone(),
        }
    }

    /// Adds the stretches of one queue: all of it, cut where a floor is known.
    fn add(&mut self, lanes: Option<&BTreeMap<i16, Lane>>) {
        self.first.push(self.times.len() as i32 + 1);
        let floors = lanes.into_iter().flatten();
        let floors = floors.filter_map(|(at, lane)| lane.floor.map(|floor| (*at, floor)));
        let mut from = (0, Timestamp::default());
        for (at, floor) in floors {
            if at > from.0 {
                self.push(from, at);
            }
            from = (at, floor);
        }
        self.push(from, BELOW_ALL);
        self.last.push(self.times.len() as i32);
    }

    fn push(&mut self, (priority, time): (i16, Timestamp), end: i16) {
        self.priorities.push(priority);
        self.times.push(time);
        self.ends.push(end);
    }
}

impl Db {
    /// Takes note of what a claim took, and asks the server where the lanes begin now; nobody waits
    /// for that.
    pub(super) fn note_claimed(&self, ask: &ClaimRequest, claimed: &[Claimed], at: &[i16]) {
        if self.clock.is_manual() {
            return;
        }
        for question in self.floors.note(ask, claimed, at) {
            let Some(db) = self.me.upgrade() else { return };
            self.wire.spawn(async move {
                let began = Instant::now();
                // A look that failed costs nothing but the walk that it would have spared.
                let answer = db.look_for_fronts(&question).await.ok();
                db.floors.heard(&question, answer.as_ref(), began.elapsed());
            });
        }
    }

    async fn look_for_fronts(&self, question: &Question) -> Result<Answer, Trouble> {
        let queues: Vec<&str> = question.lanes.iter().map(|(queue, _)| queue.as_str()).collect();
        let priorities: Vec<i16> = question.lanes.iter().map(|(_, at)| *at).collect();
        let types: Vec<&str> = question.types.iter().map(Name::as_str).collect();
        let look = !question.search;
        let params: [&(dyn ToSql + Sync); 5] =
            [&queues, &priorities, &question.starts, &types, &look];
        let rows = self.query(Line::Lanes, "claim", "fronts", &params).await?;
        let first = rows.first().ok_or(Trouble::Mistake("a look at the lanes said nothing"))?;
        Ok(Answer {
            fronts: rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
            now: first.try_get(1)?,
            oldest: first.try_get(2)?,
            number: first.try_get(3)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i16 = 10;

    fn queue() -> Name {
        Name::new("queue", "q").expect("a name")
    }

    fn us(us: i64) -> Timestamp {
        Timestamp::from_us(us)
    }

    /// Claims enough for a look, which sees this front at this time, while `oldest` still runs.
    fn look(lanes: &mut Lanes, front: Option<i64>, now: i64, (oldest, number): (i64, i64)) {
        (0..LOOK_ROWS).for_each(|_| lanes.count(&queue(), AT));
        let asked = lanes.questions(1);
        let question = asked.iter().find(|one| !one.search).expect("a look is due");
        let answer = Answer { fronts: vec![front.map(us)], now: us(now), oldest, number };
        lanes.looking = false;
        lanes.learn(question, &answer);
    }

    fn floor(lanes: &Lanes) -> Option<Timestamp> {
        lanes.queues.get(&queue()).and_then(|lanes| lanes[&AT].floor)
    }

    #[test]
    fn a_floor_waits_for_all_that_ran_beside_its_look() {
        let mut lanes = Lanes::default();
        look(&mut lanes, Some(100), 1000, (5, 7));
        assert_eq!(floor(&lanes), None, "nothing is known of what commits later");
        look(&mut lanes, Some(200), 1001, (6, 9));
        assert_eq!(floor(&lanes), None, "number 6 still runs");
        look(&mut lanes, Some(300), 1002, (8, 11));
        assert_eq!(floor(&lanes), Some(us(100)));
        look(&mut lanes, None, 1003, (12, 13));
        assert_eq!(floor(&lanes), Some(us(300)));
    }

    #[test]
    fn a_floor_stays_beneath_what_came_meanwhile() {
        let mut lanes = Lanes::default();
        look(&mut lanes, Some(100), 1000, (5, 7));
        look(&mut lanes, Some(90), 1001, (8, 9));
        assert_eq!(floor(&lanes), Some(us(90)));
    }

    #[test]
    fn a_search_lowers_a_floor_and_never_raises_one() {
        let mut lanes = Lanes::default();
        look(&mut lanes, Some(100), 1000, (5, 7));
        look(&mut lanes, Some(200), 1001, (8, 9));
        let version = lanes.version;
        for (front, wanted) in [(500, 100), (50, 50)] {
            lanes.searching = false;
            let asked = lanes.questions(1);
            let question = asked.iter().find(|one| one.search).expect("a search is due");
            assert_eq!(question.starts, [Timestamp::default()]);
            let answer =
                Answer { fronts: vec![Some(us(front))], now: us(1002), oldest: 9, number: 10 };
            lanes.learn(question, &answer);
            assert_eq!(floor(&lanes), Some(us(wanted)));
        }
        assert!(lanes.version > version, "a look that began above counts no more");
    }

    #[test]
    fn a_clock_or_numbers_that_go_back_end_all_floors() {
        for (now, number) in [(999, 11), (1002, 8)] {
            let mut lanes = Lanes::default();
            look(&mut lanes, Some(100), 1000, (5, 7));
            look(&mut lanes, Some(200), 1001, (8, 9));
            assert_eq!(floor(&lanes), Some(us(100)));
            look(&mut lanes, Some(300), now, (number, number));
            assert_eq!(floor(&lanes), None);
        }
    }

    #[test]
    fn stretches_cover_every_priority_once() {
        let mut lanes = Lanes::default();
        look(&mut lanes, Some(100), 1000, (5, 7));
        look(&mut lanes, Some(200), 1001, (8, 9));
        let mut stretches = Stretches::default();
        stretches.add(None);
        stretches.add(lanes.queues.get(&queue()));
        assert_eq!((stretches.first, stretches.last), (vec![1, 2], vec![1, 3]));
        assert_eq!(stretches.priorities, [0, 0, AT]);
        assert_eq!(stretches.ends, [BELOW_ALL, AT, BELOW_ALL]);
        assert_eq!(stretches.times, [us(0), us(0), us(100)]);
    }
}
