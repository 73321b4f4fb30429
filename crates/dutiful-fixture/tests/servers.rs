//! What tests may rely on: servers that are private, survive what they promise, and leave nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use dutiful_fixture::{Mode, Options, PgBouncer, Postgres, Version};

const VERSIONS: [Version; 2] = [Version::System, Version::V18];

#[test]
fn each_version_answers_on_loopback_alone() {
    for version in VERSIONS {
        let server = Postgres::shared(version).unwrap();
        let shown = server.psql("postgres", "SHOW server_version; SHOW listen_addresses;");
        let shown = shown.unwrap();
        let (number, addresses) = shown.split_once('\n').unwrap();
        let major: u32 = number.split('.').next().unwrap().parse().unwrap();
        assert!(if version == Version::V18 { major == 18 } else { major >= 15 }, "{number}");
        assert_eq!(addresses, "127.0.0.1");
        assert_eq!(server.psql("postgres", "SHOW unix_socket_directories").unwrap(), "");
    }
}

#[test]
fn a_fresh_database_is_nobody_elses() {
    let server = Postgres::shared(Version::System).unwrap();
    let (one, two) = (server.fresh_database().unwrap(), server.fresh_database().unwrap());
    assert_ne!(one, two);
    let name = one.rsplit('/').next().unwrap();
    server.psql(name, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)").unwrap();
    assert_eq!(server.psql(name, "SELECT n, n + 1 FROM t ORDER BY n").unwrap(), "1|2\n2|3");
    let other = two.rsplit('/').next().unwrap();
    let error = server.psql(other, "SELECT 1 FROM t; SELECT 2").unwrap_err().to_string();
    assert!(error.contains("relation \"t\" does not exist"), "{error}");
    assert!(server.create_database(name).is_err(), "the name is taken");
    assert!(server.log().contains("does not exist"), "{}", server.log());
}

#[test]
fn what_was_committed_survives_kill_9_on_the_same_port() {
    for version in VERSIONS {
        let server = Postgres::start(&Options { version, ..Options::default() }).unwrap();
        server.psql("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
        let (pid, url) = (server.pid().unwrap(), server.url("postgres"));
        server.kill_9().unwrap();
        assert_eq!(server.pid(), None);
        assert!(!lives(pid));
        assert!(server.psql("postgres", "SELECT 1").is_err());
        server.restart().unwrap();
        assert_eq!(server.psql("postgres", "SELECT n FROM t").unwrap(), "7");
        assert_ne!(server.pid(), Some(pid));
        server.stop_immediate().unwrap();
        server.restart().unwrap();
        assert_eq!(server.psql("postgres", "SELECT n FROM t").unwrap(), "7");
        server.restart().unwrap();
        assert_eq!(server.psql("postgres", "SELECT n FROM t").unwrap(), "7");
        assert_eq!(server.url("postgres"), url);
        assert_eq!(server.log().matches("automatic recovery in progress").count(), 2);
    }
}

#[test]
fn settings_are_the_tests_own() {
    let settings = vec![("deadlock_timeout".to_owned(), "123ms".to_owned())];
    let options = Options { fsync: true, settings, ..Options::default() };
    let server = Postgres::start(&options).unwrap();
    assert_eq!(server.psql("postgres", "SHOW fsync; SHOW deadlock_timeout").unwrap(), "on\n123ms");
    let shared = Postgres::shared(Version::System).unwrap();
    assert_eq!(shared.psql("postgres", "SHOW fsync; SHOW deadlock_timeout").unwrap(), "off\n1s");
    assert_ne!(shared.port(), server.port());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let settings = vec![("shared_buffers".to_owned(), "plenty".to_owned())];
    let options = Options { settings, ..Options::default() };
    let error = Postgres::start(&options).unwrap_err().to_string();
    assert!(error.contains("plenty"), "{error}");
}

#[test]
fn poolers_lend_connections_as_their_mode_says() {
    let server = Postgres::shared(Version::System).unwrap();
    for mode in [Mode::Session, Mode::Transaction, Mode::Statement] {
        let pooler = PgBouncer::start(server, mode).unwrap();
        let transaction = "BEGIN; SELECT 5; COMMIT;";
        let answer = server.psql(&pooler.url("postgres"), transaction);
        if mode == Mode::Statement {
            assert!(answer.is_err(), "transactions of several statements are refused");
        } else {
            assert_eq!(answer.unwrap(), "5", "{}", pooler.log());
        }
        assert_eq!(server.psql(&pooler.url("postgres"), "SELECT 6").unwrap(), "6");
    }
}

#[test]
fn a_dropped_server_leaves_no_process_folder_or_memory() {
    let server = Postgres::start(&Options::default()).unwrap();
    let folder = server.psql("postgres", "SHOW data_directory").unwrap();
    let pid = server.pid().unwrap();
    drop(server);
    assert!(!lives(pid));
    assert!(!Path::new(&folder).parent().unwrap().exists());

    let killed = Postgres::start(&Options::default()).unwrap();
    let folder = killed.psql("postgres", "SHOW data_directory").unwrap();
    let lock_file = std::fs::read_to_string(format!("{folder}/postmaster.pid")).unwrap();
    let memory = lock_file.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let segment = || {
        let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        all.lines().any(|line| line.split_whitespace().nth(1) == Some(memory.as_str()))
    };
    assert!(segment());
    killed.kill_9().unwrap();
    drop(killed);
    assert!(!segment());
    assert!(!Path::new(&folder).exists());
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
