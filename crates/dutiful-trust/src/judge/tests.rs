//! Who judges the judge: each invariant is shown a history that breaks it, and must name it.

use super::{Percentiles, Rules, Verdict, judge};
use crate::final_state::{FinalState, Found, Logged, Place, Standing, code};
use crate::history::History;
use crate::ledger::{END_COMPLETED, END_COUNTED, END_DEAD, Entry, Id, Kind};

const JOB: Id = [1; 16];
const WORKER: i64 = 77;
const PID: u32 = 4000;
const LEASE_US: i64 = 3_000_000;

const RULES: Rules = Rules {
    lease_us: LEASE_US,
    only_the_killed_stall: true,
    cancel_us_max: Some(1_000_000),
    rescue_us_max: Some(5_000_000),
    back_us_max: Some(5_000_000),
};

/// A run in the making: what the ledgers say, and what the store says.
struct Case {
    entries: Vec<Entry>,
    state: FinalState,
}

impl Case {
    fn empty() -> Self {
        let state = FinalState { integrity: "ok".into(), ..FinalState::default() };
        Self { entries: Vec::new(), state }
    }

    /// A job that was sent, ran once, and is completed.
    fn good() -> Self {
        let mut case = Self::empty();
        case.say(Kind::Intent, END_COMPLETED, 0, 10);
        case.say(Kind::Acked, 0, 0, 20);
        case.say(Kind::Start, 1, 11, 1_000);
        case.say(Kind::Effect, 1, 11, 2_000);
        case.say(Kind::DoneOk, 1, 11, 3_000);
        case.found().records = 1;
        case.found().places.push(done(1, 11, 1_000, 2_000));
        case.state.pids.insert(WORKER, PID);
        case.count(code::TALLY_ENQUEUED, 1);
        case.count(code::TALLY_COMPLETED, 1);
        case
    }

    /// The same, but the first worker is killed in the middle and another one does the job.
    fn killed_once() -> Self {
        let mut case = Self::empty();
        let (begun, killed) = (1_000, 500_000);
        let rescued = begun + LEASE_US + 400_000;
        case.say(Kind::Intent, END_COMPLETED, 0, 10);
        case.say(Kind::Acked, 0, 0, 20);
        case.say(Kind::Start, 1, 11, begun);
        case.signal(Kind::Killed, PID, killed);
        case.say(Kind::Start, 2, 12, rescued + 10);
        case.say(Kind::Effect, 2, 12, rescued + 20);
        case.say(Kind::DoneOk, 2, 12, rescued + 30);
        case.found().records = 1;
        case.found().log.push(stalled(1, begun, rescued));
        case.found().places.push(done(2, 12, rescued + 10, rescued + 20));
        case.state.pids.insert(WORKER, PID);
        case.count(code::TALLY_ENQUEUED, 1);
        case.count(code::TALLY_COMPLETED, 1);
        case.count(code::TALLY_STALLED, 1);
        case
    }

    /// A worker stands still for two leases and loses its job; it hears of that on awakening.
    fn slept_once() -> Self {
        let mut case = Self::killed_once();
        case.entries.retain(|entry| entry.kind != Kind::Killed);
        case.signal(Kind::Stopped, PID, 500_000);
        case.signal(Kind::Continued, PID, 6_500_000);
        case
    }

    fn say(&mut self, kind: Kind, attempt: u32, nonce: i64, at: i64) {
        self.entries.push(Entry { kind, id: JOB, attempt, nonce, at, pid: PID });
    }

    fn signal(&mut self, kind: Kind, pid: u32, at: i64) {
        self.entries.push(Entry { kind, id: [0; 16], attempt: 0, nonce: 8, at, pid });
    }

    fn found(&mut self) -> &mut Found {
        self.state.jobs.entry(JOB).or_default()
    }

    fn count(&mut self, event: i64, n: i64) {
        *self.state.tally.entry(event).or_default() += n;
    }

    fn judge_by(self, rules: &Rules) -> Verdict {
        judge(&History::of(self.entries), &self.state, rules)
    }

    fn judge(self) -> Verdict {
        self.judge_by(&RULES)
    }

