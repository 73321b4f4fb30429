//! T5 in its small form: the jobs of a killed worker run again soon, and nobody else's twice.

mod run;

#[test]
fn jobs_of_a_killed_worker_run_again_soon() {
    let report = run::campaign(&["rescue", "--seconds", "7", "--seed", "5", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "killed") >= 2, "too few kills to show anything: {report}");
    assert!(run::figure(&report, "repeats") >= 4, "no kill hit a running job: {report}");
}
