//! What workers ask, cut off: claims, ends, beats, notes and remembered effects.

use std::time::Duration;

use dutiful::store::RescueRequest;

use super::lab::event::{CANCELLED, COMPLETED, DEAD, FAILED, STALLED};
use super::lab::*;

#[tokio::test]
async fn a_claim_whose_answer_got_lost_is_rescued_with_its_attempt_in_the_log() -> Kept {
    let lab = Lab::open().await?;
    let leader = WorkerId(900);
    lab.every_cut(
        ("claim", "INTO \"dutiful\".lease (", Cuts::New),
        async |queue| {
            let jobs: Vec<_> = (0..3).map(|_| job(&queue)).collect();
            let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
            lab.direct.enqueue(jobs).await?;
            Ok((queue, ids))
        },
        async |(queue, _)| lab.cut.claim(ask(queue, 2)).await,
        async |(queue, ids), _, told| {
            let fences: Vec<_> = told.value.iter().map(|job| job.fence).collect();
            let held = lab.direct.held(fences.clone()).await?;
            assert!(held.iter().all(|held| *held == Held::Yes), "what was told is held");
            // What was told is worked off; what was not is nobody's, and comes back.
            let ends = told.value.iter().map(|job| job.unstarted(End::Completed(None))).collect();
            lab.direct.finish(ME, ends).await?;
            lab.expire();
            let term = lab.direct.lead(leader, Duration::from_secs(10)).await?.term;
            let ask_all = RescueRequest { crashes_max: 10, limit: 1000, patience: Duration::ZERO };
            let rescued = lab.direct.rescue(term, ask_all).await?;
            assert!(told.value.len() == 2 || told.errors > 0);
            assert!(told.value.len() + rescued.len() <= 3);
            for id in ids {
                let job = lab.show(*id).await?;
                if fences.iter().any(|fence| fence.id == *id) {
                    assert_eq!((job.state, job.attempt), (State::Completed, 1));
                    continue;
                }
                let again = rescued.iter().any(|one| one.fence.id == *id);
                assert_eq!((job.state, job.attempt), (State::Pending, u32::from(again)));
                let log: Vec<_> = job.attempts.iter().map(|one| one.outcome).collect();
                assert_eq!(log, vec![AttemptOutcome::Stalled; usize::from(again)]);
            }
            assert_eq!(lab.counted(queue, STALLED).await?, rescued.len() as i64);
            Ok(())
        },
    )
    .await
}

/// What a kind of end leaves: the state, and what the store counts.
const ENDS: [(&str, State, i16); 6] = [
    ("completed", State::Completed, COMPLETED),
    ("cancelled", State::Cancelled, CANCELLED),
    ("failed", State::Failed, FAILED),
    ("snoozed", State::Scheduled, 5),
    ("released", State::Pending, 6),
    ("dead", State::Dead, DEAD),
];

fn end(kind: &str) -> End {
    match kind {
        "completed" => End::Completed(Some(b"7".to_vec())),
        "cancelled" => End::Cancelled,
        "failed" => End::Failed(oops(), Duration::from_secs(60)),
        "snoozed" => End::Snoozed(Duration::from_secs(60)),
        "released" => End::Released,
        _ => End::Dead(oops(), DeadReason::Exhausted),
    }
}

/// A piece of each statement that no other has.
fn text(kind: &str) -> &'static str {
    match kind {
        "completed" | "cancelled" => "$15::boolean[]) WITH",
        "dead" => "$14::boolean[]) WITH",
        "late" => "d.outcome = 3",
        _ => "to_scheduled",
    }
}

