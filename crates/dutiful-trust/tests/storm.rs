//! T1 in its small form: a storm of kills, judged by the outside ledger.

mod run;

run::on_each_store!(nothing_is_lost_while_processes_are_killed);

fn nothing_is_lost_while_processes_are_killed(store: run::Store) {
    let report =
        run::campaign(store, &["storm", "--seconds", "5", "--seed", "1", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "killed") >= 15, "too few kills to show anything: {report}");
    assert!(run::figure(&report, "completed") >= 300, "too little work: {report}");
    assert!(run::figure(&report, "stalled") >= 1, "no kill hit a running job: {report}");
    assert!(run::figure(&report, "rolled_back") >= 1, "nothing was rolled back: {report}");
    assert_eq!(run::figure(&report, "lost"), 0);
}
