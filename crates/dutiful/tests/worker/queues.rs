//! Queues: slots, weights, strict order, and a flood in one that never blocks another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dutiful::{Client, Context, Result, Worker};
use tokio::sync::Semaphore;

use crate::watch::*;

promises![
    a_flood_in_one_queue_does_not_block_another,
    a_free_slot_takes_what_comes_while_others_run,
    a_queue_never_runs_more_jobs_than_it_has_slots on 2,
    the_slots_of_all_queues_together_have_a_limit_too on 2,
    strict_order_empties_the_first_queue_first,
    weights_share_the_slots_without_starving_anybody,
    one_slot_runs_by_priority_and_then_by_time,
    a_paused_queue_waits_for_its_resume,
];

async fn a_flood_in_one_queue_does_not_block_another(client: Client) -> Kept {
    struct App {
        gate: Semaphore,
        diary: Arc<Diary>,
    }
    let diary = Diary::new();
    let app = Arc::new(App { gate: Semaphore::new(0), diary: diary.clone() });
    for n in 0..200 {
        client.enqueue(Task { n }).queue("flood").await?;
    }
    let handler = async |task: Task, cx: Context<App>| -> Result<()> {
        if task.n < 1000 {
            let _open = cx.app.gate.acquire().await?;
        } else {
            cx.app.diary.note(task.n);
        }
        Ok(())
    };
    let worker = Worker::new(&client, app.clone()).job(handler);
    let worker = worker.queue("flood", 2).queue("calm", 2).until_empty(true);
    let calm = async {
        for n in 1000..1010 {
            client.enqueue(Task { n }).queue("calm").await.expect("the enqueue is stored");
            // Each comes through while every slot of the flood is taken.
            diary.reaches(n as usize - 999).await;
        }
        app.gate.add_permits(1000);
    };
    let (done, ()) = tokio::join!(soon("the end of the flood", worker.run()), calm);
    assert_eq!(done?.completed, 210);
    Ok(())
}

/// With a second look after half a second each, twenty jobs would take ten.
async fn a_free_slot_takes_what_comes_while_others_run(client: Client) -> Kept {
    let diary = Diary::new();
    let handler = async |task: Task, cx: Context<Arc<Diary>>| -> Result<()> {
        cx.app.note(task.n);
        cx.cancelled().await;
        Ok(())
    };
    let worker = Worker::new(&client, diary.clone()).job(handler).queue("default", 50);
    let worker = worker.grace(Duration::ZERO);
    let handle = worker.handle();
    let trickle = async {
        for n in 0..20 {
            client.enqueue(Task { n }).await.expect("the enqueue is stored");
            diary.reaches(n as usize + 1).await;
        }
        handle.stop();
    };
    let both = async { tokio::join!(worker.run(), trickle).0 };
    tokio::time::timeout(Duration::from_secs(5), both).await.expect("no job waits for a look")?;
    Ok(())
}

#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn measure(_: Task, cx: Context<Gauge>) -> Result<()> {
    let now = cx.app.now.fetch_add(1, Ordering::SeqCst) + 1;
    cx.app.most.fetch_max(now, Ordering::SeqCst);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    cx.app.now.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

async fn a_queue_never_runs_more_jobs_than_it_has_slots(client: Client) -> Kept {
    client.enqueue_all((0..500).map(|n| Task { n })).await?;
    let gauge = Arc::new(Gauge::default());
    let worker = Worker::new(&client, gauge.clone()).job(measure).queue("default", 3);
    assert_eq!(soon("all jobs", worker.until_empty(true).run()).await?.completed, 500);
    assert_eq!(gauge.most.load(Ordering::SeqCst), 3, "all slots were used, and no more");
    Ok(())
}

async fn the_slots_of_all_queues_together_have_a_limit_too(client: Client) -> Kept {
    for n in 0..300 {
        client.enqueue(Task { n }).queue(["a", "b", "c"][n as usize % 3]).await?;
    }
    let gauge = Arc::new(Gauge::default());
    let worker = Worker::new(&client, gauge.clone()).job(measure);
    let worker = worker.queue("a", 4).queue("b", 4).queue("c", 4).slots(2);
    assert_eq!(soon("all jobs", worker.until_empty(true).run()).await?.completed, 300);
    let most = gauge.most.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} ran at a time");
    Ok(())
}

