//! Middleware: what stands around handlers, and what sees jobs on their way in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dutiful::{Answer, Client, Context, HandlerError, InvalidJob, NewJob, State, Worker};

use crate::watch::{Kept, Shop, Task, show, soon};

promises![
    layers_stand_around_each_other_and_around_every_kind_of_handler,
    a_layer_can_answer_in_place_of_the_handler_and_change_its_answer,
    a_panic_in_a_layer_fails_the_attempt_and_no_other,
];

#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<String>>>);

impl Steps {
    fn add(&self, step: impl Into<String>) {
        self.0.lock().expect("no panic in here").push(step.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic in here").clone()
    }
}

async fn layers_stand_around_each_other_and_around_every_kind_of_handler(client: Client) -> Kept {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Blocks;
    impl dutiful::Job for Blocks {
        const TYPE: &'static str = "blocks";
    }
    let steps = Steps::default();
    let layer = |name: &'static str| {
        let steps = steps.clone();
        move |cx: Context<Steps>, next: dutiful::Next| {
            let steps = steps.clone();
            async move {
                steps.add(format!("{name} before {}", cx.job_type()));
                tokio::time::sleep(Duration::from_millis(1)).await;
                let answer = next.run().await;
                steps.add(format!("{name} after"));
                answer
            }
        }
    };
    let task = |_: Task, cx: Context<Steps>| async move {
        cx.app.add("handler");
        Ok(7)
    };
    let blocks = |_: Blocks, cx: Context<Steps>| {
        cx.app.add("blocking handler");
        cx.wait(tokio::time::sleep(Duration::from_millis(1)));
        Ok(())
    };
    let worker = || {
        Worker::new(&client, steps.clone())
            .middleware(layer("outer"))
            .middleware(layer("inner"))
            .job(task)
            .job_blocking(blocks)
            .until_empty(true)
    };
    let id = client.enqueue(Task { n: 1 }).await?.id;
    soon("the end", worker().run()).await?;
    let around = |handler: &str, job_type: &str| {
        let (first, second) =
            (format!("outer before {job_type}"), format!("inner before {job_type}"));
        vec![first, second, handler.into(), "inner after".into(), "outer after".into()]
    };
    assert_eq!(steps.all(), around("handler", "task"));
    assert_eq!(client.result(id).await?.decode::<i32>()?, 7, "the answer passes through");
    steps.0.lock().expect("no panic").clear();
    client.enqueue(Blocks).await?;
    soon("the end", worker().run()).await?;
    assert_eq!(steps.all(), around("blocking handler", "blocks"));
    Ok(())
}

async fn a_layer_can_answer_in_place_of_the_handler_and_change_its_answer(client: Client) -> Kept {
    let refused = client.enqueue(Task { n: -1 }).await?.id;
    let saved = client.enqueue(Task { n: 0 }).await?.id;
    let worker = Worker::new(&client, ())
        .middleware(|cx: Context<()>, next| async move {
            let first = cx.client().job(cx.id()).await?.is_some_and(|job| job.priority == 1);
            if first {
                return Ok(Answer::Discard("not today".into()));
            }
            match next.run().await {
                Err(_) => Ok(Answer::Done(Some(b"\"mended\"".to_vec()))),
                answer => answer,
            }
        })
        .job(|_: Task, _: Context<()>| async { Err::<(), _>(HandlerError::msg("broken")) })
        .until_empty(true);
    client.discard(refused).await.expect_err("it is not dead yet");
    client.delete(refused).await?;
    let refused = client.enqueue(Task { n: -1 }).priority(1).await?.id;
    soon("the end", worker.run()).await?;
    assert_eq!(show(&client, refused).await.state, State::Dead);
    assert_eq!(client.result(saved).await?.decode::<String>()?, "mended");
    Ok(())
}

