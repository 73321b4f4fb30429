//! What people ask of jobs and queues, cut off: who asks again hears where the job stands now.

use std::time::Duration;

use super::lab::event::{CANCELLED, ENQUEUED};
use super::lab::*;

/// What a second asking may hear where the first was heard and not answered.
type Again = Option<Change>;

/// One change by id, of a job that stands somewhere.
struct Verb {
    what: &'static str,
    text: &'static str,
    from: State,
    told: Change,
    again: Again,
    to: Option<State>,
}

const fn refused(state: State) -> Again {
    Some(Change::Refused { state })
}

const VERBS: [Verb; 7] = [
    Verb {
        what: "cancel",
        text: "cancel_(",
        from: State::Pending,
        told: Change::Done,
        again: refused(State::Cancelled),
        to: Some(State::Cancelled),
    },
    Verb {
        what: "cancel of an active job",
        text: "cancel_(",
        from: State::Active,
        told: Change::Requested,
        again: None,
        to: Some(State::Active),
    },
    Verb {
        what: "retry",
        text: "retry_(",
        from: State::Dead,
        told: Change::Done,
        again: refused(State::Pending),
        to: Some(State::Pending),
    },
    Verb {
        what: "retry of a cancelled job",
        text: "retry_(",
        from: State::Cancelled,
        told: Change::Done,
        again: refused(State::Pending),
        to: Some(State::Pending),
    },
    Verb {
        what: "discard",
        text: "discard_(",
        from: State::Dead,
        told: Change::Done,
        again: refused(State::Cancelled),
        to: Some(State::Cancelled),
    },
    Verb {
        what: "reschedule",
        text: "reschedule_(",
        from: State::Pending,
        told: Change::Done,
        again: None,
        to: Some(State::Scheduled),
    },
    Verb {
        what: "delete",
        text: "delete_(",
        from: State::Completed,
        told: Change::Done,
        again: Some(Change::NotFound),
        to: None,
    },
];

/// Brings a job with a unique key to a state.
async fn stands(lab: &Lab, queue: &Name, state: State) -> Result<JobId, StoreError> {
    let job = keyed(queue);
    match state {
        State::Pending => lab.put(job).await,
        State::Active => Ok(lab.active(job).await?.fence.id),
        State::Dead => lab.ended(job, End::Dead(oops(), DeadReason::Exhausted)).await,
        State::Cancelled => lab.ended(job, End::Cancelled).await,
        _ => lab.ended(job, End::Completed(None)).await,
    }
}

#[tokio::test]
async fn a_change_of_a_job_is_made_once_and_told_as_it_is() -> Kept {
    let lab = Lab::open().await?;
    let at = lab.clock.now().plus(Duration::from_secs(3600));
    for verb in VERBS {
        lab.every_cut(
            (verb.what, verb.text, Cuts::First),
            async |queue| {
                let mut ids = Vec::new();
                for _ in 0..2 {
                    ids.push(stands(&lab, &queue, verb.from).await?);
                }
                Ok(ids)
            },
            async |ids| match verb.text {
                "cancel_(" => lab.cut.cancel(ids.clone()).await,
                "retry_(" => lab.cut.retry(ids.clone()).await,
                "discard_(" => lab.cut.discard(ids.clone()).await,
                "reschedule_(" => lab.cut.reschedule(ids.clone(), at).await,
                _ => lab.cut.delete(ids.clone()).await,
            },
            async |ids, _, told| {
                let first = told.value[0];
                assert_eq!(told.value, [first; 2], "a batch is one");
                let heard_twice = told.errors > 0 && Some(first) == verb.again;
                assert!(first == verb.told || heard_twice, "{first:?}");
                for id in ids {
                    let job = lab.direct.show(*id).await?;
                    assert_eq!(job.as_ref().map(|job| job.state), verb.to);
                    let log = job.map_or(0, |job| job.attempts.len());
                    let ran = !matches!(verb.from, State::Pending) && verb.to.is_some();
                    assert_eq!(log, usize::from(ran), "no attempt is logged twice");
                }
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_queue_is_cleared_and_paused_once() -> Kept {
    let lab = Lab::open().await?;
    lab.every_cut(
        ("clear", "clear_(", Cuts::First),
        async |queue| {
            lab.put(keyed(&queue)).await?;
            lab.put(Record { delay: Duration::from_secs(60), ..job(&queue) }).await?;
            Ok(queue)
        },
        async |queue| lab.cut.clear(queue.clone(), 1000).await,
        async |_, queue, told| {
            assert!(told.value == 2 || told.value == 0 && told.errors > 0);
            let left = "SELECT count(*) FROM dutiful.job WHERE queue = $1";
            let left: i64 = lab.raw.query_one(left, &[&queue.as_str()]).await?.get(0);
            assert_eq!(left, 0);
            assert_eq!(lab.counted(queue, ENQUEUED).await?, 2);
            assert_eq!(lab.counted(queue, CANCELLED).await?, 0);
            Ok(())
        },
    )
    .await?;
    lab.every_cut(
        ("pause", "INTO \"dutiful\".queue", Cuts::First),
        async |queue| {
            lab.put(job(&queue)).await?;
            Ok(queue)
        },
        async |queue| lab.cut.pause(queue.clone(), true).await,
        async |_, queue, told| {
            assert!(told.value || told.errors > 0, "who is answered at once changed it");
            assert!(lab.direct.claim(ask(queue, 1)).await?.is_empty(), "it is paused");
            Ok(())
        },
    )
    .await
}
