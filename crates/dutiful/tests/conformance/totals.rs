//! `totals`: what was counted by queue and type, exactly, whoever did it and whatever is folded.

use std::collections::BTreeMap;
use std::time::Duration;

use dutiful::{ERROR_CLASS_OTHER, ERROR_CLASSES_MAX, TypeTotals};

use crate::harness::*;

promises![
    a_store_in_which_nothing_happened_has_none,
    every_event_is_counted_once_under_its_queue_and_type,
    times_fall_into_their_buckets_and_add_up,
    a_fold_changes_no_number,
    what_left_the_record_stays_counted,
    failures_are_counted_by_their_class,
    whatever_ends_an_attempt_the_classes_add_up_to_the_failures,
    of_sixty_classes_fifty_have_a_number_and_the_rest_is_other,
    a_class_that_has_a_number_keeps_it,
    strange_classes_are_counted_and_long_ones_cut,
];

/// Adds up what was counted of all queues: most attempts of the lab have one of their own.
async fn all(lab: &Lab) -> Result<TypeTotals, StoreError> {
    let totals = lab.store.totals().await?;
    let mut sum = totals.first().cloned().expect("something was counted");
    totals[1..].iter().for_each(|one| sum.add(one));
    Ok(sum)
}

async fn a_store_in_which_nothing_happened_has_none(lab: Lab) -> Kept {
    assert_eq!(lab.store.totals().await?, []);
    Ok(())
}

async fn every_event_is_counted_once_under_its_queue_and_type(lab: Lab) -> Kept {
    for state in State::ALL {
        lab.in_state(state).await;
    }
    for end in [End::Snoozed(Duration::from_secs(60)), End::Released] {
        let active = lab.active().await;
        assert_eq!(lab.end(&active, end).await, Held::Yes);
    }
    let other = Record { queue: name("other"), job_type: name("other"), ..job() };
    lab.store.enqueue(vec![other.clone(), other]).await?;
    let totals = lab.store.totals().await?;
    let other = totals.iter().find(|one| one.queue.as_str() == "other").expect("counted");
    assert_eq!((other.job_type.as_str(), other.enqueued), ("other", 1), "a repeat is none");
    let done = totals.iter().filter(|one| one.completed > 0).collect::<Vec<_>>();
    assert_eq!((done.len(), done[0].enqueued, done[0].failed), (1, 1, 0), "{done:?}");
    let one = all(&lab).await?;
    assert_eq!(one.enqueued, State::ALL.len() as u64 + 3);
    assert_eq!((one.completed, one.failed, one.dead, one.cancelled), (1, 2, 1, 1));
    assert_eq!((one.snoozed, one.released, one.stalled), (1, 1, 0));
    lab.pass(31);
    lab.rescue(0).await;
    let rescued = lab.store.stats().await?.totals.stalled_total;
    assert_eq!(all(&lab).await?.stalled, rescued);
    assert!(rescued > 0);
    Ok(())
}

async fn times_fall_into_their_buckets_and_add_up(lab: Lab) -> Kept {
    let runs = [(1, 0), (2, 7), (2, 400_000), (300_001, 1)];
    for (ran, waited) in runs {
        let active = lab.active().await;
        let end = Finish {
            ran: Duration::from_millis(ran),
            waited: Duration::from_millis(waited),
            ..active.unstarted(End::Completed(None))
        };
        assert_eq!(lab.store.finish(lab.worker, vec![end]).await?, [Held::Yes]);
    }
    for folded in [false, true] {
        let sum = all(&lab).await?;
        let (ran, waited) = (sum.ran, sum.waited);
        assert_eq!((ran.count(), ran.sum), (4, Duration::from_millis(300_006)), "{folded}");
        assert_eq!((ran.buckets[0], ran.buckets[1], ran.buckets[15]), (1, 2, 1), "{folded}");
        assert_eq!(waited.sum, Duration::from_millis(400_008), "{folded}");
        assert_eq!((waited.buckets[0], waited.buckets[2], waited.buckets[15]), (2, 1, 1));
        let term = lab.term().await;
        lab.store.fold(term).await?;
    }
    assert_eq!(dutiful::SPREAD_MS[..2], [1, 5]);
    Ok(())
}

