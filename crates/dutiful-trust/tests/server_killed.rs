//! T17 and T2 in their small form: the server is killed again and again, everybody else lives on.

mod run;

#[test]
fn nothing_is_lost_nor_counted_twice_and_nobody_ends_while_the_server_is_killed() {
    let arguments = ["outage", "--seconds", "20", "--seed", "17", "--every", "2500ms"];
    let report = run::campaign(run::Store::Postgres, &arguments);
    // Says also that each process lived on, that none was told of a completion which is not on
    // record, or that one is lost which is, and that work went on within 5 s of each return.
    run::expect_clean(&report);
    assert!(run::figure(&report, "outages") >= 4, "too few outages to show anything: {report}");
    assert!(run::figure(&report, "completed") >= 1000, "too little work: {report}");
    assert!(run::figure(&report, "counted") >= 300, "too little was counted: {report}");
    assert!(run::figure(&report, "rolled_back") >= 1, "nothing was rolled back: {report}");
    assert_eq!(run::figure(&report, "counter"), run::figure(&report, "counted"));
    assert_eq!(run::figure(&report, "lost"), 0);
}
