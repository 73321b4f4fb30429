//! By chance: one step, with numbers that make something happen more often than not.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::steps::{Ask, Ending, Grip, How, Id, Look, New, Step, Term, When};

/// Returns one step: time and the verbs of a job's day often, the others now and then.
pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => vec(any_new(), 0..5).prop_map(Step::Enqueue),
        18 => any_ask().prop_map(Step::Claim),
        16 => vec(any_ending(), 0..4).prop_map(Step::Finish),
        12 => any_pass(),
        12 => any_chore(),
        14 => any_change(),
        12 => any_word_of_a_worker(),
        4 => any_look(),
    ]
}

fn any_new() -> impl Strategy<Value = New> {
    let id = prop_oneof![
        16 => Just(Id::Fresh),
        1 => any::<u8>().prop_map(Id::Again),
        1 => Just(Id::Random)
    ];
    let when = prop_oneof![
        8 => Just(When::AtOnce),
        1 => later().prop_map(|s| When::AfterS(s as u64)),
        1 => later().prop_map(When::AtS),
        1 => later().prop_map(|s| When::AtS(-s)),
    ];
    let key = prop_oneof![2 => Just(None), 1 => (0..2u8).prop_map(Some)];
    let place = (queue(), 0..4u8, prop::sample::select(vec![10, 0, 500, 1000]));
    let bytes = prop::sample::select(vec![2usize, 40, 200]);
    let rest = (rarely(6), bytes, rarely(6));
    (id, place, when, key, rest).prop_map(|(id, place, when, key, rest)| {
        let (queue, job_type, priority) = place;
        let (at_most_once, bytes, rich) = rest;
        New { id, queue, job_type, priority, when, key, at_most_once, bytes, rich }
    })
}

pub(crate) fn any_ask() -> impl Strategy<Value = Ask> {
    let room = || prop_oneof![3 => Just(9usize), 1 => 0..4usize];
    let lanes = prop_oneof![
        2 => Just(vec![(0, 9, 9), (1, 9, 9), (2, 9, 9)]),
        1 => vec((queue(), room(), room()), 0..4),
    ];
    let types = prop_oneof![3 => Just(0b0111u8), 1 => Just(0b1111), 1 => 0..16u8];
    let lease_s = prop_oneof![4 => Just(30u64), 1 => Just(2), 1 => Just(90_000)];
    let bytes = prop_oneof![4 => Just(usize::MAX), 1 => 0..300usize];
    (worker(), lanes, types, lease_s, (room(), bytes, room())).prop_map(
        |(worker, lanes, types, lease_s, (limit, bytes, crashed))| Ask {
            worker,
            lanes,
            types,
            lease_s,
            limit,
            bytes,
            crashed,
        },
    )
}

pub(crate) fn any_ending() -> impl Strategy<Value = Ending> {
    let wait = || prop::sample::select(vec![0u64, 5, 20, 4000]);
    let end = prop_oneof![
        4 => prop::option::of(any::<u8>()).prop_map(How::Completed),
        4 => wait().prop_map(How::FailedS),
        2 => Just(How::Exhausted),
        1 => Just(How::Discarded),
        2 => wait().prop_map(How::SnoozedS),
        2 => Just(How::Released),
        2 => Just(How::Cancelled),
    ];
    let ran_ms = prop::sample::select(vec![1u64, 0, 2500]);
    (any_grip(), end, ran_ms).prop_map(|(grip, end, ran_ms)| Ending { grip, end, ran_ms })
}

/// Mostly what is held now; now and then what was lost, or what nobody ever had.
pub(crate) fn any_grip() -> impl Strategy<Value = Grip> {
    prop_oneof![
        12 => any::<u8>().prop_map(Grip::Live),
        4 => any::<u8>().prop_map(Grip::Claimed),
        1 => any::<u8>().prop_map(Grip::WrongNonce),
        1 => any::<u8>().prop_map(Grip::WrongAttempt),
        1 => any::<(u8, u8)>().prop_map(|(of, job)| Grip::WrongJob(of, job)),
    ]
}

/// Steps that something is likely to happen in: a moment, the end of a wait, of a lease, of a
/// remembered result, of what is kept. To the µs now and then, where the comparisons are.
fn any_pass() -> impl Strategy<Value = Step> {
    let some = [1, 1000, 5000, 10_000, 20_000, 30_000, 30_001, 61_000, 3_600_000];
    let days = [1, 8, 91].map(|day| day * 24 * 3_600_000);
    let back = [500, 999, 1000, 60_000, 3_600_000, 2 * 24 * 3_600_000];
    prop_oneof![
        9 => prop::sample::select(some.to_vec()).prop_map(|ms| Step::Pass { ms }),
        2 => prop::sample::select(days.to_vec()).prop_map(|ms| Step::Pass { ms }),
        1 => prop::sample::select(back.to_vec()).prop_map(|ms| Step::GoBack { ms }),
    ]
}

