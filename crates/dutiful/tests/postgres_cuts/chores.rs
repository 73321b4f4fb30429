//! The chores of whoever leads, and what workers say of themselves, cut off.

use std::time::Duration;

use dutiful::store::{RescueRequest, Retention};

use super::lab::event::{ENQUEUED, STALLED};
use super::lab::*;

const LEADER: WorkerId = WorkerId(900);
const TTL: Duration = Duration::from_secs(10);

/// Leads past the proxy.
async fn term(lab: &Lab) -> Result<i64, StoreError> {
    Ok(lab.direct.lead(LEADER, TTL).await?.term)
}

#[tokio::test]
async fn a_due_job_is_promoted_once_and_a_stalled_one_rescued_once() -> Kept {
    let lab = Lab::open().await?;
    lab.every_cut(
        ("promote", "promote_(", Cuts::First),
        async |queue| {
            let id = lab.put(Record { delay: Duration::from_secs(60), ..keyed(&queue) }).await?;
            lab.clock.advance(Duration::from_secs(61));
            Ok((id, term(&lab).await?))
        },
        async |(_, term)| lab.cut.promote(*term, 1000).await,
        async |(id, _), _, told| {
            assert!(told.value.moved == 1 || told.value.moved == 0 && told.errors > 0);
            assert_eq!(lab.show(*id).await?.state, State::Pending);
            Ok(())
        },
    )
    .await?;
    let request = RescueRequest { crashes_max: 3, limit: 1000, patience: Duration::ZERO };
    lab.every_cut(
        ("rescue", "rescue_(", Cuts::First),
        async |queue| {
            let job = lab.active(keyed(&queue)).await?;
            lab.expire();
            Ok((job.fence, term(&lab).await?))
        },
        async |(_, term)| lab.cut.rescue(*term, request).await,
        async |(fence, _), queue, told| {
            let named = told.value.iter().filter(|one| one.fence == *fence).count();
            assert!(named == 1 || named == 0 && told.errors > 0);
            let again = lab.direct.claim(ask(queue, 1)).await?;
            assert_eq!((again[0].fence.attempt, again[0].crashes), (2, 1), "one crash, not two");
            assert_eq!(lab.counted(queue, STALLED).await?, 1);
            lab.direct.finish(ME, vec![again[0].unstarted(End::Completed(None))]).await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn what_retention_no_longer_keeps_goes_and_numbers_are_folded_once() -> Kept {
    let lab = Lab::open().await?;
    // A short while: for every day that passes partitions are made.
    let keep = Retention { completed: Duration::from_secs(60), dead: Duration::from_secs(60) };
    lab.every_cut(
        ("prune", "prune_(", Cuts::First),
        async |queue| {
            // An id that sorts by no time: it is looked for by its row.
            let far = JobId::from_bytes([0xff; 16]);
            lab.ended(Record { id: far, ..job(&queue) }, End::Completed(None)).await?;
            lab.clock.advance(keep.completed * 2);
            Ok((far, term(&lab).await?))
        },
        async |(_, term)| lab.cut.prune(*term, keep).await,
        async |(id, _), queue, told| {
            assert!(told.value > 0 || told.errors > 0);
            assert!(lab.direct.show(*id).await?.is_none(), "it is gone");
            let queues = lab.direct.queues().await?;
            let ours = queues.iter().find(|one| one.queue == *queue).expect("it has a tally");
            assert_eq!(ours.counts.completed, 0, "the numbers follow, once");
            Ok(())
        },
    )
    .await?;
    lab.every_cut(
        ("fold", "fold_(", Cuts::First),
        async |queue| {
            lab.put(job(&queue)).await?;
            lab.put(job(&queue)).await?;
            term(&lab).await
        },
        async |term| lab.cut.fold(*term).await,
        async |_, queue, told| {
            assert!(told.value >= 2 || told.errors > 0);
            // What the one that was cut off still held is folded the next time.
            lab.direct.fold(term(&lab).await?).await?;
            assert_eq!(lab.counted(queue, ENQUEUED).await?, 2, "each counts once");
            let left = "SELECT count(*) FROM dutiful.tally";
            assert_eq!(lab.raw.query_one(left, &[]).await?.get::<_, i64>(0), 0);
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn a_term_begins_once_and_a_worker_is_written_once() -> Kept {
    let lab = Lab::open().await?;
    lab.every_cut(
        ("lead", "lead_(", Cuts::First),
        async |_| {
            // The one who leads falls silent.
            let last = lab.direct.lead(WorkerId(901), TTL).await?.term;
            lab.clock.advance(TTL * 2);
            Ok(last)
        },
        async |_| lab.cut.lead(LEADER, TTL).await,
        async |last, _, told| {
            assert_eq!((told.value.leader, told.value.term), (LEADER, last + 1));
            lab.direct.abdicate(LEADER, last + 1).await?;
            Ok(())
        },
    )
    .await?;
    lab.every_cut(
        ("abdicate", "SET until = 'epoch'", Cuts::First),
        async |_| term(&lab).await,
        async |term| lab.cut.abdicate(LEADER, *term).await,
        async |term, _, _| {
            let next = lab.direct.lead(WorkerId(902), TTL).await?;
            assert_eq!((next.leader, next.term), (WorkerId(902), term + 1));
            lab.direct.abdicate(WorkerId(902), term + 1).await?;
            Ok(())
        },
    )
    .await?;
    let card = |queue: &Name| WorkerCard {
        pid: std::process::id(),
        worker: ME,
        name: queue.to_string(),
        queues: vec![(queue.clone(), 3)],
        types: vec![TypeDefaults { queue: queue.clone(), ..TypeDefaults::unknown(name("task")) }],
        quiet: false,
    };
    lab.every_cut(
        ("register", "INTO \"dutiful\".worker", Cuts::First),
        async |queue| Ok(queue),
        async |queue| lab.cut.register(card(queue)).await,
        async |_, queue, _| {
            let workers = lab.direct.workers().await?;
            assert_eq!((workers.len(), &workers[0].name[..]), (1, queue.as_str()));
            assert_eq!(lab.direct.types(vec![name("task")]).await?[0].queue, *queue);
            Ok(())
        },
    )
    .await?;
    lab.every_cut(
        ("leave", "SET stopped_at", Cuts::First),
        async |queue| lab.direct.register(card(&queue)).await,
        async |()| lab.cut.leave(ME).await,
        async |_, _, _| {
            assert!(lab.direct.workers().await?[0].stopped_at.is_some());
            Ok(())
        },
    )
    .await
}
