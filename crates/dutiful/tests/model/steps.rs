//! What may happen in a history: steps that name jobs and fences by what the history made so far,
//! so that a step keeps its meaning when shrinking takes steps before it away.

use proptest::collection::vec;
use proptest::prelude::*;

/// One verb with its parameters, or time that passes. Jobs, fences, queues, types and workers are
/// numbers; `lockstep.rs` says what they stand for.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Enqueue(Vec<New>),
    Claim(Ask),
    Finish(Vec<Ending>),
    Heartbeat { worker: u8, grips: Vec<Grip>, lease_s: u64 },
    CancelRequests(u8),
    Held(Vec<Grip>),
    Cancel(Vec<u8>),
    Retry(Vec<u8>),
    Discard(Vec<u8>),
    Reschedule(Vec<u8>, i64),
    Delete(Vec<u8>),
    Pause(u8, bool),
    Show(u8),
    List(Look),
    Register { worker: u8, types: u8, priority: u16 },
    Leave(u8),
    Types(Vec<u8>),
    Lead { worker: u8, ttl_s: u64 },
    Abdicate { worker: u8, term: Term },
    Promote { term: Term, limit: usize },
    Rescue { term: Term, crashes_max: u32, limit: usize, patience_s: u64 },
    Prune { term: Term, completed_d: u64, dead_d: u64 },
    Fold(Term),
    Once { key: u8, grip: Grip, ttl_s: u64 },
    OnceStore { key: u8, grip: Grip, result: Option<u8> },
    Pass { ms: u64 },
    GoBack { ms: u64 },
}

/// A job to enqueue.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) id: Id,
    pub(crate) queue: u8,
    pub(crate) job_type: u8,
    pub(crate) priority: u16,
    pub(crate) when: When,
    pub(crate) key: Option<u8>,
    pub(crate) at_most_once: bool,
    pub(crate) bytes: usize,
    /// With the rarer settings too.
    pub(crate) rich: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Id {
    /// Of the clock's time, as clients make them.
    Fresh,
    /// Of no time at all.
    Random,
    /// Of a job enqueued before.
    Again(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    AtOnce,
    AfterS(u64),
    /// So many seconds from now, or ago.
    AtS(i64),
}

/// A claim.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) worker: u8,
    pub(crate) lanes: Vec<(u8, usize, usize)>,
    /// A bit for each type.
    pub(crate) types: u8,
    pub(crate) lease_s: u64,
    pub(crate) limit: usize,
    pub(crate) bytes: usize,
    pub(crate) crashed: usize,
}

/// A fence that somebody holds, or believes to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grip {
    /// Of one of the leases that stand now.
    Live(u8),
    /// Of any claim so far, the newest first.
    Claimed(u8),
    WrongNonce(u8),
    WrongAttempt(u8),
    /// The attempt and nonce of one claim with the job of another.
    WrongJob(u8, u8),
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) grip: Grip,
    pub(crate) end: How,
    pub(crate) ran_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Completed(Option<u8>),
    FailedS(u64),
    Exhausted,
    Discarded,
    SnoozedS(u64),
    Released,
    Cancelled,
}

/// A filter; pages of so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) state: Option<u8>,
    pub(crate) live: bool,
    pub(crate) queue: Option<u8>,
    pub(crate) job_type: Option<u8>,
    pub(crate) before: Option<u8>,
    pub(crate) limit: usize,
}

/// The term that a chore names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Term {
    Now,
    Old,
    Next,
}

/// Returns a history of about so many steps: each at random, with now and then a few that belong
/// together, since chance alone seldom goes far down one road.
pub(crate) fn any_history(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        20 => any_step().prop_map(|step| vec![step]),
        1 => a_crash(),
        1 => a_wait_that_ends(),
        1 => an_effect(),
        1 => a_late_request(),
        1 => a_second_life(),
        1 => the_end_of_retention(),
    ];
    // A part has 1.6 steps on average, and a history half of the parts that it may have.
    vec(part, 0..=steps * 5 / 4).prop_map(|parts| parts.concat())
}

