//! `show`: one job with its attempts, wherever it stands.

use crate::harness::*;

promises![
    finds_a_job_in_every_state,
    an_unknown_job_is_none,
    ids_that_sort_by_no_time_are_found_too,
    looking_changes_nothing,
    its_json_has_the_names_of_the_design,
];

async fn finds_a_job_in_every_state(lab: Lab) -> Kept {
    for state in State::ALL {
        let given = Record { payload: b"[7]".to_vec(), tags: vec!["t".into()], ..job() };
        let id = lab.bring_to(state, given).await;
        let seen = lab.show(id).await;
        assert_eq!((seen.id, seen.state), (id, state));
        assert_eq!(seen.payload.map(|p| p.get().to_owned()).as_deref(), Some("[7]"), "{state}");
        assert_eq!(seen.tags, ["t"]);
        assert_eq!(seen.finished_at.is_some(), state.is_final(), "{state}");
        assert_eq!(seen.dead_reason.is_some(), state == State::Dead, "{state}");
        let ran = !matches!(state, State::Pending | State::Scheduled);
        assert_eq!(seen.attempt, u32::from(ran), "{state}");
        assert_eq!(seen.attempts.len(), usize::from(ran), "{state}");
        assert_eq!(seen.last_attempt_at.is_some(), ran, "{state}");
        let failed = matches!(state, State::Failed | State::Dead);
        assert_eq!((seen.last_error.is_some(), seen.failures), (failed, u32::from(failed)));
    }
    Ok(())
}

async fn an_unknown_job_is_none(lab: Lab) -> Kept {
    lab.put(1).await;
    assert_eq!(lab.state(JobId::new()).await, None);
    assert_eq!(lab.state(JobId::from_bytes([0; 16])).await, None);
    assert_eq!(lab.state(JobId::from_bytes([0xFF; 16])).await, None);
    Ok(())
}

async fn ids_that_sort_by_no_time_are_found_too(lab: Lab) -> Kept {
    for byte in [0, 1, 0x7F, 0x80, 0xFF] {
        let id = JobId::from_bytes([byte; 16]);
        lab.put_one(Record { id, ..job() }).await;
        assert_eq!(lab.show(id).await.id, id);
        let claimed = lab.claim_one().await;
        assert_eq!(claimed.fence.id, id);
        lab.end(&claimed, End::Completed(None)).await;
        assert_eq!(lab.state(id).await, Some(State::Completed));
    }
    Ok(())
}

async fn looking_changes_nothing(lab: Lab) -> Kept {
    let active = lab.active().await;
    let look = async || serde_json::to_string(&lab.show(active.fence.id).await).expect("JSON");
    let before = look().await;
    for _ in 0..3 {
        assert_eq!(look().await, before);
    }
    assert_eq!(lab.end(&active, End::Completed(None)).await, Held::Yes);
    Ok(())
}

async fn its_json_has_the_names_of_the_design(lab: Lab) -> Kept {
    let id = lab.in_state(State::Failed).await;
    let json = serde_json::to_value(lab.show(id).await).expect("JSON");
    let names = "id type payload queue priority created_at scheduled_for attempt failures crashes \
         max_attempts timeout_ms correlation_id trace_parent group unique_key tags delivery \
         last_attempt_at last_error state attempts";
    for name in names.split_whitespace() {
        assert!(json.get(name).is_some(), "{name} is missing in {json}");
    }
    assert_eq!(json["created_at"], "2026-11-23T18:00:00.000000Z");
    assert_eq!((&json["state"], &json["delivery"]), (&"failed".into(), &"at_least_once".into()));
    assert_eq!(json["last_error"]["class"], "Oops");
    Ok(())
}
