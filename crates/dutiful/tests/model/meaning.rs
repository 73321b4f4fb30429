//! What the numbers in a step stand for: jobs, fences, names and times.

use std::time::Duration;

use dutiful::store::{Claimed, DeadReason, End, Failure, Finish, Note, WorkerCard};
use dutiful::{
    Delivery, Fence, Filter, JobId, LogLine, Name, Progress, Record, State, Timestamp,
    TypeDefaults, WorkerId,
};

use crate::lockstep::Lockstep;
use crate::steps::{Ending, Grip, How, Id, Look, New, Said, Term, When};

/// Texts to look for in errors: of a class, of a message in other letters, of a stall, a pattern
/// that is none.
const ERRORS: [&str; 4] = ["Oops", "BROKE", "stalled", "%"];

impl Lockstep {
    pub(crate) fn record(&mut self, new: &New) -> Record {
        let id = match new.id {
            Id::Again(n) if !self.ids.is_empty() => from_newest(&self.ids, n),
            Id::Random => self.new_id([0x11; 6]),
            _ => self.new_id(
                *JobId::floor(self.clock.now().us())
                    .as_bytes()
                    .first_chunk()
                    .expect("an id has 16 bytes"),
            ),
        };
        let trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let has_tag = |n: &u8| new.tags & (1 << n) != 0;
        Record {
            id,
            job_type: type_name(new.job_type),
            payload: format!("\"{}\"", "x".repeat(new.bytes - 2)).into_bytes(),
            queue: queue_name(new.queue),
            priority: new.priority,
            scheduled_for: match new.when {
                When::AtS(in_s) => Some(self.at(in_s)),
                _ => None,
            },
            delay: match new.when {
                When::AfterS(s) => seconds(s),
                _ => Duration::ZERO,
            },
            max_attempts: 3,
            timeout: seconds(60),
            correlation_id: new.correlation.map(|n| self.correlation(n)),
            trace_parent: new.traced.then(|| trace_parent.to_owned()),
            group: new.group.map(group),
            unique_key: new.key.map(|n| format!("key {n}")),
            tags: (0..3).filter(has_tag).map(tag).collect(),
            delivery: match new.at_most_once {
                true => Delivery::AtMostOnce,
                false => Delivery::AtLeastOnce,
            },
        }
    }

    /// Makes an id with this time. Within a ms ids are in no order: that of the inserts must not
    /// stand in for that of the ids.
    fn new_id(&mut self, time: [u8; 6]) -> JobId {
        let n = self.ids.len() as u16;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&time);
        bytes[6] = 0x70;
        bytes[8] = (n as u8).reverse_bits();
        bytes[14..].copy_from_slice(&n.to_be_bytes());
        self.ids.push(JobId::from_bytes(bytes));
        JobId::from_bytes(bytes)
    }

    pub(crate) fn at(&self, in_s: i64) -> Timestamp {
        Timestamp::from_us(self.clock.now().us() + in_s * 1_000_000)
    }

    /// Returns the jobs of these numbers, counted from the newest; the last number is of a job that
    /// nobody ever enqueued.
    pub(crate) fn jobs(&self, numbers: &[u8]) -> Vec<JobId> {
        let job = |n: &u8| match *n {
            u8::MAX => JobId::from_bytes([0x33; 16]),
            _ if self.ids.is_empty() => JobId::from_bytes([0x33; 16]),
            n => from_newest(&self.ids, n),
        };
        numbers.iter().map(job).collect()
    }

    /// Returns the correlation id of this number: an order, or the id of a job.
    fn correlation(&self, n: u8) -> String {
        match n {
            0 | 1 => format!("order {n}"),
            n => self.jobs(&[n])[0].to_string(),
        }
    }

    /// Returns when the job of this number was enqueued; now, if it never was.
    fn moment(&self, n: u8) -> Timestamp {
        let job = self.model.show(self.jobs(&[n])[0]);
        job.map_or(self.clock.now(), |job| job.created_at)
    }

    /// Returns what a handler says; `None` before the first claim.
    pub(crate) fn note(&self, said: &Said) -> Option<Note> {
        let (_, Claimed { fence, .. }) = self.grip(said.grip)?;
        let at = self.clock.now();
        let progress = said.percent.map(|percent| {
            let note = (percent > 50).then(|| format!("more than half: {percent}"));
            Progress { percent, note, at }
        });
        let line = |number| LogLine { number, at, text: format!("line {number}") };
        let lines = said.lines.into_iter().flat_map(|(first, many)| first..first + many);
        let (checkpoint, log) = (said.checkpoint.map(json), lines.map(line).collect());
        Some(Note { fence, progress, checkpoint, log })
    }

    pub(crate) fn fences(&self, grips: &[Grip]) -> Vec<Fence> {
        grips.iter().filter_map(|grip| Some(self.grip(*grip)?.1.fence)).collect()
    }

    /// Returns what a worker holds, or believes to hold; `None` before the first claim.
    pub(crate) fn grip(&self, grip: Grip) -> Option<(WorkerId, Claimed)> {
        let (Grip::Live(n)
        | Grip::Claimed(n)
        | Grip::WrongNonce(n)
        | Grip::WrongAttempt(n)
        | Grip::WrongJob(n, _)) = grip;
        if self.claims.is_empty() {
            return None;
        }
        let (worker, mut claimed) = from_newest(&self.claims, n);
        let fence = &mut claimed.fence;
        match grip {
            Grip::Claimed(_) => {}
            Grip::Live(n) => {
                let live = self.model.fences();
                let fence = *live.get(usize::from(n) % live.len().max(1))?;
                return self.claims.iter().find(|(_, one)| one.fence == fence).cloned();
            }
            Grip::WrongNonce(_) => fence.nonce ^= 1,
            Grip::WrongAttempt(_) => fence.attempt += 1,
            Grip::WrongJob(_, other) => fence.id = from_newest(&self.claims, other).1.fence.id,
        }
        // One claim draws one nonce, so the wrong job may be the right one for another grip.
        let real = self.claims.iter().find(|(_, one)| one.fence == claimed.fence);
        Some(real.cloned().unwrap_or((worker, claimed)))
    }

    pub(crate) fn filter(&self, look: &Look) -> Filter {
        Filter {
            state: look.state.map(|n| State::ALL[usize::from(n)]),
            live: look.live,
            queue: look.queue.map(queue_name),
            job_type: look.job_type.map(type_name),
            group: look.group.map(group),
            tag: look.tag.map(tag),
            correlation_id: look.correlation.map(|n| self.correlation(n)),
            since: look.since.map(|n| self.moment(n)),
            until: look.until.map(|n| self.moment(n)),
            error: look.error.map(|n| ERRORS[usize::from(n)].to_owned()),
            before: look.before.map(|n| self.jobs(&[n])[0]),
            limit: Some(look.limit),
            patience: None,
        }
    }

    pub(crate) fn term(&self, term: Term) -> i64 {
        let now = self.model.leader.map_or(0, |leader| leader.term);
        match term {
            Term::Now => now,
            Term::Old => now - 1,
            Term::Next => now + 1,
        }
    }
}

