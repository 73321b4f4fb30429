//! T17 in its small form: the server is killed again and again, and everybody else lives on.

mod run;

#[test]
fn nothing_is_lost_and_nobody_ends_while_the_server_is_killed() {
    let arguments = ["outage", "--seconds", "18", "--seed", "17", "--every", "3s"];
    let report = run::campaign(run::Store::Postgres, &arguments);
    // Says also that each process lived on, that none was told of a completion which is not on
    // record, or that one is lost which is, and that work went on within 5 s of each return.
    run::expect_clean(&report);
    assert!(run::figure(&report, "outages") >= 4, "too few outages to show anything: {report}");
    assert!(run::figure(&report, "completed") >= 1000, "too little work: {report}");
    assert_eq!(run::figure(&report, "lost"), 0);
}
