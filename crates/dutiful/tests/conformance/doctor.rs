//! `doctor`: what is wrong is found, and what is well is not complained about.

use dutiful::{Finding, Verdict};

use crate::harness::*;

promises![
    a_sound_store_with_a_worker_has_nothing_bad,
    a_full_look_counts_the_places_of_each_job,
    a_time_far_ahead_is_found,
    a_lease_that_nobody_rescues_is_found,
    a_worker_that_fell_silent_with_leases_is_found,
    workers_without_a_leader_are_found,
    a_type_that_nobody_serves_is_found,
    a_queue_that_nobody_serves_is_found,
];

/// What a server for tests is set to, and who else uses it, is not the store's doing.
const OF_SERVER: [&str; 8] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "autovacuum",
    "wraparound",
    "connections",
    "snapshot",
    "slots",
];

async fn look(lab: &Lab, check: &str) -> Finding {
    let all = lab.store.doctor(false).await.expect("the look is answered");
    let found = all.into_iter().find(|one| one.check == check);
    let found = found.unwrap_or_else(|| panic!("nothing was said about {check}"));
    assert_eq!(found.advice.is_none(), found.verdict == Verdict::Ok, "{found:?}");
    found
}

async fn work(lab: &Lab) {
    let types = vec![TypeDefaults::unknown(name("task"))];
    let queues = vec![(name("default"), 10)];
    let card = WorkerCard {
        pid: std::process::id(),
        worker: lab.worker,
        name: "host:1".into(),
        queues,
        types,
        quiet: false,
    };
    lab.store.register(card).await.expect("it is written");
}

async fn a_sound_store_with_a_worker_has_nothing_bad(lab: Lab) -> Kept {
    work(&lab).await;
    lab.term().await;
    lab.put(3).await;
    lab.claim_one().await;
    let found = lab.client.doctor(false).await?;
    for one in &found {
        // What this machine's disk is like is not the store's doing.
        let of_disk = ["disk", "file_system"].contains(&one.check);
        let of_memory = lab.name == "memory" && one.check == "durability";
        let of_server = lab.on_postgres() && OF_SERVER.contains(&one.check);
        assert!(one.verdict == Verdict::Ok || of_disk || of_memory || of_server, "{one:?}");
    }
    let own: &[_] = match lab.on_postgres() {
        true => &["functions", "grants", "unlogged", "partitions", "pooler"],
        false => &["durability", "file_system", "integrity"],
    };
    for check in ["library", "schema", "clock"].iter().chain(own) {
        assert!(found.iter().any(|one| one.check == *check), "nothing was said about {check}");
    }
    Ok(())
}

async fn a_full_look_counts_the_places_of_each_job(lab: Lab) -> Kept {
    for state in State::ALL {
        lab.in_state(state).await;
    }
    let found = lab.store.doctor(true).await?;
    let places = found.iter().find(|one| one.check == "places").expect("they are counted");
    assert_eq!(places.verdict, Verdict::Ok, "{places:?}");
    if lab.on_postgres() {
        skip!(lab, "a server checks its pages itself");
    }
    let whole = found.iter().find(|one| one.check == "integrity").expect("it is checked");
    assert!(whole.value.contains("integrity_check"), "{whole:?}");
    Ok(())
}

async fn a_time_far_ahead_is_found(lab: Lab) -> Kept {
    lab.put(1).await;
    assert_eq!(look(&lab, "clock").await.verdict, Verdict::Ok);
    lab.clock.set(START.minus(std::time::Duration::from_secs(61)));
    let found = look(&lab, "clock").await;
    assert_eq!(found.verdict, Verdict::Warning);
    assert!(found.value.contains("61 s ahead"), "{found:?}");
    Ok(())
}

async fn a_lease_that_nobody_rescues_is_found(lab: Lab) -> Kept {
    lab.active().await;
    lab.pass(90);
    assert_eq!(look(&lab, "stalled").await.verdict, Verdict::Ok, "its rescue is not late yet");
    lab.pass(1);
    assert_eq!(look(&lab, "stalled").await.verdict, Verdict::Warning, "no worker runs");
    work(&lab).await;
    assert_eq!(look(&lab, "stalled").await.verdict, Verdict::Bad, "one runs and does not rescue");
    lab.rescue(3).await;
    assert_eq!(look(&lab, "stalled").await.verdict, Verdict::Ok);
    Ok(())
}

async fn a_worker_that_fell_silent_with_leases_is_found(lab: Lab) -> Kept {
    work(&lab).await;
    lab.active().await;
    assert_eq!(look(&lab, "workers").await.verdict, Verdict::Ok);
    lab.pass(61);
    let found = look(&lab, "workers").await;
    assert_eq!(found.verdict, Verdict::Warning);
    assert!(found.value.contains("1 silent with 1 leases"), "{found:?}");
    lab.store.leave(lab.worker).await?;
    assert_eq!(look(&lab, "workers").await.verdict, Verdict::Ok);
    Ok(())
}

async fn workers_without_a_leader_are_found(lab: Lab) -> Kept {
    assert_eq!(look(&lab, "leader").await.verdict, Verdict::Ok, "nobody works");
    work(&lab).await;
    assert_eq!(look(&lab, "leader").await.verdict, Verdict::Warning);
    lab.term().await;
    assert_eq!(look(&lab, "leader").await.verdict, Verdict::Ok);
    lab.pass(11);
    assert_eq!(look(&lab, "leader").await.verdict, Verdict::Warning, "its term is over");
    Ok(())
}

async fn a_type_that_nobody_serves_is_found(lab: Lab) -> Kept {
    lab.put(1).await;
    let found = look(&lab, "types").await;
    assert_eq!(found.verdict, Verdict::Warning);
    assert!(found.value.contains("task"), "{found:?}");
    work(&lab).await;
    assert_eq!(look(&lab, "types").await.verdict, Verdict::Ok);
    Ok(())
}

async fn a_queue_that_nobody_serves_is_found(lab: Lab) -> Kept {
    lab.put(2).await;
    lab.client.enqueue_raw("task", "1").queue("mail").await?;
    lab.client.enqueue_raw("task", "1").queue("reports").await?;
    assert_eq!(look(&lab, "queues").await.verdict, Verdict::Ok, "nobody works");
    work(&lab).await;
    let found = look(&lab, "queues").await;
    assert_eq!(found.verdict, Verdict::Warning);
    assert!(found.value.contains("nobody serves mail, reports,"), "{found:?}");
    assert_eq!(look(&lab, "types").await.verdict, Verdict::Ok, "the type is served");
    Ok(())
}