async fn note(task: Task, cx: Context<Arc<Diary>>) -> Result<()> {
    cx.app.note(task.n);
    Ok(())
}

async fn strict_order_empties_the_first_queue_first(client: Client) -> Kept {
    for n in 0..40 {
        client.enqueue(Task { n }).queue(if n % 2 == 0 { "first" } else { "second" }).await?;
    }
    let diary = Diary::new();
    let worker = Worker::new(&client, Arc::new(diary.clone())).job(note);
    let worker = worker.queue("first", 5).queue("second", 5).slots(1).strict_order();
    soon("all jobs", worker.until_empty(true).run()).await?;
    let order = diary.all();
    assert!(order[..20].iter().all(|n| n % 2 == 0), "{order:?}");
    assert_eq!(order.len(), 40);
    Ok(())
}

async fn weights_share_the_slots_without_starving_anybody(client: Client) -> Kept {
    for n in 0..400 {
        client.enqueue(Task { n }).queue(if n % 2 == 0 { "heavy" } else { "light" }).await?;
    }
    let diary = Diary::new();
    let worker = Worker::new(&client, Arc::new(diary.clone())).job(note);
    let worker = worker.queue_weighted("heavy", 5, 3).queue_weighted("light", 5, 1).slots(1);
    soon("all jobs", worker.until_empty(true).run()).await?;
    let heavy = diary.all()[..100].iter().filter(|n| **n % 2 == 0).count();
    assert!((55..=92).contains(&heavy), "{heavy} of the first 100, about 75 are due");
    Ok(())
}

async fn one_slot_runs_by_priority_and_then_by_time(client: Client) -> Kept {
    for (n, priority) in [(3, 10), (4, 10), (5, 500), (1, 0), (2, 0)] {
        client.enqueue(Task { n }).priority(priority).await?;
    }
    let diary = Diary::new();
    let worker = Worker::new(&client, Arc::new(diary.clone())).job(note).queue("default", 1);
    soon("all jobs", worker.until_empty(true).run()).await?;
    assert_eq!(diary.all(), [1, 2, 3, 4, 5]);
    Ok(())
}

async fn a_paused_queue_waits_for_its_resume(client: Client) -> Kept {
    client.pause("default").await?;
    client.enqueue(Task { n: 1 }).await?;
    client.enqueue(Task { n: 2 }).queue("other").await?;
    let diary = Diary::new();
    let worker = Worker::new(&client, Arc::new(diary.clone())).job(note);
    let worker = worker.queue("default", 1).queue("other", 1).until_empty(true);
    let resume = async {
        assert_eq!(diary.reaches(1).await, [2]);
        client.enqueue(Task { n: 3 }).queue("other").await.expect("the enqueue is stored");
        assert_eq!(diary.reaches(2).await, [2, 3], "the paused one still waits");
        client.resume("default").await.expect("the queue goes on");
    };
    let (done, ()) = tokio::join!(soon("all jobs", worker.run()), resume);
    assert_eq!(done?.completed, 3);
    assert_eq!(diary.all(), [2, 3, 1]);
    Ok(())
}

#[tokio::test]
async fn a_job_of_another_process_is_picked_up_soon() -> Kept {
    let shop = Shop::open().await;
    let elsewhere = shop.elsewhere().await;
    let diary = Diary::new();
    // The poll is so long that only the bell can bring the job in time.
    let worker = Worker::new(&shop.client, Arc::new(diary.clone())).job(note);
    let worker = worker.poll(Duration::from_secs(3600));
    let handle = worker.handle();
    let producer = async {
        for n in 1..=5 {
            elsewhere.enqueue(Task { n }).await.expect("the enqueue is stored");
            diary.reaches(n as usize).await;
        }
        handle.stop();
    };
    let (done, ()) = tokio::join!(worker.run(), producer);
    assert_eq!(done?.completed, 5);
    Ok(())
}
