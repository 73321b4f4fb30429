//! Each rule over numbers that are written down, with time as an input: when it begins to wait,
//! when it fires, and when it is over.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use super::baseline::{Baselines, Minute};
use super::evaluate::{Record, State, When, evaluate};
use super::judge::View;
use super::rules::{Rule, RuleSet, Severity};
use super::sample::{Line, Ring, Sample, Trouble};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const WINDOW: i64 = 5 * MINUTE;
const SETTLE: i64 = MINUTE;

/// A queue `mail`, looked at every ten seconds.
#[derive(Default)]
struct Scene {
    now: i64,
    line: Line,
    troubles: Vec<Trouble>,
    silent: bool,
    ring: Ring,
    baselines: Baselines,
    rules: RuleSet,
    alerts: BTreeMap<String, Record>,
    /// How often something became firing or resolved.
    told: Vec<(String, State)>,
}

impl Scene {
    fn set(rules: &str) -> Self {
        let kept = serde_json::from_str(rules).unwrap();
        Self { rules: RuleSet { kept, ..RuleSet::default() }, ..Self::default() }
    }

    fn look(&mut self) {
        self.now += 10 * SECOND;
        let sample = match self.silent {
            true => Sample::silent(self.now, "the store did not answer within 5s"),
            false => Sample {
                at: self.now,
                answers: true,
                whole: true,
                queues: BTreeMap::from([("mail".to_owned(), self.line.clone())]),
                troubles: self.troubles.clone(),
            },
        };
        self.ring.push(sample, WINDOW);
        self.evaluate(true);
    }

    fn evaluate(&mut self, seamless: bool) {
        let view = View { ring: &self.ring, baselines: &self.baselines, window_ms: WINDOW };
        let when = When { now: self.now, settle_ms: SETTLE, seamless };
        self.alerts = evaluate(&self.rules, &view, &self.alerts, when);
        for (id, record) in &mut self.alerts {
            if !std::mem::replace(&mut record.told, true) {
                self.told.push((id.clone(), record.state));
            }
        }
    }

    /// Looks for so long, and changes the numbers before each look.
    fn go_on(&mut self, ms: i64, mut change: impl FnMut(&mut Line)) {
        let end = self.now + ms;
        while self.now < end {
            change(&mut self.line);
            self.look();
        }
    }

    fn still(&mut self, ms: i64) {
        self.go_on(ms, |_| {});
    }

    fn state(&self, rule: Rule) -> Option<State> {
        self.alerts.values().find(|one| one.rule == rule).map(|one| one.state)
    }

    fn alert(&self, rule: Rule) -> &Record {
        self.alerts.values().find(|one| one.rule == rule).unwrap()
    }
}

#[test]
fn depth_fires_when_it_is_large_and_grows_and_resolves_when_it_shrinks() {
    let line = Line { pending: 9000, workers: 1, slots: 1000, ..Line::default() };
    let mut scene = Scene { line, ..Scene::default() };
    scene.go_on(MINUTE, |line| line.pending += 100);
    assert_eq!(scene.state(Rule::Depth), None, "9600 is no more than the threshold");
    scene.go_on(50 * SECOND, |line| line.pending += 100);
    assert_eq!(scene.state(Rule::Depth), Some(State::Pending));
    scene.go_on(2 * MINUTE, |line| line.pending += 100);
    assert_eq!(scene.state(Rule::Depth), Some(State::Firing));
    let alert = scene.alert(Rule::Depth);
    assert!(alert.summary.contains("more than"), "{}", alert.summary);
    assert_eq!(alert.value, scene.line.pending as f64);
    // It stays as large, and does not grow: the window has to pass, then it has to be gone.
    scene.still(WINDOW - 20 * SECOND);
    assert_eq!(scene.state(Rule::Depth), Some(State::Firing));
    scene.still(SETTLE + 20 * SECOND);
    assert_eq!(scene.state(Rule::Depth), Some(State::Resolved));
    let told = [State::Firing, State::Resolved].map(|state| ("depth:mail".to_owned(), state));
    assert_eq!(scene.told, told, "each is told once");
}