fn any_chore() -> impl Strategy<Value = Step> {
    let term = || prop_oneof![8 => Just(Term::Now), 1 => Just(Term::Old), 1 => Just(Term::Next)];
    let limit = || prop_oneof![4 => Just(100usize), 1 => 0..3usize];
    let patience = prop_oneof![3 => Just(0u64), 1 => Just(10)];
    prop_oneof![
        5 => (worker(), prop::sample::select(vec![10u64, 100])).prop_map(|(worker, ttl_s)| {
            Step::Lead { worker, ttl_s }
        }),
        1 => (worker(), term()).prop_map(|(worker, term)| Step::Abdicate { worker, term }),
        8 => (term(), limit()).prop_map(|(term, limit)| Step::Promote { term, limit }),
        8 => (term(), 0..4u32, limit(), patience).prop_map(
            |(term, crashes_max, limit, patience_s)| {
                Step::Rescue { term, crashes_max, limit, patience_s }
            }
        ),
        1 => (term(), 0..9u64, 0..92u64).prop_map(|(term, completed_d, dead_d)| {
            Step::Prune { term, completed_d, dead_d }
        }),
        4 => term().prop_map(Step::Fold),
    ]
}

fn any_change() -> impl Strategy<Value = Step> {
    let jobs = || vec(any::<u8>(), 0..4);
    let when = prop_oneof![later(), Just(-60)];
    prop_oneof![
        4 => jobs().prop_map(Step::Cancel),
        8 => jobs().prop_map(Step::Retry),
        3 => jobs().prop_map(Step::Discard),
        3 => (jobs(), when).prop_map(|(jobs, in_s)| Step::Reschedule(jobs, in_s)),
        2 => jobs().prop_map(Step::Delete),
        2 => (queue(), any::<bool>()).prop_map(|(queue, paused)| Step::Pause(queue, paused)),
    ]
}

fn any_word_of_a_worker() -> impl Strategy<Value = Step> {
    let ttl = prop::sample::select(vec![60u64, 7 * 24 * 3600]);
    let lease = prop::sample::select(vec![30u64, 1]);
    let result = prop::option::of(any::<u8>());
    prop_oneof![
        4 => (worker(), vec(any_grip(), 0..4), lease).prop_map(|(worker, grips, lease_s)| {
            Step::Heartbeat { worker, grips, lease_s }
        }),
        2 => worker().prop_map(Step::CancelRequests),
        1 => vec(any_grip(), 0..4).prop_map(Step::Held),
        1 => (worker(), 0..16u8, 0..3u16).prop_map(|(worker, types, priority)| {
            Step::Register { worker, types, priority }
        }),
        1 => worker().prop_map(Step::Leave),
        4 => (effect_key(), any_grip(), ttl).prop_map(|(key, grip, ttl_s)| {
            Step::Once { key, grip, ttl_s }
        }),
        4 => (effect_key(), any_grip(), result).prop_map(|(key, grip, result)| {
            Step::OnceStore { key, grip, result }
        }),
    ]
}

fn any_look() -> impl Strategy<Value = Step> {
    let maybe = |up_to: u8| prop::option::of(0..up_to);
    let filter =
        (maybe(8), rarely(4), maybe(3), maybe(4), prop::option::of(any::<u8>()), 1..6usize);
    let list = filter.prop_map(|(state, live, queue, job_type, before, limit)| {
        Step::List(Look { state, live, queue, job_type, before, limit })
    });
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Show),
        3 => list,
        1 => vec(0..5u8, 0..4).prop_map(Step::Types),
    ]
}

fn queue() -> std::ops::Range<u8> {
    0..3
}

pub(crate) fn worker() -> std::ops::Range<u8> {
    0..3
}

/// Few enough that what one attempt began another meets.
pub(crate) fn effect_key() -> std::ops::Range<u8> {
    0..2
}

/// Few times, so that several jobs wait for the same.
fn later() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![20i64, 5, 60])
}

/// True once in so many.
fn rarely(one_in: u32) -> impl Strategy<Value = bool> {
    prop_oneof![one_in - 1 => Just(false), 1 => Just(true)]
}
