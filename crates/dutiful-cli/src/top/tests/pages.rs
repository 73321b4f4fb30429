//! What each page shows of real data, whether it comes from a store or from a server.

use super::{Site, mail, screen, until};

super::promises!(
    the_overview_counts_warns_and_measures,
    queues_lead_to_their_jobs,
    jobs_are_filtered_by_state_type_and_queue,
    a_job_is_shown_with_its_attempts_log_and_payload,
    the_dead_are_grouped_by_what_they_died_of,
    workers_are_shown_with_what_they_serve,
    more_jobs_than_a_page_are_turned_over,
);

fn says(screen: &str, words: &[&str]) {
    for word in words {
        assert!(screen.contains(word), "{word:?} is missing in\n{screen}");
    }
}

async fn the_overview_counts_warns_and_measures(site: &Site) {
    let mut model = site.model();
    says(&screen(&mut model, 80, 24), &["looking …", "1 overview", "? help"]);
    site.look(&mut model).await;
    let first = screen(&mut model, 80, 24);
    says(&first, &["pending", "4 dead", "oldest pending", "in later", "report", "waited p50 –"]);
    mail(&site.client, "{\"full\":9}").await;
    until(async || {
        site.look(&mut model).await;
        model.stats.as_ref().is_some_and(|stats| stats.totals.dead == 5)
    })
    .await;
    let rates: Vec<_> = model.history.columns().collect();
    assert!(rates.iter().any(|one| one.enqueued > 0.0), "{rates:?}");
    assert!(rates.iter().any(|one| one.failed > 0.0), "{rates:?}");
    let then = screen(&mut model, 80, 24);
    says(&then, &["enqueued", "completed", "failed", "/s", "ran p50 ≤", "waited p50 ≤"]);
}

async fn queues_lead_to_their_jobs(site: &Site) {
    let mut model = site.model();
    let queues = site.press(&mut model, "2").await;
    says(&queues, &["later", "mail", "pending", "oldest"]);
    let jobs = site.press(&mut model, "⏎").await;
    says(&jobs, &["queue=later", "report", "pending"]);
    assert!(!jobs.contains("send_email"), "{jobs}");
}

async fn jobs_are_filtered_by_state_type_and_queue(site: &Site) {
    let mut model = site.model();
    let all = site.press(&mut model, "3").await;
    says(&all, &["any", "send_email", "report", "SmtpError: mailbox"]);
    let pending = site.press(&mut model, "→→").await;
    says(&pending, &["report"]);
    assert!(!pending.contains("send_email"), "{pending}");
    let typed = site.press(&mut model, "←←/queue=mail error=is full⏎").await;
    assert_eq!(typed.matches("send_email").count(), 3, "{typed}");
    let keys = format!("/{}a/b⏎", "⌫".repeat(40));
    let slip = site.press(&mut model, &keys).await;
    says(&slip, &["a/b"]);
    assert!(model.dialog.is_some(), "what is wrong can be mended");
    let none = site.press(&mut model, "⎋/ type=none⏎").await;
    says(&none, &["no such jobs"]);
}

async fn a_job_is_shown_with_its_attempts_log_and_payload(site: &Site) {
    let mut model = site.model();
    let job = site.press(&mut model, "3→→→→⏎").await;
    says(&job, &["completed", "attempts", "1 completed after", "on host-7", "a mail", "█"]);
    says(&job, &["\"sum\": 1.50", "\"to\": \"ann@example.com\"", "priority 10"]);
    let listed = site.press(&mut model, "⎋").await;
    says(&listed, &["send_email", "completed"]);
    let id = model.jobs.chosen().unwrap().id;
    site.press(&mut model, "⏎").await;
    site.client.delete(id).await.unwrap();
    says(&site.press(&mut model, "u").await, &["deleted", "ann@example.com"]);
}

async fn the_dead_are_grouped_by_what_they_died_of(site: &Site) {
    let mut model = site.model();
    let groups = site.press(&mut model, "4").await;
    says(&groups, &["4 dead jobs, by cause: 2", "SmtpError", "mailbox # is full"]);
    let inside = site.press(&mut model, "⏎").await;
    assert_eq!(inside.matches("SmtpError: mailbox").count(), 4, "a heading and three: {inside}");
    let job = site.press(&mut model, "⏎").await;
    says(&job, &["dead because", "exhausted", "\"full\""]);
    says(&site.press(&mut model, "⎋⎋").await, &["by cause: 2"]);
}

async fn workers_are_shown_with_what_they_serve(site: &Site) {
    let mut model = site.model();
    let workers = site.press(&mut model, "5").await;
    says(&workers, &["host-7", "alive", "0/3", "mail:3", "send_email"]);
}

async fn more_jobs_than_a_page_are_turned_over(site: &Site) {
    for _ in 0..super::super::source::PAGE_ROWS {
        site.client.enqueue_raw("many", "{}").queue("later").await.unwrap();
    }
    let mut model = site.model();
    site.press(&mut model, "3").await;
    let older = site.press(&mut model, "n").await;
    says(&older, &["page 2", "report", "send_email"]);
    let newest = site.press(&mut model, "bG").await;
    says(&newest, &["many"]);
    assert!(!newest.contains("report"), "{newest}");
    assert_eq!(model.jobs.choice.at, super::super::source::PAGE_ROWS - 1);
    let chosen = model.jobs.chosen().unwrap().id;
    site.client.enqueue_raw("one_more", "{}").queue("later").await.unwrap();
    site.press(&mut model, "k").await;
    site.press(&mut model, "ku").await;
    assert_ne!(model.jobs.chosen().unwrap().id, chosen, "rows came and went");
}
