//! What keys change, and that nothing is changed that was not confirmed.

use dutiful::State;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::keys::Pressed;
use super::super::looks::News;
use super::super::model::{Dialog, Model};
use super::{Site, key, screen};

super::promises!(
    a_queue_is_paused_and_resumed_after_a_yes,
    jobs_are_retried_cancelled_and_discarded_after_a_yes,
    a_whole_group_is_retried_or_discarded,
    what_cannot_be_done_is_told,
);

async fn count(site: &Site) -> dutiful::Counts {
    site.client.stats().await.unwrap().totals
}

async fn a_queue_is_paused_and_resumed_after_a_yes(site: &Site) {
    let is_paused = async |queue: &str| {
        let queues = site.client.queues().await.unwrap();
        queues.iter().any(|one| one.queue.as_str() == queue && one.paused)
    };
    let mut model = site.model();
    let asked = site.press(&mut model, "2jp").await;
    assert!(asked.contains("Pause queue mail?"), "{asked}");
    site.press(&mut model, "n").await;
    assert!(!is_paused("mail").await, "no is no");
    let paused = site.press(&mut model, "py").await;
    assert!(is_paused("mail").await && !is_paused("later").await);
    assert!(paused.contains("queue mail is paused"), "{paused}");
    site.press(&mut model, "py").await;
    assert!(!is_paused("mail").await);
}

async fn jobs_are_retried_cancelled_and_discarded_after_a_yes(site: &Site) {
    site.client.pause("mail").await.unwrap();
    let mut model = site.model();
    // The group of three, and in it the newest job.
    let asked = site.press(&mut model, "4⏎r").await;
    assert!(asked.contains("Retry job"), "{asked}");
    site.press(&mut model, "⎋").await;
    assert_eq!(count(site).await.dead, 4);
    let retried = site.press(&mut model, "ry").await;
    assert!(retried.contains("retried job"), "{retried}");
    assert_eq!((count(site).await.dead, count(site).await.pending), (3, 2));
    site.press(&mut model, "⏎dy").await;
    assert_eq!((count(site).await.dead, count(site).await.cancelled), (2, 1));
    let cancelled = site.press(&mut model, "3→→cy").await;
    assert!(cancelled.contains("cancelled job"), "{cancelled}");
    assert_eq!((count(site).await.pending, count(site).await.cancelled), (1, 2));
}

async fn a_whole_group_is_retried_or_discarded(site: &Site) {
    site.client.pause("mail").await.unwrap();
    let mut model = site.model();
    let asked = site.press(&mut model, "4r").await;
    assert!(asked.contains("all 3 dead jobs of send_email with SmtpError: mailbox #"), "{asked}");
    let done = site.press(&mut model, "y").await;
    assert!(done.contains("retried 3 jobs"), "{done}");
    assert_eq!((count(site).await.dead, count(site).await.pending), (1, 4));
    site.press(&mut model, "dy").await;
    assert_eq!((count(site).await.dead, count(site).await.cancelled), (0, 1));
    assert!(site.press(&mut model, "u").await.contains("no job is dead"));
}

async fn what_cannot_be_done_is_told(site: &Site) {
    let mut model = site.model();
    let told = site.press(&mut model, "3→→→→d").await;
    assert!(told.contains("it is completed"), "{told}");
    assert_eq!(model.dialog, None);
    // It went before the answer.
    site.press(&mut model, "←←c").await;
    let id = model.jobs.chosen().unwrap().id;
    site.client.delete(id).await.unwrap();
    let told = site.press(&mut model, "y").await;
    assert!(told.contains(&format!("failed to cancel job {id}: the store does not")), "{told}");
}

#[test]
fn keys_lead_from_page_to_page_and_out() {
    let mut model = Model::default();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(model.page.name());
        assert_eq!(model.press(key('⇥')), Pressed::Look);
    }
    assert_eq!(seen, ["overview", "queues", "jobs", "dead", "workers", "overview"]);
    model.press(key('?'));
    assert!(screen(&mut model, 80, 24).contains("What changes something asks first."));
    assert_eq!((model.press(key('q')), model.press(key('q'))), (Pressed::Nothing, Pressed::Leave));
    assert_eq!(model.press(key('⎋')), Pressed::Leave);
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    model.dialog = Some(Dialog::Filter { text: String::new(), wrong: None });
    assert_eq!(model.press(ctrl_c), Pressed::Leave);
    model.dialog = None;
    model.busy = Some("retry of the whole group".to_owned());
    assert_eq!((model.press(key('q')), model.press(key('q'))), (Pressed::Nothing, Pressed::Leave));
}

#[test]
fn a_state_is_chosen_round_and_round() {
    let mut model = Model::default();
    model.press(key('3'));
    for state in State::ALL {
        model.press(key('→'));
        assert_eq!(model.jobs.query.state, Some(state));
    }
    model.press(key('→'));
    assert_eq!(model.jobs.query.state, None);
    model.press(key('←'));
    assert_eq!(model.jobs.query.state, Some(State::ALL[State::ALL.len() - 1]));
}

#[test]
fn a_source_that_is_away_is_a_line_and_nothing_is_lost() {
    let mut model = Model::new("http://127.0.0.1:1".to_owned(), super::EVERY);
    model.take(News::Missed("ask http://127.0.0.1:1: Connection refused".to_owned()));
    let away = screen(&mut model, 80, 24);
    let line = "failed to ask http://127.0.0.1:1: Connection refused; asked again every 1";
    assert!(away.contains(line) && away.contains("1 overview"), "{away}");
    assert_eq!(model.press(key('q')), Pressed::Leave);
}