    /// The judge must name the invariant.
    #[track_caller]
    fn breaks(self, invariant: &str) {
        self.breaks_by(&RULES, invariant);
    }

    #[track_caller]
    fn breaks_by(self, rules: &Rules, invariant: &str) {
        let verdict = self.judge_by(rules);
        let named = verdict.violations.iter().any(|text| text.starts_with(invariant));
        assert!(named, "{invariant} was not named: {:?}", verdict.violations);
    }
}

fn done(attempt: u32, nonce: i64, started_at: i64, finished_at: i64) -> Standing {
    Standing {
        place: Place::Done,
        attempt,
        nonce,
        worker: WORKER,
        detail: code::COMPLETED,
        started_at,
        finished_at,
        failures: 0,
    }
}

fn standing(place: Place) -> Standing {
    Standing { place, ..done(1, 11, 1_000, 2_000) }
}

fn logged(attempt: u32, outcome: i64, started_at: i64, finished_at: i64) -> Logged {
    Logged { attempt, worker: WORKER, started_at, finished_at, outcome }
}

fn stalled(attempt: u32, started_at: i64, finished_at: i64) -> Logged {
    logged(attempt, code::STALLED, started_at, finished_at)
}

#[test]
fn finds_nothing_in_good_runs() {
    for (name, case) in [
        ("nothing at all", Case::empty()),
        ("good", Case::good()),
        ("killed once", Case::killed_once()),
    ] {
        let verdict = case.judge();
        assert_eq!(verdict.violations, Vec::<String>::new(), "{name}");
    }
    let verdict = Case::killed_once().judge();
    let figures = (verdict.extra_starts, verdict.repeats, verdict.stalled, verdict.completed);
    assert_eq!(figures, (1, 1, 1, 1));
    assert_eq!(verdict.rescue_ms.max, 2_901.0);
}

#[test]
fn j1_names_an_acknowledged_job_that_is_gone() {
    let mut case = Case::good();
    case.state.jobs.clear();
    case.breaks("J1");
}

#[test]
fn j1_names_a_job_that_stands_nowhere_twice_or_not_at_its_end() {
    for places in [
        vec![],
        vec![done(1, 11, 1, 2), standing(Place::Dead)],
        vec![standing(Place::Ready)],
        vec![standing(Place::Scheduled)],
        vec![standing(Place::Lease)],
    ] {
        let mut case = Case::good();
        case.found().places = places;
        case.breaks("J1");
    }
    let mut twice = Case::good();
    twice.found().records = 2;
    twice.breaks("J1");
}

#[test]
fn j1_names_a_job_that_ended_otherwise_than_its_handler_asked() {
    let mut dead = Case::good();
    dead.found().places = vec![standing(Place::Dead)];
    dead.breaks("J1");
    let mut cancelled = Case::good();
    cancelled.found().places[0].detail = 2;
    cancelled.breaks("J1");
    let mut completed = Case::good();
    completed.entries[0].attempt = END_DEAD;
    completed.breaks("J1");
}

#[test]
fn j2_names_what_nobody_sent() {
    let mut ran = Case::good();
    ran.entries.retain(|entry| entry.kind != Kind::Intent);
    ran.breaks("J2");
    let mut stored = Case::empty();
    stored.found().records = 1;
    stored.found().places.push(done(1, 11, 1, 2));
    stored.breaks("J2");
}

#[test]
fn j2_names_what_was_rolled_back_and_exists() {
    let mut case = Case::good();
    case.say(Kind::RolledBack, 0, 0, 30);
    case.breaks("J2");
}

#[test]
fn j3_names_a_second_accepted_completion() {
    let mut case = Case::killed_once();
    case.say(Kind::DoneOk, 1, 11, 9_000_000);
    case.breaks("J3");
}

#[test]
fn j3_names_an_accepted_completion_that_is_not_on_record() {
    let mut case = Case::killed_once();
    case.found().places[0].nonce = 99;
    case.breaks("J3");
    let mut waiting = Case::good();
    waiting.found().places = vec![standing(Place::Ready)];
    waiting.breaks("J3");
}

