//! `enqueue`: what is acknowledged is stored as given, once for each id.

use std::time::Duration;

use crate::harness::*;

promises![
    stores_every_setting_as_given,
    answers_an_empty_batch_with_nothing,
    answers_in_the_order_of_the_batch,
    repeats_of_an_id_change_nothing,
    repeats_within_one_batch_change_nothing,
    an_id_that_ended_is_still_known,
    a_future_time_is_scheduled_and_a_past_one_is_due,
    a_delay_counts_from_the_stores_own_now,
    a_time_wins_over_a_delay,
    the_edges_of_time_are_kept,
    takes_a_thousand_jobs_at_once,
    a_large_batch_is_stored_as_its_jobs_are_one_by_one,
    a_large_batch_passes_over_what_is_there_already,
    takes_a_hundred_thousand_jobs_through_the_client,
];

async fn stores_every_setting_as_given(lab: Lab) -> Kept {
    let given = Record {
        job_type: name("send.mail:v2"),
        payload: br#"{"user": 7}"#.to_vec(),
        queue: name("mail"),
        priority: 1000,
        max_attempts: 1000,
        timeout: Duration::from_millis(1),
        correlation_id: Some("order 7".into()),
        trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        group: Some("tenant \u{1f600}".into()),
        unique_key: Some("mail:7".into()),
        tags: vec!["a".into(), "b, c".into(), "\"quoted\"".into()],
        delivery: Delivery::AtMostOnce,
        ..job()
    };
    let id = lab.put_one(given.clone()).await;
    let seen = lab.show(id).await;
    assert_eq!(seen.id, id);
    assert_eq!(seen.job_type, given.job_type);
    assert_eq!(seen.payload.as_ref().map(|p| p.get()), Some(r#"{"user": 7}"#));
    assert_eq!(seen.payload_bytes, given.payload.len());
    assert_eq!(seen.queue, given.queue);
    assert_eq!(seen.priority, given.priority);
    assert_eq!(seen.max_attempts, given.max_attempts);
    assert_eq!(seen.timeout_ms, 1);
    assert_eq!(Some(seen.correlation_id), given.correlation_id);
    assert_eq!(seen.trace_parent, given.trace_parent);
    assert_eq!(seen.group, given.group);
    assert_eq!(seen.unique_key, given.unique_key);
    assert_eq!(seen.tags, given.tags);
    assert_eq!(seen.delivery, given.delivery);
    assert_eq!(seen.state, State::Pending);
    assert_eq!((seen.created_at, seen.scheduled_for), (START, START));
    assert_eq!((seen.attempt, seen.failures, seen.crashes), (0, 0, 0));
    assert_eq!((seen.last_attempt_at, seen.finished_at, seen.last_error), (None, None, None));
    let plain = lab.put_one(job()).await;
    assert_eq!(lab.show(plain).await.correlation_id, plain.to_string(), "its own id by default");
    Ok(())
}

async fn answers_an_empty_batch_with_nothing(lab: Lab) -> Kept {
    assert_eq!(lab.store.enqueue(Vec::new()).await?, []);
    assert!(lab.store.list(Filter::default()).await?.jobs.is_empty());
    Ok(())
}

async fn answers_in_the_order_of_the_batch(lab: Lab) -> Kept {
    let known = lab.put_one(keyed("k")).await;
    let (new, twin) = (job(), keyed("k"));
    let new_id = new.id;
    let answers = lab.store.enqueue(vec![twin, new, Record { id: known, ..job() }]).await?;
    let seen: Vec<_> = answers.iter().map(|a| (a.id, a.outcome)).collect();
    let expected = [
        (known, EnqueueOutcome::Duplicate),
        (new_id, EnqueueOutcome::New),
        (known, EnqueueOutcome::Exists),
    ];
    assert_eq!(seen, expected);
    Ok(())
}

async fn repeats_of_an_id_change_nothing(lab: Lab) -> Kept {
    let first = Record { payload: b"1".to_vec(), ..job() };
    let id = lab.put_one(first.clone()).await;
    lab.pass(5);
    let other = Record { payload: b"22".to_vec(), queue: name("other"), priority: 1, ..first };
    let answer = lab.store.enqueue(vec![other]).await?[0];
    assert_eq!((answer.id, answer.outcome), (id, EnqueueOutcome::Exists));
    let seen = lab.show(id).await;
    assert_eq!((seen.payload_bytes, seen.priority, seen.created_at), (1, 10, START));
    assert_eq!(ids(&lab.claim(10).await), [id], "it stands in its queue once");
    assert_eq!(lab.store.stats().await?.totals.pending, 0);
    Ok(())
}

async fn repeats_within_one_batch_change_nothing(lab: Lab) -> Kept {
    let one = keyed("k");
    let answers = lab.store.enqueue(vec![one.clone(), one.clone(), one]).await?;
    let outcomes: Vec<_> = answers.iter().map(|a| a.outcome).collect();
    assert_eq!(outcomes, [EnqueueOutcome::New, EnqueueOutcome::Exists, EnqueueOutcome::Exists]);
    assert_eq!(lab.store.stats().await?.totals.pending, 1);
    Ok(())
}

async fn an_id_that_ended_is_still_known(lab: Lab) -> Kept {
    for state in [State::Completed, State::Dead, State::Cancelled] {
        let id = lab.in_state(state).await;
        let answer = lab.store.enqueue(vec![Record { id, ..job() }]).await?[0];
        assert_eq!(answer.outcome, EnqueueOutcome::Exists, "{state}");
        assert_eq!(lab.state(id).await, Some(state));
    }
    Ok(())
}

async fn a_future_time_is_scheduled_and_a_past_one_is_due(lab: Lab) -> Kept {
    let at = START.plus(Duration::from_micros(1));
    let later = lab.put_one(Record { scheduled_for: Some(at), ..job() }).await;
    let now = lab.put_one(Record { scheduled_for: Some(START), ..job() }).await;
    let past = START.minus(Duration::from_secs(3600));
    let before = lab.put_one(Record { scheduled_for: Some(past), ..job() }).await;
    let seen = lab.show(later).await;
    assert_eq!((seen.state, seen.scheduled_for), (State::Scheduled, at));
    assert_eq!(lab.state(now).await, Some(State::Pending));
    assert_eq!(lab.state(before).await, Some(State::Pending));
    let mut due = ids(&lab.claim(10).await);
    due.sort_unstable();
    assert_eq!(due, [now, before], "nothing runs before its time");
    Ok(())
}

async fn a_delay_counts_from_the_stores_own_now(lab: Lab) -> Kept {
    lab.pass(100);
    let id = lab.put_one(Record { delay: Duration::from_secs(5), ..job() }).await;
    let seen = lab.show(id).await;
    assert_eq!(seen.state, State::Scheduled);
    assert_eq!(seen.scheduled_for, START.plus(Duration::from_secs(105)));
    Ok(())
}

async fn a_time_wins_over_a_delay(lab: Lab) -> Kept {
    let at = START.plus(Duration::from_secs(60));
    let both = Record { scheduled_for: Some(at), delay: Duration::from_secs(5), ..job() };
    let id = lab.put_one(both).await;
    assert_eq!(lab.show(id).await.scheduled_for, at);
    Ok(())
}

async fn the_edges_of_time_are_kept(lab: Lab) -> Kept {
    let last = lab.put_one(Record { scheduled_for: Some(Timestamp::MAX), ..job() }).await;
    let never = lab.put_one(Record { delay: Duration::MAX, ..job() }).await;
    let first = lab.put_one(Record { scheduled_for: Some(Timestamp::from_us(0)), ..job() }).await;
    for id in [last, never] {
        let seen = lab.show(id).await;
        assert_eq!((seen.state, seen.scheduled_for), (State::Scheduled, Timestamp::MAX));
        assert_eq!(seen.scheduled_for.to_string(), "9999-12-31T23:59:59.999999Z");
    }
    assert_eq!(ids(&lab.claim(10).await), [first]);
    lab.clock.set(Timestamp::MAX);
    assert_eq!(lab.promote().await.moved, 2, "even the last time comes");
    assert_eq!(lab.claim(10).await.len(), 2);
    Ok(())
}

async fn takes_a_thousand_jobs_at_once(lab: Lab) -> Kept {
    let ids_given = lab.put(1000).await;
    assert_eq!(lab.store.stats().await?.totals.pending, 1000);
    assert_eq!(ids(&lab.claim(1000).await), ids_given, "in the order of the batch");
    Ok(())
}

async fn takes_a_hundred_thousand_jobs_through_the_client(lab: Lab) -> Kept {
    const JOBS: usize = 100_000;
    let jobs = (0..JOBS)
        .map(|n| dutiful::NewJob {
            job_type: "task".into(),
            payload: n.to_string().into_bytes(),
            settings: dutiful::Settings::default(),
        })
        .collect();
    let stored = lab.client.enqueue_many(jobs).await?;
    assert_eq!(stored.len(), JOBS);
    assert!(stored.iter().all(|s| s.outcome == EnqueueOutcome::New));
    assert!(stored.is_sorted_by_key(|s| s.id), "ids sort in the order of the call");
    assert_eq!(lab.store.stats().await?.totals.pending, JOBS as u64);
    for (n, at) in [(0, 0), (JOBS - 1, JOBS - 1), (54_321, 54_321)] {
        let seen = lab.show(stored[at].id).await;
        assert_eq!(seen.payload.map(|p| p.get().to_owned()), Some(n.to_string()));
    }
    Ok(())
}

/// Jobs of all kinds, so many that a store may have another way for them.
fn many() -> Vec<Record> {
    const HOUR: Duration = Duration::from_secs(3600);
    let kind = |n: usize| Record {
        payload: format!("{{\"n\": {n}}}").into_bytes(),
        queue: name(if n.is_multiple_of(2) { "default" } else { "other" }),
        priority: (n % 1001) as u16,
        delay: if n.is_multiple_of(5) { HOUR } else { Duration::ZERO },
        scheduled_for: match n % 7 {
            0 => Some(START.plus(HOUR * 2)),
            1 => Some(START.minus(HOUR)),
            _ => None,
        },
        correlation_id: n.is_multiple_of(3).then(|| format!("order {n}")),
        trace_parent: n.is_multiple_of(4).then(|| "00-0af7651916cd43dd-b7ad-01".into()),
        group: n.is_multiple_of(6).then(|| "tenant \u{1f600}".into()),
        tags: if n.is_multiple_of(8) { vec!["a".into(), "b, c".into()] } else { Vec::new() },
        delivery: match n % 9 {
            0 => Delivery::AtMostOnce,
            _ => Delivery::AtLeastOnce,
        },
        ..job()
    };
    (0..2600).map(kind).collect()
}

async fn a_large_batch_is_stored_as_its_jobs_are_one_by_one(lab: Lab) -> Kept {
    let together = many();
    let alone =
        || together.iter().step_by(97).map(|job| Record { id: JobId::new(), ..job.clone() });
    let alone: Vec<Record> = alone().collect();
    let ids = lab.put_all(together.clone()).await;
    for (id, twin) in ids.iter().step_by(97).zip(alone) {
        let twin = lab.put_one(twin).await;
        let (one, other) = (lab.show(*id).await, lab.show(twin).await);
        let same = |info: &JobInfo| {
            let own = info.correlation_id == info.id.to_string();
            let correlation = if own { String::new() } else { info.correlation_id.clone() };
            format!("{:?}", JobInfo { id: *id, correlation_id: correlation, ..info.clone() })
        };
        assert_eq!(same(&one), same(&other));
    }
    let totals = lab.store.stats().await?.totals;
    let scheduled = together.iter().filter(|job| match job.scheduled_for {
        Some(at) => at > START,
        None => !job.delay.is_zero(),
    });
    let twins = together.len().div_ceil(97) as u64;
    assert_eq!(totals.pending + totals.scheduled, together.len() as u64 + twins);
    assert!(totals.scheduled >= scheduled.count() as u64);
    Ok(())
}

async fn a_large_batch_passes_over_what_is_there_already(lab: Lab) -> Kept {
    let mut jobs: Vec<Record> = (0..1500).map(|_| job()).collect();
    let there = lab.put_one(jobs[700].clone()).await;
    jobs.push(jobs[3].clone());
    let answers = lab.store.enqueue(jobs.clone()).await?;
    for (at, (answer, job)) in answers.iter().zip(&jobs).enumerate() {
        let known = job.id == there || at == 1500;
        let wanted = if known { EnqueueOutcome::Exists } else { EnqueueOutcome::New };
        assert_eq!((answer.id, answer.outcome), (job.id, wanted), "{at}");
    }
    assert_eq!(lab.store.stats().await?.totals.pending, 1500, "each once");
    let again = lab.store.enqueue(jobs).await?;
    assert!(again.iter().all(|answer| answer.outcome == EnqueueOutcome::Exists));
    assert_eq!(lab.store.stats().await?.totals.pending, 1500);
    Ok(())
}
