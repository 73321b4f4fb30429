//! By chance: one step, with numbers that make something happen more often than not.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::steps::{Ask, Ending, Grip, How, Id, Look, New, Said, Step, Term, When};

/// Returns one step: time and the verbs of a job's day often, the others now and then. Each kind is
/// boxed, for all of them side by side are more than a thread's stack holds.
pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => vec(any_new(), 0..5).prop_map(Step::Enqueue).boxed(),
        18 => any_ask().prop_map(Step::Claim).boxed(),
        16 => vec(any_ending(), 0..4).prop_map(Step::Finish).boxed(),
        12 => any_pass().boxed(),
        12 => any_chore().boxed(),
        14 => any_change().boxed(),
        12 => any_word_of_a_worker().boxed(),
        6 => any_look().boxed(),
    ]
}

pub(crate) fn any_new() -> impl Strategy<Value = New> {
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
    let marks = (prop::option::weighted(0.3, 0..3u8), tags(), correlation(), rarely(6));
    let rest = (rarely(6), bytes, marks);
    (id, place, when, key, rest).prop_map(|(id, place, when, key, rest)| {
        let (queue, job_type, priority) = place;
        let (at_most_once, bytes, (group, tags, correlation, traced)) = rest;
        New {
            id,
            queue,
            job_type,
            priority,
            when,
            key,
            at_most_once,
            bytes,
            group,
            tags,
            correlation,
            traced,
        }
    })
}

pub(crate) fn any_ask() -> impl Strategy<Value = Ask> {
    let room = || prop_oneof![3 => Just(9usize), 1 => 0..4usize];
    let lanes = prop_oneof![
        2 => Just(vec![(0, 9, 9), (1, 9, 9), (2, 9, 9)]),
        1 => vec((queue(), room(), room()), 0..4),
    ];
    let types = prop_oneof![3 => Just(0b0111u8), 1 => Just(0b1111), 1 => 0..16u8];
    let lease_s = prop_oneof![4 => Just(30u64), 1 => Just(10), 1 => Just(90_000)];
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

/// Lines begin anywhere, also where others stand already; now and then more of them than are kept.
pub(crate) fn any_said() -> impl Strategy<Value = Said> {
    let first = prop::sample::select(vec![1u32, 2, 3, 5, 150, 201]);
    let many = prop_oneof![20 => 0..4u32, 1 => prop::sample::select(vec![60u32, 201])];
    let lines = prop::option::of((first, many));
    let words = (prop::option::of(0..=100u8), prop::option::of(any::<u8>()), lines);
    (any_grip(), words).prop_map(|(grip, (percent, checkpoint, lines))| Said {
        grip,
        percent,
        checkpoint,
        lines,
    })
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
    let limit = prop::sample::select(vec![100usize, 0, 1, 2]);
    prop_oneof![
        4 => jobs().prop_map(Step::Cancel),
        8 => jobs().prop_map(Step::Retry),
        3 => jobs().prop_map(Step::Discard),
        3 => (jobs(), when).prop_map(|(jobs, in_s)| Step::Reschedule(jobs, in_s)),
        2 => jobs().prop_map(Step::Delete),
        2 => (queue(), any::<bool>()).prop_map(|(queue, paused)| Step::Pause(queue, paused)),
        1 => (queue(), limit).prop_map(|(queue, limit)| Step::Clear { queue, limit }),
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
        4 => vec(any_said(), 0..3).prop_map(Step::Note),
        2 => (worker(), 0..16u8, 0..3u16, rarely(3)).prop_map(
            |(worker, types, priority, quiet)| Step::Register { worker, types, priority, quiet }
        ),
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
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Show),
        2 => vec(any::<u8>(), 0..4).prop_map(Step::Result),
        6 => any_filter().prop_map(Step::List),
        1 => Just(Step::Workers),
        1 => vec(0..5u8, 0..4).prop_map(Step::Types),
    ]
}

/// Few conditions at a time, so that some jobs meet them all.
fn any_filter() -> impl Strategy<Value = Look> {
    let one_in_3 = |up_to: u8| prop::option::weighted(0.33, 0..up_to);
    let one_in_6 = |up_to: u8| prop::option::weighted(0.17, 0..up_to);
    let place = (one_in_3(8), rarely(6), one_in_6(3), one_in_6(4));
    let marks = (one_in_6(3), one_in_6(3), correlation(), one_in_6(4));
    let times = (one_in_6(u8::MAX), one_in_6(u8::MAX), one_in_6(u8::MAX));
    (place, marks, times, 1..6usize).prop_map(|(place, marks, times, limit)| {
        let (state, live, queue, job_type) = place;
        let (group, tag, correlation, error) = marks;
        let (since, until, before) = times;
        Look {
            state,
            live,
            queue,
            job_type,
            group,
            tag,
            correlation,
            since,
            until,
            error,
            before,
            limit,
        }
    })
}

/// Mostly none; of the others half are one of few orders, half the id of a job.
fn correlation() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![6 => Just(None), 1 => (0..2u8).prop_map(Some), 1 => any::<u8>().prop_map(Some)]
}

fn tags() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0u8), 1 => 0..8u8]
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
