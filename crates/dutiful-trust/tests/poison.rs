//! T7 in its small form: a job that kills who runs it does so three times, and harms nobody else.

mod run;

run::on_each_store!(a_job_that_kills_is_quarantined_after_three_deaths_and_its_neighbours_are_done);

fn a_job_that_kills_is_quarantined_after_three_deaths_and_its_neighbours_are_done(
    store: run::Store,
) {
    let report =
        run::campaign(store, &["poison", "--seconds", "6", "--seed", "6", "--lease", "1500ms"]);
    run::expect_clean(&report);
    assert!(run::figure(&report, "poison_jobs") >= 2, "no poison: {report}");
    let killed = run::figure(&report, "crashed");
    assert_eq!(killed, run::figure(&report, "poison_jobs") * 3, "{report}");
    assert!(run::figure(&report, "completed") >= 100, "too little work: {report}");
    assert!(run::figure(&report, "neighbour_stalls_max") >= 1, "no neighbour was hit: {report}");
}