#[test]
fn the_rate_is_compared_with_what_is_usual_while_jobs_wait() {
    let minute = |at| Minute { at, completed: 60, ..Minute::default() };
    let history = BTreeMap::from([("mail".to_owned(), (0..200).map(minute).collect())]);
    let mut scene = Scene { baselines: Baselines::of(history, 5), ..Scene::default() };
    scene.line = Line { pending: 5, workers: 1, slots: 1000, ..Line::default() };
    // 10 in 10 s is the usual; 4 are less than half of it.
    scene.go_on(WINDOW, |line| line.completed += 10);
    scene.go_on(2 * MINUTE, |line| line.completed += 4);
    assert_eq!(scene.state(Rule::Rate), None, "over the whole window it is more than half yet");
    scene.go_on(8 * MINUTE, |line| line.completed += 4);
    assert_eq!(scene.state(Rule::Rate), Some(State::Firing));
    let alert = scene.alert(Rule::Rate);
    assert!(alert.summary.contains("24 a minute, 40 % of its usual 60"), "{}", alert.summary);
    scene.go_on(8 * MINUTE, |line| line.completed += 10);
    assert_eq!(scene.state(Rule::Rate), Some(State::Resolved));
    let mut idle = Scene { baselines: scene.baselines, ..Scene::default() };
    idle.line = Line { workers: 1, slots: 1000, ..Line::default() };
    let mut n = 0;
    idle.go_on(20 * MINUTE, |line| {
        n += 1;
        line.pending = n % 2;
    });
    assert_eq!(idle.state(Rule::Rate), None, "a queue without work is not slow");
}

#[test]
fn too_many_failures_fire_once_there_are_enough_attempts() {
    let mut scene = Scene::default();
    scene.line.workers = 1;
    scene.look();
    scene.go_on(MINUTE, |line| line.failed += 3);
    assert_eq!(scene.state(Rule::ErrorRate), None, "18 attempts say nothing");
    scene.go_on(80 * SECOND, |line| line.failed += 3);
    assert_eq!(scene.state(Rule::ErrorRate), Some(State::Firing));
    assert_eq!(scene.alert(Rule::ErrorRate).value, 100.0);
    scene.go_on(WINDOW + SETTLE + MINUTE, |line| line.completed += 50);
    assert_eq!(scene.state(Rule::ErrorRate), Some(State::Resolved));
}

#[test]
fn dead_jobs_fire_until_a_person_acts_and_again_when_more_die() {
    let mut scene = Scene::default();
    scene.still(MINUTE);
    (scene.line.dead, scene.line.died) = (2, 7);
    scene.look();
    assert_eq!(scene.state(Rule::Dead), Some(State::Firing));
    scene.still(MINUTE);
    (scene.line.dead, scene.line.died) = (3, 8);
    scene.look();
    assert_eq!(scene.told.len(), 1, "one more is the same alert");
    let now = scene.now;
    assert!(scene.alerts.get_mut("dead:mail").unwrap().acknowledge("ann", now));
    scene.still(30 * 60 * MINUTE);
    let alert = scene.alert(Rule::Dead);
    assert_eq!(alert.state, State::Resolved, "they are ann's, though they are there still");
    assert_eq!(alert.acknowledged.as_ref().unwrap().by, "ann");
    assert_eq!(scene.told.len(), 2);
    // One is retried and dies again: as many as before, and yet it is new.
    (scene.line.dead, scene.line.died) = (3, 9);
    scene.look();
    let alert = scene.alert(Rule::Dead);
    assert_eq!((alert.state, alert.acknowledged.as_ref()), (State::Firing, None));
    assert!(alert.summary.ends_with("1 died since it was acknowledged"), "{}", alert.summary);
    assert_eq!(scene.told.len(), 3);
    scene.line.dead = 0;
    scene.still(SETTLE + 10 * SECOND);
    assert_eq!(scene.state(Rule::Dead), Some(State::Resolved));
    scene.still(25 * 60 * MINUTE);
    assert_eq!(scene.state(Rule::Dead), None, "and is forgotten after a day");
}

#[test]
fn latency_is_that_of_the_oldest_or_of_those_that_started() {
    let line = Line { pending: 1, oldest_s: 0.0, workers: 1, slots: 9, ..Line::default() };
    let mut scene = Scene { line, ..Scene::default() };
    scene.go_on(30 * SECOND, |line| line.oldest_s += 10.0);
    assert_eq!(scene.state(Rule::Latency), None);
    scene.go_on(2 * MINUTE, |line| line.oldest_s += 10.0);
    assert_eq!(scene.state(Rule::Latency), Some(State::Pending));
    scene.go_on(10 * SECOND, |line| line.oldest_s += 10.0);
    let alert = scene.alert(Rule::Latency);
    assert_eq!((alert.state, alert.severity), (State::Firing, Severity::Critical));
    assert!(alert.summary.contains("2 min 40 s (threshold 30 s)"), "{}", alert.summary);
    (scene.line.pending, scene.line.oldest_s) = (0, 0.0);
    scene.still(WINDOW);
    assert_eq!(scene.state(Rule::Latency), Some(State::Resolved));
    scene.go_on(4 * MINUTE, |line| line.waited[13] += 2);
    assert_eq!(scene.state(Rule::Latency), Some(State::Firing), "48 waited for up to a minute");
    scene.still(WINDOW + SETTLE + 20 * SECOND);
    assert_eq!(scene.state(Rule::Latency), Some(State::Resolved));
}