#[test]
fn j3_names_a_completion_by_an_attempt_before_the_last_claim() {
    let mut case = Case::good();
    case.say(Kind::Start, 2, 12, 5_000);
    case.breaks("J3");
}

#[test]
fn j3_names_a_completion_without_work_and_one_that_was_refused() {
    let mut idle = Case::good();
    idle.entries.retain(|entry| entry.kind != Kind::Effect);
    idle.breaks("J3");
    let mut refused = Case::good();
    refused.say(Kind::DoneLost, 1, 11, 3_500);
    refused.breaks("J3");
}

#[test]
fn j4_names_a_fence_that_began_twice_and_an_attempt_with_two_nonces() {
    let mut twice = Case::good();
    twice.say(Kind::Start, 1, 11, 1_500);
    twice.breaks("J4");
    let mut two = Case::good();
    two.say(Kind::Start, 1, 12, 1_500);
    two.breaks("J4");
}

#[test]
fn j4_names_attempts_that_overlap() {
    let mut case = Case::killed_once();
    case.found().places[0].started_at -= 100_000;
    case.breaks("J4");
}

#[test]
fn j4_names_a_lease_that_was_taken_away_too_early() {
    let mut case = Case::killed_once();
    case.found().log[0].finished_at = 1_000 + LEASE_US / 2;
    case.breaks("J4");
}

#[test]
fn j5_names_a_gap_in_the_attempts() {
    let mut gap = Case::killed_once();
    gap.found().log.clear();
    gap.breaks("J5");
    let mut again = Case::good();
    again.found().log.push(logged(1, code::SNOOZED, 1, 2));
    again.breaks("J5");
}

#[test]
fn j5_names_a_charge_for_what_was_no_failure() {
    let mut stall = Case::killed_once();
    stall.found().places[0].failures = 1;
    stall.breaks("J5");
    let mut released = Case::killed_once();
    released.found().log[0].outcome = code::RELEASED;
    released.found().places[0].failures = 1;
    released.breaks("J5");
}

#[test]
fn j5_names_a_failure_that_the_job_never_had() {
    let mut case = Case::killed_once();
    case.found().log[0].outcome = code::FAILED;
    case.found().places[0].failures = 1;
    case.breaks("J5");
}

#[test]
fn j5_names_a_failure_that_was_not_charged() {
    let mut case = Case::killed_once();
    case.found().log[0].outcome = code::FAILED;
    case.breaks("J5");
}

#[test]
fn j6_names_a_repeat_that_the_log_does_not_explain() {
    let mut case = Case::killed_once();
    case.found().log.clear();
    case.breaks("J6");
}

#[test]
fn j6_names_more_repeats_than_the_killed_could_hold() {
    let mut case = Case::killed_once();
    let killed = case.entries.iter_mut().find(|entry| entry.kind == Kind::Killed);
    killed.unwrap().nonce = 0;
    case.breaks("J6");
}

#[test]
fn j6_names_a_stall_of_a_process_that_nobody_touched() {
    let mut other = Case::killed_once();
    other.state.pids.insert(WORKER, PID + 1);
    other.breaks("J6");
    let mut unknown = Case::killed_once();
    unknown.state.pids.clear();
    unknown.breaks("J6");
    let mut fenced = Case::killed_once();
    fenced.state.pids.insert(WORKER, PID + 1);
    fenced.signal(Kind::SelfFenced, PID + 1, 1_000_000);
    assert_eq!(fenced.judge().violations, Vec::<String>::new(), "it said so itself");
}

#[test]
fn j7_names_a_tally_that_miscounts() {
    for event in
        [code::TALLY_ENQUEUED, code::TALLY_COMPLETED, code::TALLY_FAILED, code::TALLY_STALLED]
    {
        let mut case = Case::killed_once();
        case.count(event, 1);
        case.breaks("J7");
    }
}

