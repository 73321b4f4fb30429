//! `list` through the filters that look into records and errors, in pages that stay bounded.

use std::time::Duration;

use crate::harness::*;
use dutiful::EXAMINED_MAX;

promises![
    filters_by_group_tag_and_correlation_id,
    a_job_without_a_correlation_id_has_its_own,
    filters_by_the_time_of_the_enqueue,
    filters_by_the_text_of_the_last_error,
    filters_are_all_to_be_met,
    a_text_is_no_pattern,
    a_search_ends_after_so_many_rows_and_can_go_on,
    a_search_ends_with_the_patience_and_can_go_on,
];

async fn seen(lab: &Lab, filter: Filter) -> Vec<JobId> {
    let page = lab.store.list(filter).await.expect("the page is read");
    assert_eq!(page.next, None, "few jobs fit on one page");
    page.jobs.iter().map(|job| job.id).collect()
}

async fn a_search_ends_with_the_patience_and_can_go_on(lab: Lab) -> Kept {
    let wanted = lab.put_one(Record { group: Some("rare".into()), ..job() }).await;
    lab.put(2500).await;
    let hurried =
        Filter { group: Some("rare".into()), patience: Some(Duration::ZERO), ..Filter::default() };
    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = lab.store.list(Filter { before, ..hurried.clone() }).await?;
        found.extend(page.jobs.iter().map(|job| job.id));
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, [wanted], "each page goes on where the one before ended");
    assert!(pages > 2, "{pages} pages");
    let patient = Filter { patience: Some(Duration::from_secs(3600)), ..hurried };
    assert_eq!(seen(&lab, patient).await, [wanted]);
    Ok(())
}

async fn filters_by_group_tag_and_correlation_id(lab: Lab) -> Kept {
    let acme = Record {
        group: Some("acme".into()),
        tags: vec!["red".into(), "blue sky".into()],
        correlation_id: Some("req-1".into()),
        ..job()
    };
    let other = Record {
        group: Some("acme2".into()),
        tags: vec!["redder".into()],
        correlation_id: Some("req-11".into()),
        ..job()
    };
    let ids = lab.put_all(vec![acme, other, job()]).await;
    let by_group = Filter { group: Some("acme".into()), ..Filter::default() };
    assert_eq!(seen(&lab, by_group).await, [ids[0]]);
    for tag in ["red", "blue sky"] {
        let by_tag = Filter { tag: Some(tag.into()), ..Filter::default() };
        assert_eq!(seen(&lab, by_tag).await, [ids[0]], "{tag}");
    }
    let by_correlation = Filter { correlation_id: Some("req-1".into()), ..Filter::default() };
    assert_eq!(seen(&lab, by_correlation).await, [ids[0]]);
    let nobody = Filter { group: Some("ACME".into()), ..Filter::default() };
    assert!(seen(&lab, nobody).await.is_empty(), "a group is itself in every letter");
    Ok(())
}

async fn a_job_without_a_correlation_id_has_its_own(lab: Lab) -> Kept {
    let ids = lab.put(2).await;
    let child = Record { correlation_id: Some(ids[0].to_string()), ..job() };
    let child = lab.put_one(child).await;
    let family = Filter { correlation_id: Some(ids[0].to_string()), ..Filter::default() };
    assert_eq!(seen(&lab, family).await, [child, ids[0]], "with the jobs that inherited it");
    Ok(())
}

async fn filters_by_the_time_of_the_enqueue(lab: Lab) -> Kept {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(lab.put_one(job()).await);
        lab.pass(60);
    }
    let at = |minutes: u64| Some(START.plus(std::time::Duration::from_secs(60 * minutes)));
    let since = Filter { since: at(1), ..Filter::default() };
    assert_eq!(seen(&lab, since).await, [ids[2], ids[1]], "from that moment on");
    let until = Filter { until: at(1), ..Filter::default() };
    assert_eq!(seen(&lab, until).await, [ids[0]], "before that moment");
    let between = Filter { since: at(1), until: at(2), ..Filter::default() };
    assert_eq!(seen(&lab, between).await, [ids[1]]);
    Ok(())
}

async fn filters_by_the_text_of_the_last_error(lab: Lab) -> Kept {
    let dead = lab.in_state(State::Dead).await;
    let failed = lab.in_state(State::Failed).await;
    lab.put(1).await;
    for text in ["broke", "BROKE", "oops"] {
        let by_error = Filter { error: Some(text.into()), ..Filter::default() };
        assert_eq!(seen(&lab, by_error).await, [failed, dead], "{text}");
    }
    let other = Filter { error: Some("timeout".into()), ..Filter::default() };
    assert!(seen(&lab, other).await.is_empty());
    let dead_only =
        Filter { error: Some("broke".into()), state: Some(State::Dead), ..Filter::default() };
    assert_eq!(seen(&lab, dead_only).await, [dead]);
    Ok(())
}

async fn filters_are_all_to_be_met(lab: Lab) -> Kept {
    let of = |group: &str, tag: &str| Record {
        group: Some(group.into()),
        tags: vec![tag.into()],
        ..job()
    };
    let ids = lab.put_all(vec![of("a", "x"), of("a", "y"), of("b", "x")]).await;
    let both = Filter { group: Some("a".into()), tag: Some("x".into()), ..Filter::default() };
    assert_eq!(seen(&lab, both.clone()).await, [ids[0]]);
    let nobody = Filter { queue: Some(name("other")), ..both };
    assert!(seen(&lab, nobody).await.is_empty());
    Ok(())
}

async fn a_text_is_no_pattern(lab: Lab) -> Kept {
    let given = Record { group: Some("100%_a".into()), tags: vec!["a\"b,c".into()], ..job() };
    let id = lab.put_one(given).await;
    lab.put_one(Record { group: Some("100xxa".into()), tags: vec!["a".into()], ..job() }).await;
    let by_group = Filter { group: Some("100%_a".into()), ..Filter::default() };
    assert_eq!(seen(&lab, by_group).await, [id]);
    let by_tag = Filter { tag: Some("a\"b,c".into()), ..Filter::default() };
    assert_eq!(seen(&lab, by_tag).await, [id]);
    lab.in_state(State::Dead).await;
    let by_error = Filter { error: Some("%".into()), ..Filter::default() };
    assert!(seen(&lab, by_error).await.is_empty());
    Ok(())
}

async fn a_search_ends_after_so_many_rows_and_can_go_on(lab: Lab) -> Kept {
    let rare = lab.in_state(State::Cancelled).await;
    let crowd: Vec<_> = (0..EXAMINED_MAX / 1000).collect();
    for _ in crowd {
        let ids = lab.put(1000).await;
        let ask = lab.ask(1000);
        let claimed = lab.store.claim(ask).await?;
        assert_eq!(claimed.len(), ids.len());
        let ends = claimed.iter().map(|job| lab.finish(job, End::Completed(None))).collect();
        lab.store.finish(lab.worker, ends).await?;
    }
    let filter = Filter { state: Some(State::Cancelled), ..Filter::default() };
    let first = lab.store.list(filter.clone()).await?;
    assert!(first.jobs.is_empty() && first.next.is_some(), "it did not walk on");
    let second = lab.store.list(Filter { before: first.next, ..filter }).await?;
    let found: Vec<_> = second.jobs.iter().map(|job| job.id).collect();
    assert_eq!((found, second.next), (vec![rare], None));
    Ok(())
}