#[test]
fn durations_are_compared_with_what_is_usual() {
    let mut minute = Minute::default();
    minute.ran[6] = 500; // 100 to 250 ms
    let history = BTreeMap::from([("mail".to_owned(), vec![minute])]);
    let mut scene = Scene { baselines: Baselines::of(history, 5), ..Scene::default() };
    let both = |line: &mut Line| (line.ran[6] += 6, line.ran[7] += 3); // and 250 to 500 ms
    scene.go_on(10 * MINUTE, |line| _ = both(line));
    assert_eq!(scene.state(Rule::Duration), None, "not twice as long");
    scene.go_on(12 * MINUTE, |line| line.ran[9] += 30); // 1 to 2.5 s
    assert_eq!(scene.state(Rule::Duration), Some(State::Firing));
    scene.go_on(WINDOW + SETTLE + MINUTE, |line| line.ran[6] += 30);
    assert_eq!(scene.state(Rule::Duration), Some(State::Resolved));
    let mut new = Scene::default();
    new.go_on(20 * MINUTE, |line| line.ran[12] += 30);
    assert_eq!(new.state(Rule::Duration), None, "without a history nothing is unusual");
}

#[test]
fn utilization_fires_after_ten_minutes_of_full_slots() {
    let line = Line { active: 10, slots: 10, workers: 1, ..Line::default() };
    let mut scene = Scene { line, ..Scene::default() };
    scene.still(10 * MINUTE);
    assert_eq!(scene.state(Rule::Utilization), Some(State::Pending));
    scene.look();
    assert_eq!(scene.state(Rule::Utilization), Some(State::Firing));
    scene.line.active = 9;
    scene.still(SETTLE + 10 * SECOND);
    assert_eq!(scene.state(Rule::Utilization), Some(State::Resolved), "90 % is not over 90 %");
    scene.line.active = 10;
    scene.still(9 * MINUTE);
    scene.line.active = 1;
    scene.look();
    assert_eq!(scene.state(Rule::Utilization), None, "what was pending goes at once");
}

#[test]
fn a_stall_fires_for_the_length_of_the_window() {
    let mut scene = Scene::default();
    scene.still(MINUTE);
    scene.line.stalled_now = 1;
    scene.look();
    assert_eq!(scene.state(Rule::Stalled), Some(State::Firing));
    (scene.line.stalled_now, scene.line.stalled) = (0, 1);
    scene.still(WINDOW - 20 * SECOND);
    assert_eq!((scene.state(Rule::Stalled), scene.told.len()), (Some(State::Firing), 1));
    scene.still(SETTLE + 40 * SECOND);
    assert_eq!(scene.state(Rule::Stalled), Some(State::Resolved));
}

#[test]
fn a_store_that_is_away_fires_and_leaves_the_others_as_they_are() {
    let mut scene = Scene::default();
    scene.line.dead = 1;
    scene.still(MINUTE);
    scene.silent = true;
    scene.still(20 * SECOND);
    assert_eq!(scene.state(Rule::Store), Some(State::Pending));
    scene.still(10 * MINUTE);
    assert_eq!(scene.state(Rule::Store), Some(State::Firing));
    assert!(scene.alert(Rule::Store).summary.contains("did not answer"));
    assert_eq!(scene.state(Rule::Dead), Some(State::Firing), "nobody knows of its end");
    scene.silent = false;
    scene.still(SETTLE + 10 * SECOND);
    assert_eq!(scene.state(Rule::Store), Some(State::Resolved));
}

#[test]
fn what_the_store_says_of_itself_is_a_warning_until_it_is_bad() {
    let mut scene = Scene::default();
    let said = |text: &str, bad| Trouble { text: text.into(), advice: None, bad };
    scene.troubles = vec![said("fsync is off", false)];
    scene.still(MINUTE);
    let alert = scene.alert(Rule::Store);
    assert_eq!((alert.state, alert.severity), (State::Firing, Severity::Warning));
    scene.troubles.push(said("the disk is full", true));
    scene.look();
    let alert = scene.alert(Rule::Store);
    assert_eq!((alert.severity, alert.value), (Severity::Critical, 2.0));
    assert!(alert.summary.contains("the disk is full (and 1 more)"), "{}", alert.summary);
    assert_eq!(scene.told.len(), 2, "that it got worse is told");
}

