//! The arithmetic of retries, over a million random policies and numbers of failures.

use std::time::Duration;

use dutiful::{RETRY_MAX, RETRY_MIN, Retry};

const ROUNDS: u32 = 1_000_000;

/// A wait of any size: none, a few ns, all that a `Duration` can be.
fn any_wait(rng: &mut fastrand::Rng) -> Duration {
    match rng.u8(0..6) {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        2 => Duration::from_nanos(rng.u64(0..1000)),
        3 => Duration::from_millis(rng.u64(0..100_000)),
        4 => Duration::from_secs(rng.u64(0..10_000_000)),
        _ => Duration::new(rng.u64(..), rng.u32(0..1_000_000_000)),
    }
}

/// A number of failures: mostly few, sometimes as many as there can be.
fn any_failures(rng: &mut fastrand::Rng) -> u32 {
    match rng.u8(0..4) {
        0 => rng.u32(0..5),
        1 => rng.u32(0..100),
        2 => rng.u32(u32::MAX - 5..),
        _ => rng.u32(..),
    }
}

fn any_luck(rng: &mut fastrand::Rng) -> f64 {
    const ODD: [f64; 8] = [0.0, 1.0, -0.0, -1.0, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    if rng.bool() { rng.f64() } else { ODD[rng.usize(..ODD.len())] }
}

/// A policy, with its floor and its cap.
struct Policy {
    retry: Retry,
    floor: Duration,
    cap: Duration,
    is_custom: bool,
}

fn any_policy(rng: &mut fastrand::Rng) -> Policy {
    fn wild(n: u32) -> Duration {
        [Duration::MAX, Duration::ZERO, Duration::from_secs(7)][n as usize % 3]
    }
    let kind = rng.u8(0..4);
    let mut retry = match kind {
        0 => Retry::exponential(any_wait(rng)),
        1 => Retry::linear(any_wait(rng)),
        2 => Retry::fixed(any_wait(rng)),
        _ => Retry::custom(wild),
    };
    let (mut min, mut max) = (RETRY_MIN, RETRY_MAX);
    if rng.bool() {
        min = any_wait(rng);
        retry = retry.min(min);
    }
    if rng.bool() {
        max = any_wait(rng);
        retry = retry.max(max);
    }
    let cap = max.min(RETRY_MAX);
    Policy { retry, floor: min.min(cap), cap, is_custom: kind == 3 }
}

#[test]
fn no_wait_leaves_its_bounds_or_shrinks_with_the_failures() {
    let mut rng = fastrand::Rng::with_seed(35);
    for round in 0..ROUNDS {
        let policy = any_policy(&mut rng);
        let (n, luck) = (any_failures(&mut rng), any_luck(&mut rng));
        let bounds = policy.floor..=policy.cap;
        let (plain, jittered) = (policy.retry.without_jitter(), policy.retry.with_jitter());
        let (full, wait) = (plain.wait(n, luck), jittered.wait(n, luck));
        assert!(bounds.contains(&full), "{round}: {full:?} of {plain:?} after {n}");
        assert!(bounds.contains(&wait) && wait <= full, "{round}: {wait:?} of {jittered:?}");
        let asked_for_none = policy.floor.is_zero();
        assert!(asked_for_none || !wait.is_zero(), "{round}: none of {jittered:?} after {n}");
        let more = n.saturating_add(rng.u32(0..40));
        if !policy.is_custom {
            let later = plain.wait(more, luck);
            assert!(
                later >= full,
                "{round}: {later:?} after {more}, {full:?} after {n}: {plain:?}"
            );
            assert!(jittered.wait(more, 0.7) >= jittered.wait(n, 0.7), "{round}: {jittered:?}");
        }
    }
}

#[test]
fn waits_are_what_the_policy_says_until_the_cap() {
    let secs = Duration::from_secs;
    let (twice, more) = (Retry::exponential(secs(15)), Retry::linear(secs(15)));
    for n in 1..=u32::MAX.ilog2() * 3 {
        let power = 15_u128.checked_shl(n - 1).unwrap_or(u128::MAX).min(86_400);
        assert_eq!(u128::from(twice.without_jitter().wait(n, 0.0).as_secs()), power, "{n}");
        let sum = (15 * u64::from(n)).min(86_400);
        assert_eq!(more.without_jitter().wait(n, 0.0), secs(sum), "{n}");
    }
    let half = Retry::exponential(secs(100)).wait(1, 0.5);
    assert_eq!(half, secs(50), "jitter takes a part of the wait");
    assert_eq!(Retry::DEFAULT.wait(1, 0.0), RETRY_MIN, "and never goes below the floor");
}
