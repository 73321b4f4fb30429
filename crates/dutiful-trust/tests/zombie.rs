//! T3 in its small form: who stood still for two leases can change nothing, and hears of it.

mod run;

run::on_each_store!(a_worker_that_stood_still_is_refused_and_told);

fn a_worker_that_stood_still_is_refused_and_told(store: run::Store) {
    let report =
        run::campaign(store, &["zombie", "--seconds", "6", "--seed", "3", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "stopped") >= 4, "too few stops to show anything: {report}");
    assert!(run::figure(&report, "stalled") >= 4, "no stop cost a lease: {report}");
    assert!(run::figure(&report, "cancelled_seen") >= 4, "nobody was cancelled: {report}");
    assert!(run::figure(&report, "self_fenced") >= 4, "nobody fenced itself: {report}");
    assert!(run::figure(&report, "refused") >= 1, "nothing was refused: {report}");
}
