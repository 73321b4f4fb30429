//! T2 in its small form: effects in the transaction that completes the job happen exactly once.

mod run;

run::on_each_store!(a_counter_raised_by_each_job_is_the_number_of_jobs);

fn a_counter_raised_by_each_job_is_the_number_of_jobs(store: run::Store) {
    let report =
        run::campaign(store, &["counter", "--seconds", "6", "--seed", "2", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "killed") >= 8, "too few kills to show anything: {report}");
    assert!(run::figure(&report, "stopped") >= 1, "nobody stood still: {report}");
    assert!(run::figure(&report, "stalled") >= 1, "no kill hit a running job: {report}");
    assert!(run::figure(&report, "completed") >= 100, "too little work: {report}");
    assert_eq!(run::figure(&report, "counter"), run::figure(&report, "completed"));
    assert_eq!(run::figure(&report, "counted"), run::figure(&report, "completed"));
}
