//! The corpus of hostile texts through every way in: one verdict, and nothing stuck by its content.

use std::collections::HashMap;
use std::sync::Mutex;

use dutiful::{Context, Enqueued, Error, InvalidJob, Job, NewJob, Settings, Worker};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::corpus::{Verdict, corpus};
use crate::harness::*;

promises![
    every_way_in_gives_the_same_verdict,
    typed_payloads_get_the_same_verdict,
    a_transaction_gives_the_same_verdict,
    handlers_get_what_was_enqueued,
    errors_of_handlers_are_kept_whatever_they_say,
    workers_may_have_any_name,
];

/// A typed job whose payload may be any JSON.
#[derive(Serialize, Deserialize)]
struct Any(Box<RawValue>);

impl Job for Any {
    const TYPE: &'static str = "task";
}

fn verdict(answer: &Result<Enqueued, Error>) -> Verdict {
    match answer {
        Ok(_) => Verdict::Kept,
        Err(Error::InvalidJob(why)) => {
            assert!(why.to_string().len() > 10, "it says what to do: {why}");
            match why {
                InvalidJob::NotJson(_) => Verdict::NotJson,
                InvalidJob::Nul { .. } => Verdict::Nul,
                InvalidJob::TooDeep { max: 64 } => Verdict::TooDeep,
                InvalidJob::TooLarge { .. } => Verdict::TooLarge,
                other => panic!("{other:?}"),
            }
        }
        Err(other) => panic!("failed to {other}"),
    }
}

fn shown(text: &[u8]) -> String {
    format!("{:?} of {} bytes", String::from_utf8_lossy(&text[..text.len().min(60)]), text.len())
}

/// Claims the one job that waits, which must have this payload, and ends it.
async fn comes_back(lab: &Lab, id: JobId, text: &[u8]) {
    let claimed = lab.claim_one().await;
    assert_eq!(claimed.fence.id, id);
    assert!(claimed.payload == text, "{} was changed", shown(text));
    let info = lab.show(id).await;
    assert_eq!(info.payload_bytes, text.len());
    let payload = info.payload.expect("a payload is shown");
    assert_eq!(payload.get().as_bytes(), text.trim_ascii(), "{}", shown(text));
    assert_eq!(lab.end(&claimed, End::Completed(None)).await, Held::Yes);
}

async fn every_way_in_gives_the_same_verdict(lab: Lab) -> Kept {
    let corpus = corpus();
    assert!(corpus.len() > 400, "{} texts", corpus.len());
    for (text, expected) in corpus {
        let alone = lab.client.enqueue_raw("task", text.clone()).await;
        assert_eq!(verdict(&alone), expected, "enqueue_raw of {}", shown(&text));
        if let Ok(stored) = alone {
            comes_back(&lab, stored.id, &text).await;
        }
        let one = NewJob {
            job_type: "task".into(),
            payload: text.clone(),
            settings: Settings::default(),
        };
        let many = lab.client.enqueue_many(vec![one]).await.map(|all| all[0]);
        assert_eq!(verdict(&many), expected, "enqueue_many of {}", shown(&text));
        if let Ok(stored) = many {
            comes_back(&lab, stored.id, &text).await;
        }
    }
    assert_eq!(lab.store.stats().await?.totals.pending, 0, "nothing refused is left behind");
    Ok(())
}

async fn typed_payloads_get_the_same_verdict(lab: Lab) -> Kept {
    for (text, expected) in corpus() {
        // Syntax is all that a raw value is checked for; what is none cannot be typed at all.
        let Ok(text) = String::from_utf8(text) else { continue };
        let Ok(value) = RawValue::from_string(text.clone()) else { continue };
        let inner = value.get().to_owned();
        let typed = lab.client.enqueue(Any(value)).await;
        // A serializer leaves out the blanks around a value.
        let expected = match expected {
            Verdict::TooLarge if inner.len() <= dutiful::PAYLOAD_BYTES_MAX => Verdict::Kept,
            other => other,
        };
        assert_eq!(verdict(&typed), expected, "a typed {}", shown(text.as_bytes()));
        if let Ok(stored) = typed {
            comes_back(&lab, stored.id, inner.as_bytes()).await;
        }
    }
    Ok(())
}