#[test]
fn j11_names_a_counter_that_is_not_the_number_of_its_jobs_that_are_done() {
    let counted = |counter| {
        let mut case = Case::good();
        case.entries[0].attempt = END_COUNTED;
        case.state.counter = counter;
        case
    };
    assert!(counted(Some(1)).judge().is_clean());
    assert_eq!(counted(Some(1)).judge().counted, 1);
    for counter in [None, Some(0), Some(2)] {
        counted(counter).breaks("J11");
    }
    let mut lost = counted(Some(1));
    lost.found().places = vec![standing(Place::Dead)];
    lost.breaks("J11");
    let mut twice = counted(Some(1));
    twice.say(Kind::DoneOk, 1, 11, 3_100);
    twice.breaks("J11");
    // A job of another kind has nothing to do with it.
    let mut other = Case::good();
    other.state.counter = Some(0);
    assert!(other.judge().is_clean());
}

#[test]
fn who_gave_up_a_transaction_may_hear_later_that_it_was_in_time() {
    let mut case = Case::good();
    case.entries[0].attempt = END_COUNTED;
    case.state.counter = Some(1);
    case.say(Kind::DoneLost, 1, 11, 3_500);
    assert_eq!(case.judge().violations, Vec::<String>::new());
}

#[test]
fn t5_names_a_late_rescue() {
    let late = Rules { rescue_us_max: Some(2_900_000), ..RULES };
    Case::killed_once().breaks_by(&late, "T5");
}

#[test]
fn t3_names_a_handler_that_hears_late_or_never() {
    let mut in_time = Case::slept_once();
    in_time.say(Kind::CancelledSeen, 1, 11, 7_000_000);
    let verdict = in_time.judge();
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert_eq!(verdict.cancel_ms_max, 500.0);

    Case::slept_once().breaks("T3");
    let mut late = Case::slept_once();
    late.say(Kind::CancelledSeen, 1, 11, 7_600_000);
    late.breaks("T3");
}

#[test]
fn j4_names_a_handler_that_goes_on_beside_the_next_one() {
    // Its process lives and does not stand still.
    let overtaken = || {
        let mut case = Case::killed_once();
        case.entries.retain(|entry| entry.kind != Kind::Killed);
        case
    };
    let rules = Rules { only_the_killed_stall: false, ..RULES };
    let mut stopped_itself = overtaken();
    stopped_itself.say(Kind::CancelledSeen, 1, 11, 2_000_000);
    let named = stopped_itself.judge_by(&rules).violations;
    assert!(!named.iter().any(|text| text.contains("still ran beside")), "{named:?}");

    let mut late = overtaken();
    late.say(Kind::CancelledSeen, 1, 11, 9_000_000);
    let named = late.judge_by(&rules).violations;
    assert!(named.iter().any(|text| text.contains("still ran beside")), "{named:?}");
}

#[test]
fn names_a_damaged_file() {
    let mut case = Case::good();
    case.state.integrity = "row 1 missing from index".into();
    case.breaks("the file is damaged");
}

#[test]
fn counts_all_violations_and_writes_out_the_first() {
    let mut verdict = Verdict::default();
    for n in 0..100 {
        verdict.blame(format!("{n}"));
    }
    assert_eq!((verdict.violation_count, verdict.violations.len()), (100, super::SENTENCES_MAX));
}

#[test]
fn percentiles_are_of_the_sorted_values() {
    let us: Vec<i64> = (1..=200).rev().map(|n| n * 1000).collect();
    let expected = Percentiles { p50: 100.0, p99: 198.0, max: 200.0 };
    assert_eq!(Percentiles::of_us(us), expected);
    assert_eq!(Percentiles::of_us(Vec::new()), Percentiles::default());
}

#[test]
fn t17_names_work_that_comes_back_late_or_never() {
    let back = |up: i64| {
        let mut case = Case::good();
        case.signal(Kind::ServerDown, 0, up - 10);
        case.signal(Kind::ServerUp, 0, up);
        case
    };
    // The job is completed at 3,000.
    assert!(back(2_500).judge().is_clean());
    let verdict = back(2_500).judge();
    assert_eq!((verdict.outages, verdict.back_ms_max), (1, 0.5));
    back(-5_100_000).breaks("T17");
    back(3_001).breaks("T17");
}
