//! By chance: a whole history, in which some steps come together as they do in life.

use dutiful::LOG_ATTEMPTS_MAX;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::chance::{
    any_ask, any_ending, any_grip, any_new, any_said, any_step, effect_key, worker,
};
use crate::steps::{Ending, Grip, How, Id, New, Said, Step, Term};

/// Returns a history of about so many steps: each at random, with now and then a few that belong
/// together, since chance alone seldom goes far down one road.
pub(crate) fn any_history(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        200 => any_step().prop_map(|step| vec![step]).boxed(),
        10 => a_crash().boxed(),
        10 => a_beat_between_two_sweeps().boxed(),
        10 => a_wait_that_ends().boxed(),
        10 => an_effect().boxed(),
        10 => a_late_request().boxed(),
        10 => a_second_life().boxed(),
        10 => the_end_of_retention().boxed(),
        10 => words_of_two_attempts().boxed(),
        10 => an_id_that_comes_again().boxed(),
        1 => words_of_many_attempts().boxed(),
    ];
    // A part has 2.1 steps on average, and a history half of the parts that it may have.
    vec(part, 0..=steps * 19 / 20).prop_map(|parts| parts.concat())
}

fn a_crash() -> impl Strategy<Value = Vec<Step>> {
    (any_ask(), 0..4u32).prop_map(|(ask, crashes_max)| {
        let rescue = Step::Rescue { term: Term::Now, crashes_max, limit: 100, patience_s: 0 };
        let lead = Step::Lead { worker: 0, ttl_s: 10 };
        vec![Step::Claim(ask), Step::Pass { ms: 30_001 }, lead, rescue]
    })
}

fn a_beat_between_two_sweeps() -> impl Strategy<Value = Vec<Step>> {
    (any_ask(), vec(any_grip(), 0..3)).prop_map(|(ask, grips)| {
        let beat = Step::Heartbeat { worker: ask.worker, grips, lease_s: 30 };
        let sweep = Step::Rescue { term: Term::Now, crashes_max: 3, limit: 100, patience_s: 10 };
        let silence = Step::Pass { ms: 30_001 };
        let lead = Step::Lead { worker: 0, ttl_s: 10 };
        vec![Step::Claim(ask), silence.clone(), lead, sweep.clone(), beat, silence, sweep]
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

fn words_of_two_attempts() -> impl Strategy<Value = Vec<Step>> {
    (any_ask(), any_said(), any_said(), any::<u8>()).prop_map(|(ask, first, second, job)| {
        let fails = Ending { grip: first.grip, end: How::FailedS(0), ran_ms: 1 };
        let (first, second) = (Step::Note(vec![first]), Step::Note(vec![first, second]));
        let again = Step::Retry(vec![job]);
        vec![Step::Claim(ask), first, Step::Finish(vec![fails]), again, second, Step::Show(job)]
    })
}

/// What was said of a job that is gone is not said of another with its id.
fn an_id_that_comes_again() -> impl Strategy<Value = Vec<Step>> {
    (any_new(), any_ask(), any_said(), any::<bool>()).prop_map(|(new, ask, said, is_cleared)| {
        let all = || (0..3).map(Grip::Live);
        let says = all().map(|grip| Said { grip, lines: Some((1, 1)), ..said }).collect();
        let (end, goes) = match is_cleared {
            true => (How::Released, Step::Clear { queue: new.queue, limit: 100 }),
            false => (How::Completed(None), Step::Delete(vec![0, 1, 2])),
        };
        let ends = all().map(|grip| Ending { grip, end, ran_ms: 1 }).collect();
        let again = vec![New { id: Id::Again(0), ..new.clone() }];
        let (claim, new) = (Step::Claim(ask), vec![new]);
        let first = [Step::Enqueue(new), claim.clone(), Step::Note(says), Step::Finish(ends)];
        [&first[..], &[goes, Step::Enqueue(again), claim, Step::Show(0)]].concat()
    })
}

/// More attempts of a job than keep their lines.
fn words_of_many_attempts() -> impl Strategy<Value = Vec<Step>> {
    (any_ask(), any_said(), 0..9u8).prop_map(|(ask, said, job)| {
        let (grip, lines) = (Grip::Live(job), Some((1, 1)));
        let says = Step::Note(vec![Said { grip, lines, ..said }]);
        let back = Step::Finish(vec![Ending { grip, end: How::Released, ran_ms: 1 }]);
        let attempt = vec![Step::Claim(ask), says, back];
        vec![attempt; LOG_ATTEMPTS_MAX as usize + 2].concat()
    })
}

fn the_end_of_retention() -> impl Strategy<Value = Vec<Step>> {
    (prop::sample::select(vec![8u64, 91]), 0..2u64).prop_map(|(days, less)| {
        let prune = Step::Prune { term: Term::Now, completed_d: days - less, dead_d: 90 };
        let lead = Step::Lead { worker: 0, ttl_s: 10 };
        vec![Step::Pass { ms: days * 24 * 3_600_000 + 1 }, lead, prune]
    })
}