async fn a_transaction_gives_the_same_verdict(lab: Lab) -> Kept {
    let Some(path) = lab.path() else { skip!(lab, "no other connection can reach it") };
    let mut conn = rusqlite::Connection::open(path).expect("the file opens");
    for (text, expected) in corpus() {
        let tx = conn.transaction().expect("a transaction begins");
        let stored = lab.client.enqueue_raw("task", text.clone()).within(&tx).now();
        assert_eq!(verdict(&stored), expected, "in a transaction, {}", shown(&text));
        tx.commit().expect("the transaction is usable still");
        if let Ok(stored) = stored {
            comes_back(&lab, stored.id, &text).await;
        }
    }
    Ok(())
}

async fn handlers_get_what_was_enqueued(lab: Lab) -> Kept {
    let mut expected = HashMap::new();
    for (text, _) in corpus().into_iter().filter(|(_, verdict)| *verdict == Verdict::Kept) {
        let id = lab.client.enqueue_raw("task", text.clone()).await?.id;
        expected.insert(id, String::from_utf8(text).expect("JSON is UTF-8").trim().to_owned());
    }
    let jobs = expected.len() as u64;
    let handler = async |job: Any, cx: Context<Mutex<HashMap<JobId, String>>>| {
        let mut expected = cx.app.lock().expect("no handler panics");
        let text = expected.remove(&cx.id());
        assert_eq!(text.as_deref(), Some(job.0.get()));
        Ok(())
    };
    let worker = Worker::new(&lab.client, Mutex::new(expected)).job(handler).until_empty(true);
    let done = worker.run().await?;
    assert_eq!((done.completed, done.failed + done.dead + done.lost), (jobs, 0));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Fail {
    class: String,
    message: String,
}

impl Job for Fail {
    const TYPE: &'static str = "fail";
}

/// Texts for fields that people read.
fn texts() -> Vec<String> {
    let mut all: Vec<String> = corpus()
        .into_iter()
        .filter(|(text, _)| text.len() < 1000)
        .map(|(text, _)| String::from_utf8_lossy(&text).into_owned())
        .collect();
    all.push("\0".repeat(100));
    all.push(format!("{}\u{e9}", "x".repeat(16 * 1024 - 1)));
    all.push("\u{1f600}".repeat(5000));
    all
}

async fn errors_of_handlers_are_kept_whatever_they_say(lab: Lab) -> Kept {
    for text in texts() {
        // As a payload it must be JSON that is accepted; the handler says the rest.
        let hidden = text.replace('\0', "<nul>");
        let job = Fail { class: hidden.clone(), message: hidden };
        let id = lab.client.enqueue(job).max_attempts(1).await?.id;
        let handler = async |job: Fail, _: Context<()>| -> dutiful::Result<()> {
            let error = dutiful::HandlerError::msg(job.message.replace("<nul>", "\0"));
            Err(error.with_class(job.class.replace("<nul>", "\0")))
        };
        let worker = Worker::new(&lab.client, ()).job(handler).until_empty(true);
        assert_eq!(worker.run().await?.dead, 1);
        let error = lab.show(id).await.last_error.expect("it is kept");
        let clean = text.replace('\0', "\u{FFFD}");
        let is_cut = |kept: &str, max: usize| {
            assert!(kept.len() <= max * 3 && !kept.contains('\0'), "{kept:?}");
            assert!(clean.starts_with(kept), "{kept:?} is not how {clean:?} begins");
            assert!(kept.len() + 4 > clean.len().min(max), "{kept:?} is cut too short");
        };
        is_cut(&error.message, dutiful::MESSAGE_BYTES_MAX);
        is_cut(&error.class, 128);
    }
    Ok(())
}

async fn workers_may_have_any_name(lab: Lab) -> Kept {
    for text in texts() {
        let id = lab.put_one(job()).await;
        let worker = Worker::new(&lab.client, ()).job(async |_: Any, _: Context<()>| Ok(()));
        let done = worker.name(text.clone()).until_empty(true).run().await?;
        assert_eq!(done.completed, 1, "a worker named {text:?}");
        let name = lab.show(id).await.attempts[0].worker_name.clone();
        // Postgres keeps no NUL in a text.
        let kept = if lab.on_postgres() { text.replace('\0', "\u{fffd}") } else { text };
        assert_eq!(name, Some(kept));
        lab.store.stats().await?;
    }
    Ok(())
}