/// Returns one step: time and the verbs of a job's day often, the others now and then.
fn any_step() -> impl Strategy<Value = Step> {
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

fn a_crash() -> impl Strategy<Value = Vec<Step>> {
    (any_ask(), 0..4u32).prop_map(|(ask, crashes_max)| {
        let rescue = Step::Rescue { term: Term::Now, crashes_max, limit: 100, patience_s: 0 };
        let lead = Step::Lead { worker: 0, ttl_s: 10 };
        vec![Step::Claim(ask), Step::Pass { ms: 30_001 }, lead, rescue]
    })
}

fn a_wait_that_ends() -> impl Strategy<Value = Vec<Step>> {
    (worker(), any_ask()).prop_map(|(worker, ask)| {
        let promote = Step::Promote { term: Term::Now, limit: 100 };
        let lead = Step::Lead { worker, ttl_s: 10 };
        vec![Step::Pass { ms: 20_000 }, lead, promote, Step::Claim(ask)]
    })
}

fn an_effect() -> impl Strategy<Value = Vec<Step>> {
    (effect_key(), any_grip(), any_grip(), any::<u8>()).prop_map(|(key, grip, other, result)| {
        let begin = |grip| Step::Once { key, grip, ttl_s: 3600 };
        let store = |result| Step::OnceStore { key, grip, result };
        vec![begin(grip), begin(other), store(Some(result)), begin(other)]
    })
}

fn a_late_request() -> impl Strategy<Value = Vec<Step>> {
    (any_ask(), any::<u8>(), any_ending()).prop_map(|(ask, job, ending)| {
        let (worker, grips) = (ask.worker, vec![ending.grip]);
        let beat = Step::Heartbeat { worker, grips, lease_s: 30 };
        let asked = Step::CancelRequests(worker);
        vec![Step::Claim(ask), Step::Cancel(vec![job]), asked, beat, Step::Finish(vec![ending])]
    })
}

fn a_second_life() -> impl Strategy<Value = Vec<Step>> {
    (any_ending(), vec(any::<u8>(), 1..6), any_ask()).prop_map(|(ending, jobs, ask)| {
        let dies = Ending { end: How::Exhausted, ..ending };
        vec![Step::Finish(vec![dies]), Step::Retry(jobs), Step::Claim(ask)]
    })
}

fn any_new() -> impl Strategy<Value = New> {
    let id = prop_oneof![
        16 => Just(Id::Fresh),
        1 => any::<u8>().prop_map(Id::Again),
        1 => Just(Id::Random)
    ];
    let when = prop_oneof![
        6 => Just(When::AtOnce),
        1 => (0..90u64).prop_map(When::AfterS),
        1 => (-90..90i64).prop_map(When::AtS),
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

fn any_ask() -> impl Strategy<Value = Ask> {
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

fn any_ending() -> impl Strategy<Value = Ending> {
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
fn any_grip() -> impl Strategy<Value = Grip> {
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
        1 => term().prop_map(Step::Fold),
    ]
}

fn any_change() -> impl Strategy<Value = Step> {
    let jobs = || vec(any::<u8>(), 0..4);
    prop_oneof![
        4 => jobs().prop_map(Step::Cancel),
        8 => jobs().prop_map(Step::Retry),
        3 => jobs().prop_map(Step::Discard),
        3 => (jobs(), -60..120i64).prop_map(|(jobs, in_s)| Step::Reschedule(jobs, in_s)),
        2 => jobs().prop_map(Step::Delete),
        2 => (queue(), any::<bool>()).prop_map(|(queue, paused)| Step::Pause(queue, paused)),
    ]
}

fn any_word_of_a_worker() -> impl Strategy<Value = Step> {
    let ttl = prop::sample::select(vec![60u64, 7 * 24 * 3600]);
    let lease = prop::sample::select(vec![30u64, 1]);
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
        4 => (effect_key(), any_grip(), prop::option::of(any::<u8>())).prop_map(|(key, grip, result)| {
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

fn worker() -> std::ops::Range<u8> {
    0..3
}

/// Few enough that what one attempt began another meets.
fn effect_key() -> std::ops::Range<u8> {
    0..2
}

fn the_end_of_retention() -> impl Strategy<Value = Vec<Step>> {
    (prop::sample::select(vec![8u64, 91]), 0..2u64).prop_map(|(days, less)| {
        let prune = Step::Prune { term: Term::Now, completed_d: days - less, dead_d: 90 };
        let lead = Step::Lead { worker: 0, ttl_s: 10 };
        vec![Step::Pass { ms: days * 24 * 3_600_000 + 1 }, lead, prune]
    })
}

/// True once in so many.
fn rarely(one_in: u32) -> impl Strategy<Value = bool> {
    prop_oneof![one_in - 1 => Just(false), 1 => Just(true)]
}

/// Prints a history as Rust: it can be put into `kept.rs` as it is.
pub(crate) fn as_rust(steps: &[Step]) -> String {
    let line = |step: &Step| format!("    {step:?},\n").replace('[', "vec![");
    steps.iter().map(line).collect()
}