pub(crate) fn finish(one: &Ending, claimed: &Claimed) -> Finish {
    // More than one class, so that their numbers can be told apart.
    let class = if claimed.fence.attempt.is_multiple_of(2) { "exit 3" } else { "Oops" };
    let failure = || Failure { class: class.into(), message: "it broke".into() };
    Finish {
        fence: claimed.fence,
        queue: claimed.queue.clone(),
        job_type: claimed.job_type.clone(),
        failures: claimed.failures,
        unique: claimed.unique,
        delivery: claimed.delivery,
        started_at: claimed.claimed_at,
        ran: millis(one.ran_ms),
        waited: millis(5),
        end: match one.end {
            How::Completed(result) => End::Completed(result.map(json)),
            How::FailedS(wait) => End::Failed(failure(), seconds(wait)),
            How::Exhausted => End::Dead(failure(), DeadReason::Exhausted),
            How::Discarded => End::Dead(failure(), DeadReason::Discarded),
            How::SnoozedS(wait) => End::Snoozed(seconds(wait)),
            How::Released => End::Released,
            How::Cancelled => End::Cancelled,
        },
    }
}

pub(crate) fn card(worker: u8, types: u8, priority: u16, quiet: bool) -> WorkerCard {
    let knows = |n: &u8| types & (1 << n) != 0;
    let settings = |n| TypeDefaults { priority, ..TypeDefaults::unknown(type_name(n)) };
    WorkerCard {
        pid: std::process::id(),
        worker: worker_id(worker),
        name: format!("host:{worker}:{priority}"),
        queues: vec![(queue_name(priority as u8), 10), (queue_name(0), 5)],
        types: (0..4).filter(knows).map(settings).collect(),
        quiet,
    }
}

fn from_newest<T: Clone>(all: &[T], n: u8) -> T {
    all[all.len() - 1 - usize::from(n) % all.len()].clone()
}

pub(crate) fn worker_id(n: u8) -> WorkerId {
    WorkerId(i64::from(n) + 1)
}

pub(crate) fn queue_name(n: u8) -> Name {
    Name::new("queue", &format!("q{n}")).expect("a plain name")
}

fn group(n: u8) -> String {
    ["tenant", "Tenant", "tenant 2"][usize::from(n)].to_owned()
}

/// Tags that are parts of each other, and not of plain letters.
fn tag(n: u8) -> String {
    ["red", "red, \"hot\"", "Red"][usize::from(n)].to_owned()
}

pub(crate) fn type_name(n: u8) -> Name {
    Name::new("type", &format!("t{n}")).expect("a plain name")
}

pub(crate) fn json(n: u8) -> Vec<u8> {
    n.to_string().into_bytes()
}

pub(crate) fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
