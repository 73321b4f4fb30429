//! `note`: what handlers say of their attempts; fenced, bounded, and kept with the job.

use crate::harness::*;
use dutiful::{LOG_ATTEMPTS_MAX, LOG_LINES_MAX};

promises![
    the_last_word_on_progress_counts,
    lines_stand_in_the_log_of_their_attempt,
    a_line_written_twice_stands_once,
    a_checkpoint_outlives_its_attempt,
    a_stale_fence_changes_nothing,
    answers_for_each_note_in_order,
    old_lines_make_room_for_new_ones,
    lines_that_made_room_do_not_come_back,
    old_attempts_lose_their_lines_first,
    an_at_most_once_job_can_speak_until_it_ended,
    lists_show_progress_and_leave_out_the_rest,
    a_deleted_job_leaves_nothing_behind,
];

fn silent(fence: Fence) -> Note {
    Note { fence, progress: None, checkpoint: None, log: Vec::new() }
}

fn percent(fence: Fence, percent: u8, note: &str) -> Note {
    let note = Some(note.to_owned());
    Note { progress: Some(Progress { percent, note, at: START }), ..silent(fence) }
}

fn lines(fence: Fence, numbers: std::ops::RangeInclusive<u32>) -> Note {
    let line = |number| LogLine { number, at: START, text: format!("line {number}") };
    Note { log: numbers.map(line).collect(), ..silent(fence) }
}

fn checkpoint(fence: Fence, json: &str) -> Note {
    Note { checkpoint: Some(json.as_bytes().to_vec()), ..silent(fence) }
}

/// Ends the attempt with a failure and claims the job again.
async fn next_attempt(lab: &Lab, job: &Claimed) -> Claimed {
    let wait = std::time::Duration::from_secs(1);
    assert_eq!(lab.end(job, End::Snoozed(wait)).await, Held::Yes);
    lab.pass(2);
    lab.promote().await;
    lab.claim_from(job.queue.as_str()).await
}

async fn the_last_word_on_progress_counts(lab: Lab) -> Kept {
    let job = lab.active().await;
    assert_eq!(lab.show(job.fence.id).await.progress, None);
    let notes = vec![percent(job.fence, 10, "begun"), percent(job.fence, 90, "nearly")];
    assert_eq!(lab.store.note(notes).await?, [Held::Yes, Held::Yes]);
    let seen = lab.show(job.fence.id).await.progress.expect("it said something");
    assert_eq!((seen.percent, seen.note.as_deref(), seen.at), (90, Some("nearly"), START));
    lab.end(&job, End::Completed(None)).await;
    assert_eq!(lab.show(job.fence.id).await.progress, Some(seen), "it stays with the job");
    Ok(())
}

async fn lines_stand_in_the_log_of_their_attempt(lab: Lab) -> Kept {
    let first = lab.active().await;
    lab.store.note(vec![lines(first.fence, 1..=2)]).await?;
    lab.store.note(vec![lines(first.fence, 3..=3)]).await?;
    let second = next_attempt(&lab, &first).await;
    lab.store.note(vec![lines(second.fence, 1..=1)]).await?;
    let seen = lab.show(first.fence.id).await;
    let texts = |at: usize| -> Vec<_> {
        seen.attempts[at].log.iter().map(|line| line.text.clone()).collect()
    };
    assert_eq!(texts(0), ["line 1", "line 2", "line 3"]);
    assert_eq!(texts(1), ["line 1"]);
    Ok(())
}