async fn a_fold_changes_no_number(lab: Lab) -> Kept {
    for state in [State::Completed, State::Failed, State::Dead, State::Completed] {
        lab.in_state(state).await;
    }
    let before = lab.store.totals().await?;
    let term = lab.term().await;
    assert!(lab.store.fold(term).await? > 0);
    assert_eq!(lab.store.totals().await?, before);
    lab.in_state(State::Completed).await;
    let completed = |totals: &[TypeTotals]| totals.iter().map(|one| one.completed).sum::<u64>();
    assert_eq!(completed(&lab.store.totals().await?), completed(&before) + 1);
    Ok(())
}

async fn what_left_the_record_stays_counted(lab: Lab) -> Kept {
    let id = lab.in_state(State::Completed).await;
    lab.store.delete(vec![id]).await?;
    let totals = lab.store.totals().await?;
    assert_eq!((totals[0].enqueued, totals[0].completed), (1, 1));
    Ok(())
}

/// How an attempt ends that fails with this class, to be tried again.
fn failed(class: &str) -> End {
    let failure = Failure { class: class.into(), message: "it broke".into() };
    End::Failed(failure, Duration::from_secs(60))
}

/// Fails a new job of the queue `many` with each of these classes, all in one batch.
async fn fail_with(lab: &Lab, classes: &[&str]) {
    let queue = name("many");
    let jobs = classes.iter().map(|_| Record { queue: queue.clone(), ..job() }).collect();
    lab.put_all(jobs).await;
    let claimed = lab.claim_all("many").await;
    let end = |(one, class): (&Claimed, &&str)| one.unstarted(failed(class));
    let ends: Vec<_> = claimed.iter().zip(classes).map(end).collect();
    let held = lab.store.finish(lab.worker, ends).await.expect("the finish is answered");
    assert!(held.iter().all(|one| *one == Held::Yes));
}

/// The failures by class of all queues; they must add up, whether they are folded or not.
async fn classes(lab: &Lab) -> BTreeMap<String, u64> {
    let before = lab.store.totals().await.expect("the look is answered");
    let term = lab.term().await;
    while lab.store.fold(term).await.expect("the leader may fold") > 0 {}
    assert_eq!(lab.store.totals().await.expect("the look is answered"), before);
    let mut sum = before[0].clone();
    before[1..].iter().for_each(|one| sum.add(one));
    for one in before.iter().chain([&sum]) {
        assert_eq!(one.error_classes.values().sum::<u64>(), one.failed, "{one:?}");
    }
    sum.error_classes
}