#[test]
fn jobs_that_no_worker_serves_fire_unless_the_queue_is_paused() {
    let mut scene = Scene::default();
    scene.line.pending = 3;
    scene.still(70 * SECOND);
    assert_eq!(scene.state(Rule::NoWorkers), Some(State::Firing));
    scene.line.workers = 1;
    scene.still(SETTLE + 10 * SECOND);
    assert_eq!(scene.state(Rule::NoWorkers), Some(State::Resolved));
    let mut paused = Scene::default();
    (paused.line.pending, paused.line.paused) = (3, true);
    paused.still(5 * MINUTE);
    assert_eq!(paused.state(Rule::NoWorkers), None);
}

#[test]
fn scheduled_jobs_that_nobody_moves_on_are_overdue() {
    let mut scene = Scene::default();
    scene.line.overdue_s = 0.4;
    scene.still(10 * MINUTE);
    assert_eq!(scene.state(Rule::Overdue), None, "it is moved as soon as somebody can");
    scene.line.overdue_s = 31.0;
    scene.look();
    assert_eq!(scene.state(Rule::Overdue), Some(State::Pending));
    scene.go_on(30 * SECOND, |line| line.overdue_s += 10.0);
    assert_eq!(scene.state(Rule::Overdue), Some(State::Firing));
    let alert = scene.alert(Rule::Overdue);
    assert!(alert.summary.contains("nobody moves them on"), "{}", alert.summary);
    let fired = alert.since;
    scene.line.overdue_s = 0.0;
    scene.still(SETTLE + 20 * SECOND);
    assert_eq!(scene.state(Rule::Overdue), Some(State::Resolved));
    let over = scene.alert(Rule::Overdue);
    assert!(over.fired == Some(fired) && over.since > fired, "it is known when it fired");
}

#[test]
fn a_condition_that_comes_and_goes_does_not_flap() {
    let mut scene = Scene::set(r#"{"rules":{"utilization":{"for_s":0}}}"#);
    scene.line = Line { slots: 10, workers: 1, ..Line::default() };
    let mut n = 0;
    scene.go_on(30 * MINUTE, |line| {
        n += 1;
        line.active = if n % 5 == 0 { 0 } else { 10 };
    });
    assert_eq!(scene.told, [("utilization:mail".to_owned(), State::Firing)]);
}

#[test]
fn thresholds_are_those_of_the_queue_and_what_is_off_is_over() {
    let mut scene = Scene::set(
        r#"{"rules":{"dead":{"threshold":5}},"queues":{"mail":{"dead":{"threshold":1}}}}"#,
    );
    scene.line.dead = 1;
    scene.look();
    assert_eq!(scene.state(Rule::Dead), None);
    scene.line.dead = 2;
    scene.look();
    assert_eq!(scene.state(Rule::Dead), Some(State::Firing));
    assert_eq!(scene.alert(Rule::Dead).threshold, 1.0);
    let off = serde_json::from_str(r#"{"queues":{"mail":{"dead":{"enabled":false}}}}"#);
    scene.rules.kept = off.unwrap();
    scene.look();
    assert_eq!(scene.state(Rule::Dead), Some(State::Resolved), "at once");
}

#[test]
fn a_new_evaluator_neither_ends_what_it_cannot_see_nor_counts_time_in_which_nobody_looked() {
    let mut scene = Scene::default();
    scene.look();
    scene.line.stalled = 1;
    scene.line.oldest_s = 40.0;
    scene.line.pending = 1;
    scene.line.workers = 1;
    scene.look();
    assert_eq!(scene.state(Rule::Stalled), Some(State::Firing));
    assert_eq!(scene.state(Rule::Latency), Some(State::Pending));
    scene.ring.clear();
    scene.now += 60 * MINUTE;
    let line = scene.line.clone();
    let queues = BTreeMap::from([("mail".to_owned(), line)]);
    let sample = Sample { at: scene.now, answers: true, whole: true, queues, troubles: Vec::new() };
    scene.ring.push(sample, WINDOW);
    scene.evaluate(false);
    assert_eq!(scene.state(Rule::Latency), Some(State::Pending), "it begins anew");
    scene.still(2 * MINUTE);
    assert_eq!(scene.state(Rule::Latency), Some(State::Firing));
    assert_eq!(scene.state(Rule::Stalled), Some(State::Firing), "its window is not known yet");
    scene.still(WINDOW + SETTLE);
    assert_eq!(scene.state(Rule::Stalled), Some(State::Resolved));
}
