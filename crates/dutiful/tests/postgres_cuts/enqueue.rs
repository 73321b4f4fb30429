//! `enqueue`, cut off: the same ids are stored once, and the library itself asks again.

use std::collections::HashMap;

use dutiful::store::Enqueued;
use dutiful_proxy::{Connection, End as ProxyEnd, Fault, Side, Way, Which};

use super::lab::event::ENQUEUED;
use super::lab::*;

#[tokio::test]
async fn an_enqueue_is_stored_once_wherever_its_connection_breaks() -> Kept {
    let lab = Lab::open().await?;
    for cuts in [Cuts::First, Cuts::New, Cuts::Every] {
        for n in [1, 20] {
            enqueue_cut_at(&lab, "INSERT INTO \"dutiful\".job (", cuts, n).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_enqueue_while_somebody_sleeps_is_stored_once_wherever_its_connection_breaks() -> Kept {
    let lab = Lab::open().await?;
    let sleeper = lab.cut.clone();
    // So many rings never come.
    let asleep = tokio::spawn(async move { sleeper.doorbell(u64::MAX).await });
    // The jobs, and the wait for the disk that follows them.
    for text in ["AS flushed", "pg_logical_emit_message("] {
        enqueue_cut_at(&lab, text, Cuts::First, 2).await?;
    }
    asleep.abort();
    Ok(())
}

/// Enqueues as many jobs, cut off around the messages of the statement with this text.
async fn enqueue_cut_at(lab: &Lab, text: &str, cuts: Cuts, n: usize) -> Kept {
    lab.every_cut(
        (&format!("enqueue of {n} at {text}"), text, cuts),
        async |queue| Ok((0..n).map(|_| job(&queue)).collect::<Vec<_>>()),
        async |jobs| lab.cut.enqueue(jobs.clone()).await,
        async |jobs, queue, told| {
            // Whoever heard an error and asks again learns that they were there already.
            let new = told.value[0].outcome == EnqueueOutcome::New;
            assert!(new || told.errors > 0, "it was not there before");
            assert!(cuts == Cuts::Every || told.errors == 0, "it asks again by itself");
            assert_eq!(told.value.len(), n);
            for (one, job) in told.value.iter().zip(jobs) {
                assert_eq!((one.id, one.outcome), (job.id, told.value[0].outcome));
                assert_eq!(lab.show(job.id).await?.state, State::Pending);
            }
            assert_eq!(lab.counted(queue, ENQUEUED).await?, n as i64);
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn a_unique_key_is_taken_once_wherever_its_connection_breaks() -> Kept {
    let lab = Lab::open().await?;
    for cuts in [Cuts::First, Cuts::Every] {
        lab.every_cut(
            ("enqueue with keys", "enqueue_keyed_(", cuts),
            // The last one asks for a key that a job holds already.
            async |queue| {
                let holder = keyed(&queue);
                lab.put(holder.clone()).await?;
                let late = Record { unique_key: holder.unique_key.clone(), ..job(&queue) };
                Ok((holder.id, vec![keyed(&queue), job(&queue), late]))
            },
            async |(_, jobs)| lab.cut.enqueue(jobs.clone()).await,
            async |(holder, jobs), queue, told| {
                assert!(cuts == Cuts::Every || told.errors == 0, "it asks again by itself");
                let ids: Vec<_> = told.value.iter().map(|one| one.id).collect();
                assert_eq!(ids, [jobs[0].id, jobs[1].id, *holder]);
                assert_eq!(told.value[2].outcome, EnqueueOutcome::Duplicate);
                let new = told.value[0].outcome == EnqueueOutcome::New;
                assert!(new || told.errors > 0, "it was not there before");
                assert_eq!(lab.counted(queue, ENQUEUED).await?, 3);
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_job_that_was_there_before_is_not_called_new_though_the_answer_got_lost() -> Kept {
    let lab = Lab::open().await?;
    let exists = EnqueueOutcome::Exists;
    for with_keys in [false, true] {
        let make = |queue: &Name| if with_keys { keyed(queue) } else { job(queue) };
        let text = if with_keys { "enqueue_keyed_(" } else { "INSERT INTO \"dutiful\".job (" };
        lab.every_cut(
            (&format!("enqueue of known and new, keys {with_keys}"), text, Cuts::First),
            // One that is there since an hour, a new one, and the new one once more.
            async |queue| {
                let (known, new) = (make(&queue), make(&queue));
                lab.put(known.clone()).await?;
                lab.clock.advance(std::time::Duration::from_secs(3600));
                Ok(vec![known, new.clone(), new])
            },
            async |jobs| lab.cut.enqueue(jobs.clone()).await,
            async |_, queue, told| {
                assert_eq!(told.errors, 0, "it asks again by itself");
                let outcomes: Vec<_> = told.value.iter().map(|one| one.outcome).collect();
                assert_eq!(outcomes, [exists, EnqueueOutcome::New, exists]);
                assert_eq!(lab.counted(queue, ENQUEUED).await?, 2);
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_large_batch_is_stored_once_wherever_its_connection_breaks() -> Kept {
    const JOBS: usize = 1000;
    let lab = Lab::open().await?;
    let (mut made, mut before) = (0, HashMap::new());
    // The messages of the rows are many and all alike: the ends of what they belong to are cut.
    for text in [
        "BEGIN",
        "SELECT \"dutiful\".moment_($1:",
        "COPY \"dutiful\".job",
        "COPY \"dutiful\".ready",
        "INSERT INTO \"dutiful\".tally_batch",
        "COMMIT",
    ] {
        for (way, side) in [
            (Way::ToServer, Side::Before),
            (Way::ToServer, Side::After),
            (Way::ToClient, Side::Before),
            (Way::ToClient, Side::After),
        ] {
            let queue = lab.queue();
            let jobs: Vec<Record> = (0..JOBS).map(|_| job(&queue)).collect();
            let cut = Fault::CutAtMessage { way, k: 1, side };
            lab.proxy.on_all(Which::sent(text).once(), cut);
            let told = lab.cut.enqueue(jobs.clone()).await?;
            lab.proxy.heal();
            made += 1;
            let is_cut = |one: &&Connection| one.end == Some(ProxyEnd::Cut(way));
            let cuts = lab.proxy.connections().iter().filter(is_cut).count();
            assert!(cuts > *before.get(&way).unwrap_or(&0), "{text} {way:?} {side:?}: no cut");
            before.insert(way, cuts);
            assert_eq!(told.len(), JOBS);
            let new = |(one, job): (&Enqueued, &Record)| {
                (one.id, one.outcome) == (job.id, EnqueueOutcome::New)
            };
            assert!(told.iter().zip(&jobs).all(new), "{text} {way:?} {side:?}");
            assert_eq!(
                lab.counted(&queue, ENQUEUED).await?,
                JOBS as i64,
                "{text} {way:?} {side:?}"
            );
            lab.nothing_is_half(&queue).await?;
        }
    }
    println!("a large batch: {made} cuts");
    Ok(())
}
