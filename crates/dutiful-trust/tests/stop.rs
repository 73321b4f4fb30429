//! T38 in its small form: a worker that is asked to end gives back what it cannot finish.

mod run;

run::on_each_store!(workers_end_in_time_and_give_back_what_they_hold);

fn workers_end_in_time_and_give_back_what_they_hold(store: run::Store) {
    let report =
        run::campaign(store, &["stop", "--seconds", "8", "--seed", "4", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "ended") >= 8, "too few ends to show anything: {report}");
    assert!(run::figure(&report, "released") >= 8, "nothing was given back: {report}");
    assert!(run::figure(&report, "killed") >= 1, "nobody got a second SIGTERM: {report}");
}
