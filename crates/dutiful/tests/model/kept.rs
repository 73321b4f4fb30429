//! Histories that once showed a difference, shrunk; each stays as a test on every store.

use crate::steps::Grip::*;
use crate::steps::How::*;
use crate::steps::Id::*;
use crate::steps::Step::{self, *};
use crate::steps::Term::*;
use crate::steps::When::*;
use crate::steps::{Ask, Ending, New, Said};

/// Returns every kept history with what it promises.
pub(crate) fn all() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("a lost attempt forgets no remembered effect", a_lost_attempt_forgets_nothing()),
        ("a beat that no sweep saw begins the patience anew", a_beat_that_no_sweep_saw()),
        ("a job that went well at last has no error", a_job_that_went_well_at_last()),
        ("an attempt keeps so many lines and no more", lines_that_come_late()),
        ("a job that is passed over weighs nothing", a_job_that_is_passed_over()),
        ("only the first of a claim may be of any size", the_first_of_a_claim()),
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
        group: None,
        tags: 0,
        correlation: None,
        traced: false,
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

/// It once had: whoever waited for it was told how the attempt before went.
fn a_job_that_went_well_at_last() -> Vec<Step> {
    let end = |end| Finish(vec![Ending { grip: Live(0), end, ran_ms: 1 }]);
    let all = vec![0];
    vec![
        Enqueue(vec![job()]),
        Claim(ask()),
        end(FailedS(5)),
        Result(all.clone()),
        Retry(all.clone()),
        Claim(ask()),
        end(Completed(Some(7))),
        Result(all),
    ]
}

/// It once kept more: lines written after those that they should have made room for.
fn lines_that_come_late() -> Vec<Step> {
    let lines = |first, many| {
        let lines = Some((first, many));
        Note(vec![Said { grip: Live(0), percent: None, checkpoint: None, lines }])
    };
    vec![Enqueue(vec![job()]), Claim(ask()), lines(1, 202), lines(1, 5), Show(0)]
}

/// Two jobs of which each crashed a worker, of this size.
fn two_that_crashed(bytes: usize) -> Vec<Step> {
    vec![
        Enqueue(vec![New { bytes, ..job() }, New { bytes, ..job() }]),
        Claim(ask()),
        Pass { ms: 30_001 },
        Rescue { term: Now, crashes_max: 3, limit: 100, patience_s: 0 },
    ]
}

/// It once did: the second took the bytes of a small one behind it.
fn a_job_that_is_passed_over() -> Vec<Step> {
    let mut steps = two_that_crashed(200);
    let lanes = vec![(0, 9, 9), (1, 9, 9)];
    steps.push(Enqueue(vec![New { queue: 1, ..job() }]));
    steps.push(Claim(Ask { lanes, bytes: 202, crashed: 1, ..ask() }));
    steps
}

/// Once the first of each statement could be: the second statement took what did not fit.
fn the_first_of_a_claim() -> Vec<Step> {
    let mut steps = two_that_crashed(2);
    steps.push(Enqueue(vec![New { bytes: 200, ..job() }]));
    steps.push(Claim(Ask { lanes: vec![(0, 2, 9)], bytes: 100, crashed: 1, ..ask() }));
    steps
}