/// Counts the rows that the store keeps of classes; `None` where nobody else can look.
async fn kept_classes(lab: &Lab) -> Option<i64> {
    if let Some(path) = lab.path() {
        let raw = rusqlite::Connection::open(path).expect("it opens");
        let count = "SELECT count(*) FROM dutiful_failure_total";
        return Some(raw.query_row(count, [], |row| row.get(0)).expect("they are counted"));
    }
    let (url, schema) = lab.server()?;
    let (raw, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("it connects");
    tokio::spawn(connection);
    let count = format!("SELECT count(*) FROM {schema}.failure_total");
    Some(raw.query_one(&count, &[]).await.expect("they are counted").get(0))
}

fn numbers<const N: usize>(classes: [(&str, u64); N]) -> BTreeMap<String, u64> {
    classes.into_iter().map(|(class, n)| (class.to_owned(), n)).collect()
}

async fn failures_are_counted_by_their_class(lab: Lab) -> Kept {
    fail_with(&lab, &["Smtp", "exit 3", "Smtp", "panic"]).await;
    assert_eq!(classes(&lab).await, numbers([("Smtp", 2), ("exit 3", 1), ("panic", 1)]));
    fail_with(&lab, &["Smtp", "timeout"]).await;
    let dead = lab.active().await;
    let smtp = Failure { class: "Smtp".into(), message: String::new() };
    lab.end(&dead, End::Dead(smtp, DeadReason::Discarded)).await;
    let all = numbers([("Smtp", 4), ("exit 3", 1), ("panic", 1), ("timeout", 1)]);
    assert_eq!(classes(&lab).await, all);
    let totals = lab.store.totals().await?;
    let of = |queue: &str| totals.iter().find(|one| one.queue.as_str() == queue);
    let many = of("many").map(|one| one.error_classes["Smtp"]);
    assert_eq!(many, Some(3), "each queue and type has its own");
    Ok(())
}

async fn whatever_ends_an_attempt_the_classes_add_up_to_the_failures(lab: Lab) -> Kept {
    let once = || Record { delivery: Delivery::AtMostOnce, ..job() };
    for state in State::ALL {
        lab.in_state(state).await;
    }
    for end in [
        End::Snoozed(Duration::ZERO),
        End::Released,
        End::Cancelled,
        failed("late"),
        End::Dead(oops(), DeadReason::Exhausted),
    ] {
        for job in [job(), once()] {
            let unheard = job.delivery == Delivery::AtMostOnce && end == End::Released;
            let active = lab.active_with(job).await;
            assert_eq!(lab.end(&active, end.clone()).await, Held::Yes);
            if !unheard {
                assert_eq!(lab.end(&active, failed("again")).await, Held::Lost);
            }
        }
    }
    let asked = lab.active().await;
    lab.store.cancel(vec![asked.fence.id]).await?;
    lab.end(&asked, failed("cancelled meanwhile")).await;
    lab.pass(31);
    assert!(!lab.rescue(1).await.is_empty(), "a crash is no failed attempt");
    let expected = numbers([("Oops", 4), ("cancelled meanwhile", 1), ("late", 2)]);
    assert_eq!(classes(&lab).await, expected);
    Ok(())
}

async fn of_sixty_classes_fifty_have_a_number_and_the_rest_is_other(lab: Lab) -> Kept {
    let sixty: Vec<_> = (0..60).map(|n| format!("exit {n}")).collect();
    fail_with(&lab, &sixty.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let found = classes(&lab).await;
    assert_eq!((found.len(), found[ERROR_CLASS_OTHER]), (ERROR_CLASSES_MAX + 1, 10));
    fail_with(&lab, &["new"]).await;
    let after = classes(&lab).await;
    assert_eq!((after.len(), after[ERROR_CLASS_OTHER]), (ERROR_CLASSES_MAX + 1, 11));
    if let Some(rows) = kept_classes(&lab).await {
        assert_eq!(rows, ERROR_CLASSES_MAX as i64 + 1, "no more are kept than are told");
    }
    let other = lab.active().await;
    lab.end(&other, failed("new")).await;
    let totals = lab.store.totals().await?;
    let own = totals.iter().find(|one| one.queue == other.queue).expect("it is counted");
    assert_eq!(own.error_classes, numbers([("new", 1)]), "another queue has its own fifty");
    Ok(())
}

async fn a_class_that_has_a_number_keeps_it(lab: Lab) -> Kept {
    fail_with(&lab, &["first"]).await;
    classes(&lab).await;
    let sixty: Vec<_> = (0..60).flat_map(|n| [format!("exit {n}"), format!("exit {n}")]).collect();
    fail_with(&lab, &sixty.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fail_with(&lab, &["first", ERROR_CLASS_OTHER]).await;
    let found = classes(&lab).await;
    assert_eq!(found["first"], 2, "more frequent ones do not take its place");
    assert_eq!((found.len(), found[ERROR_CLASS_OTHER]), (ERROR_CLASSES_MAX + 1, 2 * 11 + 1));
    Ok(())
}

async fn strange_classes_are_counted_and_long_ones_cut(lab: Lab) -> Kept {
    let long = "é".repeat(2000);
    let strange = ["", "a\"b\\\nc", "🦀", "\u{1}\u{1b}[31m\u{7f}", "'; DROP TABLE x; --", &long];
    fail_with(&lab, &strange).await;
    let mut expected: BTreeMap<_, _> =
        strange[..5].iter().map(|class| ((*class).to_owned(), 1)).collect();
    expected.insert("é".repeat(64), 1);
    assert_eq!(classes(&lab).await, expected);
    Ok(())
}