#[tokio::test]
async fn every_kind_of_end_is_written_once_and_told_as_written() -> Kept {
    let lab = Lab::open().await?;
    for (kind, state, event) in ENDS {
        let cuts = match kind {
            "completed" => Cuts::New,
            "failed" => Cuts::Every,
            _ => Cuts::First,
        };
        lab.every_cut(
            (&format!("finish, {kind}"), text(kind), cuts),
            async |queue| Ok(lab.active(keyed(&queue)).await?.unstarted(end(kind))),
            async |one| lab.cut.finish(ME, vec![one.clone()]).await,
            async |one, queue, told| {
                assert_eq!(told.value, [Held::Yes], "its end is on record");
                assert!(cuts == Cuts::Every || told.errors == 0, "it asks again by itself");
                let job = lab.show(one.fence.id).await?;
                assert_eq!((job.state, job.attempt, job.attempts.len()), (state, 1, 1));
                assert_eq!(lab.counted(queue, event).await?, 1);
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn ends_of_all_kinds_in_one_batch_are_each_written_once() -> Kept {
    let lab = Lab::open().await?;
    for (part, cuts) in [("completed", Cuts::First), ("failed", Cuts::First)] {
        lab.every_cut(
            (&format!("finish of many, at {part}"), text(part), cuts),
            async |queue| {
                lab.direct.enqueue((0..6).map(|_| keyed(&queue)).collect()).await?;
                let claimed = lab.direct.claim(ask(&queue, 6)).await?;
                let ends =
                    claimed.iter().zip(ENDS).map(|(job, (kind, ..))| job.unstarted(end(kind)));
                Ok(ends.collect::<Vec<Finish>>())
            },
            async |ends| lab.cut.finish(ME, ends.clone()).await,
            async |ends, queue, told| {
                assert_eq!(told.value, [Held::Yes; 6], "each end is on record");
                for (one, (_, state, event)) in ends.iter().zip(ENDS) {
                    let job = lab.show(one.fence.id).await?;
                    assert_eq!((job.state, job.attempts.len()), (state, 1));
                    // The dead one failed, too.
                    let both = i64::from(event == FAILED);
                    assert_eq!(lab.counted(queue, event).await?, 1 + both);
                }
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_heard_of_an_at_most_once_job_is_written_once() -> Kept {
    let lab = Lab::open().await?;
    lab.every_cut(
        ("finish, at most once", text("late"), Cuts::First),
        async |queue| {
            let once = Record { delivery: Delivery::AtMostOnce, ..job(&queue) };
            Ok(lab.active(once).await?.unstarted(End::Completed(Some(b"7".to_vec()))))
        },
        async |one| lab.cut.finish(ME, vec![one.clone()]).await,
        async |one, queue, told| {
            assert_eq!(told.value, [Held::Yes]);
            let job = lab.show(one.fence.id).await?;
            assert_eq!(job.state, State::Completed);
            assert_eq!(job.result.as_ref().map(|result| result.get()), Some("7"));
            assert_eq!(lab.counted(queue, COMPLETED).await?, 1);
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn beats_and_notes_are_kept_once() -> Kept {
    let lab = Lab::open().await?;
    lab.every_cut(
        ("heartbeat", "heartbeat_(", Cuts::First),
        async |queue| lab.active(job(&queue)).await,
        async |job| {
            let fences = vec![job.fence];
            lab.cut.heartbeat(HeartbeatRequest { worker: ME, fences, lease: LEASE * 2 }).await
        },
        async |job, _, told| {
            assert!(told.value[0].held == Held::Yes && !told.value[0].cancel);
            lab.expire();
            assert_eq!(lab.show(job.fence.id).await?.state, State::Active, "it was renewed");
            Ok(())
        },
    )
    .await?;
    lab.every_cut(
        ("note", "note_(", Cuts::First),
        async |queue| lab.active(job(&queue)).await,
        async |job| lab.cut.note(vec![note(&lab, job)]).await,
        async |job, _, told| {
            assert_eq!(told.value, [Held::Yes]);
            let job = lab.show(job.fence.id).await?;
            assert_eq!(job.progress.as_ref().map(|progress| progress.percent), Some(40));
            assert_eq!(job.checkpoint.as_ref().map(|data| data.get()), Some("[1]"));
            let lines: Vec<_> = job.attempts[0].log.iter().map(|line| line.number).collect();
            assert_eq!(lines, [1, 2], "each line once");
            Ok(())
        },
    )
    .await
}

fn note(lab: &Lab, job: &Claimed) -> Note {
    let at = lab.clock.now();
    let line = |number| LogLine { number, at, text: format!("line {number}") };
    Note {
        fence: job.fence,
        progress: Some(Progress { percent: 40, note: None, at }),
        checkpoint: Some(b"[1]".to_vec()),
        log: vec![line(1), line(2)],
    }
}

#[tokio::test]
async fn a_remembered_effect_has_one_result() -> Kept {
    let lab = Lab::open().await?;
    let ttl = Duration::from_secs(3600);
    let begin = |job: &Claimed| OnceRequest {
        key: format!("effect of {}", job.fence.id),
        fence: job.fence,
        ttl,
    };
    lab.every_cut(
        ("once", "once_(", Cuts::First),
        async |queue| lab.active(job(&queue)).await,
        async |job| lab.cut.once(begin(job)).await,
        async |_, _, told| {
            assert_eq!(told.value, Once::Run, "the key is its own, whatever got lost");
            Ok(())
        },
    )
    .await?;
    lab.every_cut(
        ("once_store", "SET result = $5", Cuts::First),
        async |queue| {
            let job = lab.active(job(&queue)).await?;
            lab.direct.once(begin(&job)).await?;
            Ok(job)
        },
        async |job| lab.cut.once_store(begin(job).key, job.fence, Some(b"7".to_vec())).await,
        async |job, _, told| {
            assert_eq!(told.value, Held::Yes);
            assert_eq!(lab.direct.once(begin(job)).await?, Once::Known(b"7".to_vec()));
            Ok(())
        },
    )
    .await
}
