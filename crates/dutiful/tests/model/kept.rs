//! Histories that once showed a difference, shrunk; each stays as a test on every store.

use crate::steps::Grip::*;
use crate::steps::How::*;
use crate::steps::Id::*;
use crate::steps::Step::{self, *};
use crate::steps::Term::*;
use crate::steps::When::*;
use crate::steps::{Ask, Ending, New};

/// Returns every kept history with what it promises.
pub(crate) fn all() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("a lost attempt forgets no remembered effect", a_lost_attempt_forgets_nothing()),
        ("a beat that no sweep saw begins the patience anew", a_beat_that_no_sweep_saw()),
    ]
}

fn job() -> New {
    New {
        id: Fresh,
        queue: 0,
        job_type: 0,
        priority: 10,
        when: AtOnce,
        key: None,
        at_most_once: false,
        bytes: 2,
        rich: false,
    }
}

fn ask() -> Ask {
    Ask {
        worker: 0,
        lanes: vec![(0, 9, 9)],
        types: 7,
        lease_s: 30,
        limit: 9,
        bytes: usize::MAX,
        crashed: 9,
    }
}

/// It once could: the effect would have run again, though its result was known.
fn a_lost_attempt_forgets_nothing() -> Vec<Step> {
    vec![
        Enqueue(vec![job()]),
        Claim(ask()),
        Once { key: 0, grip: Live(0), ttl_s: 60 },
        OnceStore { key: 0, grip: Live(0), result: Some(7) },
        Finish(vec![Ending { grip: Live(0), end: Released, ran_ms: 1 }]),
        OnceStore { key: 0, grip: Claimed(0), result: None },
        Claim(ask()),
        Once { key: 0, grip: Live(0), ttl_s: 60 },
        Lead { worker: 0, ttl_s: 10 },
        Fold(Now),
    ]
}

/// It once did not: the second silence was taken for the first, and nobody waited for the owner.
fn a_beat_that_no_sweep_saw() -> Vec<Step> {
    let sweep = || Rescue { term: Now, crashes_max: 3, limit: 100, patience_s: 10 };
    vec![
        Enqueue(vec![job()]),
        Claim(ask()),
        Lead { worker: 0, ttl_s: 100 },
        Pass { ms: 30_001 },
        sweep(),
        Heartbeat { worker: 0, grips: vec![Live(0)], lease_s: 30 },
        Pass { ms: 30_001 },
        sweep(),
        Pass { ms: 10_000 },
        sweep(),
    ]
}