async fn a_line_written_twice_stands_once(lab: Lab) -> Kept {
    let job = lab.active().await;
    lab.store.note(vec![lines(job.fence, 1..=2)]).await?;
    lab.store.note(vec![lines(job.fence, 1..=3)]).await?;
    let seen = lab.show(job.fence.id).await;
    let numbers: Vec<_> = seen.attempts[0].log.iter().map(|line| line.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    Ok(())
}

async fn a_checkpoint_outlives_its_attempt(lab: Lab) -> Kept {
    let first = lab.active().await;
    lab.store.note(vec![checkpoint(first.fence, "{\"row\":7}")]).await?;
    lab.store.note(vec![percent(first.fence, 50, "half")]).await?;
    let second = next_attempt(&lab, &first).await;
    let kept = |info: JobInfo| info.checkpoint.map(|json| json.get().to_owned());
    assert_eq!(kept(lab.show(first.fence.id).await).as_deref(), Some("{\"row\":7}"));
    lab.store.note(vec![checkpoint(second.fence, "[8]")]).await?;
    let seen = lab.show(first.fence.id).await;
    assert_eq!(seen.progress.as_ref().map(|p| p.percent), Some(50), "a checkpoint is no progress");
    assert_eq!(kept(seen).as_deref(), Some("[8]"));
    Ok(())
}

async fn a_stale_fence_changes_nothing(lab: Lab) -> Kept {
    let job = lab.active().await;
    lab.store.note(vec![percent(job.fence, 1, "mine")]).await?;
    let stale = [
        forged(job.fence),
        Fence { attempt: job.fence.attempt + 1, ..job.fence },
        Fence { id: JobId::new(), ..job.fence },
    ];
    for fence in stale {
        let Note { checkpoint, .. } = checkpoint(fence, "1");
        let note = Note { checkpoint, ..percent(fence, 99, "not mine") };
        let note = Note { log: lines(fence, 1..=1).log, ..note };
        assert_eq!(lab.store.note(vec![note]).await?, [Held::Lost]);
    }
    let gone = lab.active().await;
    lab.end(&gone, End::Completed(None)).await;
    assert_eq!(lab.store.note(vec![percent(gone.fence, 99, "late")]).await?, [Held::Lost]);
    assert_eq!(lab.show(gone.fence.id).await.progress, None);
    let seen = lab.show(job.fence.id).await;
    assert_eq!(seen.progress.and_then(|p| p.note).as_deref(), Some("mine"));
    assert!(seen.checkpoint.is_none() && seen.attempts[0].log.is_empty());
    Ok(())
}

async fn answers_for_each_note_in_order(lab: Lab) -> Kept {
    let (a, b) = (lab.active().await, lab.active().await);
    let notes = vec![silent(a.fence), silent(forged(b.fence)), silent(b.fence)];
    assert_eq!(lab.store.note(notes).await?, [Held::Yes, Held::Lost, Held::Yes]);
    assert!(lab.store.note(Vec::new()).await?.is_empty());
    Ok(())
}

async fn old_lines_make_room_for_new_ones(lab: Lab) -> Kept {
    let job = lab.active().await;
    let last = 2 * LOG_LINES_MAX + 17;
    for first in (1..=last).step_by(50) {
        lab.store.note(vec![lines(job.fence, first..=last.min(first + 49))]).await?;
    }
    let seen = lab.show(job.fence.id).await;
    let numbers: Vec<_> = seen.attempts[0].log.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (last - LOG_LINES_MAX + 1..=last).collect::<Vec<_>>());
    Ok(())
}

async fn lines_that_made_room_do_not_come_back(lab: Lab) -> Kept {
    let job = lab.active().await;
    lab.store.note(vec![lines(job.fence, 1..=LOG_LINES_MAX + 2)]).await?;
    lab.store.note(vec![lines(job.fence, 1..=5)]).await?;
    let seen = lab.show(job.fence.id).await;
    let numbers: Vec<_> = seen.attempts[0].log.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (3..=LOG_LINES_MAX + 2).collect::<Vec<_>>());
    Ok(())
}

async fn old_attempts_lose_their_lines_first(lab: Lab) -> Kept {
    let mut job = lab.active().await;
    for _ in 0..LOG_ATTEMPTS_MAX + 2 {
        lab.store.note(vec![lines(job.fence, 1..=1)]).await?;
        job = next_attempt(&lab, &job).await;
    }
    let seen = lab.show(job.fence.id).await;
    let speaks = seen.attempts.iter().filter(|one| !one.log.is_empty());
    let numbers: Vec<_> = speaks.map(|one| one.number).collect();
    assert_eq!(numbers, (3..=LOG_ATTEMPTS_MAX + 2).collect::<Vec<_>>());
    Ok(())
}

async fn an_at_most_once_job_can_speak_until_it_ended(lab: Lab) -> Kept {
    let job = Record { delivery: Delivery::AtMostOnce, ..job() };
    let job = lab.active_with(job).await;
    assert_eq!(lab.store.note(vec![percent(job.fence, 40, "on")]).await?, [Held::Yes]);
    lab.end(&job, End::Completed(None)).await;
    assert_eq!(lab.store.note(vec![percent(job.fence, 41, "late")]).await?, [Held::Lost]);
    let seen = lab.show(job.fence.id).await.progress.expect("it said something");
    assert_eq!(seen.percent, 40);
    Ok(())
}

async fn lists_show_progress_and_leave_out_the_rest(lab: Lab) -> Kept {
    let job = lab.active().await;
    let said = Note { log: lines(job.fence, 1..=1).log, ..checkpoint(job.fence, "1") };
    lab.store.note(vec![said, percent(job.fence, 30, "on")]).await?;
    let page = lab.store.list(Filter::default()).await?;
    assert_eq!(page.jobs[0].progress.as_ref().map(|p| p.percent), Some(30));
    assert!(page.jobs[0].checkpoint.is_none() && page.jobs[0].attempts.is_empty());
    Ok(())
}

async fn a_deleted_job_leaves_nothing_behind(lab: Lab) -> Kept {
    let job = lab.active().await;
    let said = Note { log: lines(job.fence, 1..=1).log, ..checkpoint(job.fence, "1") };
    lab.store.note(vec![said]).await?;
    lab.end(&job, End::Completed(None)).await;
    lab.store.delete(vec![job.fence.id]).await?;
    // The same id again: what was said of the one before it is not its own.
    let again = Record { id: job.fence.id, ..crate::harness::job() };
    let again = lab.active_with(again).await;
    let seen = lab.show(again.fence.id).await;
    assert!(seen.checkpoint.is_none() && seen.attempts[0].log.is_empty());
    Ok(())
}