async fn a_panic_in_a_layer_fails_the_attempt_and_no_other(client: Client) -> Kept {
    let id = client.enqueue(Task { n: 1 }).max_attempts(1).await?.id;
    let fine = client.enqueue(Task { n: 2 }).priority(99).await?.id;
    let worker = Worker::new(&client, ())
        .middleware(|cx: Context<()>, next| async move {
            assert!(cx.max_attempts() > 1, "a layer that panics");
            next.run().await
        })
        .job(|_: Task, _: Context<()>| async { Ok(()) })
        .until_empty(true);
    soon("the end", worker.run()).await?;
    let job = show(&client, id).await;
    assert_eq!(job.last_error.expect("it failed").class, "panic");
    assert_eq!(show(&client, fine).await.state, State::Completed);
    Ok(())
}

/// A client that tags what it enqueues, and refuses odd numbers.
async fn picky(url: &str) -> Result<Client, dutiful::Error> {
    Client::builder()
        .middleware(|job| {
            job.settings.tags.push("seen".into());
            job.settings.group.get_or_insert_with(|| job.job_type.to_string());
            Ok(())
        })
        .middleware(|job| match job.payload.windows(5).any(|text| text == b"\"n\":1") {
            true => Err(InvalidJob::Refused("one is odd".into())),
            false => Ok(()),
        })
        .connect(url)
        .await
}

#[tokio::test]
async fn every_way_in_passes_the_middleware() -> Kept {
    let shop = Shop::open().await;
    let client = picky(&format!("sqlite:{}", shop.path.display())).await?;
    let mut ids = vec![client.enqueue(Task { n: 2 }).tag("own").await?.id];
    ids.push(client.enqueue_raw("task", "{\"n\":2}").await?.id);
    ids.push(client.enqueue_all([Task { n: 4 }]).await?[0].id);
    let by_name = NewJob {
        job_type: "task".into(),
        payload: b"{\"n\":6}".to_vec(),
        settings: dutiful::Settings::default(),
    };
    ids.push(client.enqueue_many(vec![by_name.clone()]).await?[0].id);
    let mut raw = shop.raw();
    let tx = raw.transaction()?;
    ids.push(client.enqueue(Task { n: 8 }).within(&tx).now()?.id);
    tx.commit()?;
    for id in &ids {
        let job = show(&client, *id).await;
        assert!(job.tags.contains(&"seen".to_owned()), "{job:?}");
        assert_eq!(job.group.as_deref(), Some("task"));
    }
    assert_eq!(show(&client, ids[0]).await.tags, ["own", "seen"]);
    let before = client.stats().await?.totals.pending;
    let odd = NewJob { payload: b"{\"n\":1}".to_vec(), ..by_name.clone() };
    let error = client.enqueue(Task { n: 1 }).await.expect_err("it is odd");
    assert_eq!(error.to_string(), "accept the job: it was refused: one is odd");
    let many = (0..2500).map(|n| Task { n: if n == 2400 { 1 } else { 2 } });
    client.enqueue_all(many).await.expect_err("one of them is odd");
    client.enqueue_many(vec![by_name, odd]).await.expect_err("one of them is odd");
    assert_eq!(client.stats().await?.totals.pending, before, "and nothing was stored");
    Ok(())
}

#[tokio::test]
async fn what_middleware_makes_of_a_job_is_checked_again() -> Kept {
    let broken = Client::builder()
        .middleware(|job| {
            job.payload.push(b'}');
            Ok(())
        })
        .connect("sqlite::memory:")
        .await?;
    let error = broken.enqueue(Task { n: 2 }).await.expect_err("that is no JSON");
    assert!(matches!(error, dutiful::Error::InvalidJob(InvalidJob::NotJson(_))), "{error:?}");
    let endless = Client::builder()
        .middleware(|job| {
            job.settings.timeout = Some(Duration::ZERO);
            Ok(())
        })
        .connect("sqlite::memory:")
        .await?;
    let error = endless.enqueue(Task { n: 2 }).await.expect_err("no time at all");
    assert!(matches!(error, dutiful::Error::InvalidJob(InvalidJob::Timeout(_))), "{error:?}");
    Ok(())
}
