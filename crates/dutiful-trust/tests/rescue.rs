//! T5 in its small form: the jobs of a killed worker run again soon, and nobody else's twice.

mod run;

run::on_each_store!(jobs_of_a_killed_worker_run_again_soon);

fn jobs_of_a_killed_worker_run_again_soon(store: run::Store) {
    let report =
        run::campaign(store, &["rescue", "--seconds", "7", "--seed", "5", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "killed") >= 2, "too few kills to show anything: {report}");
    assert!(run::figure(&report, "repeats") >= 4, "no kill hit a running job: {report}");
}
