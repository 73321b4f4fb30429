//! However a test process ends, its servers end after it, and their folders with them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dutiful_fixture::{Mode, PgBouncer, Postgres, Version};

/// A keeper that has not cleaned up by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_killed_test_process_leaves_nothing_behind() {
    let (mut holder, pid, folders) = start_holder();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_gone(pid, &folders);
}

#[test]
fn a_shared_server_ends_with_its_process() {
    let (mut holder, pid, folders) = start_holder();
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert_gone(pid, &folders);
}

#[test]
#[ignore = "the process that the tests of this file start and end"]
fn holds_servers_until_stdin_ends() {
    let server = Postgres::shared(Version::System).unwrap();
    let pooler = PgBouncer::start(server, Mode::Transaction).unwrap();
    let data = server.psql("postgres", "SHOW data_directory").unwrap();
    let pid = server.pid().unwrap();
    writeln!(std::io::stderr(), "holding {pid} {data} {}", pooler.port()).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Starts this file's program in a temporary folder of its own, and waits until it has servers.
fn start_holder() -> (Child, u32, tempfile::TempDir) {
    let folders = tempfile::tempdir().unwrap();
    let mut permissions = std::fs::metadata(folders.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o711);
    std::fs::set_permissions(folders.path(), permissions).unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_servers_until_stdin_ends", "--ignored", "--nocapture"])
        .env("TMPDIR", folders.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(holder.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = said.find(|line| line.starts_with("holding "));
    let said = said.expect("the process holds servers and says so");
    let words: Vec<_> = said.split(' ').collect();
    assert!(words[2].starts_with(folders.path().to_str().unwrap()), "{said}");
    assert_eq!(std::fs::read_dir(folders.path()).unwrap().count(), 2, "a server and a pooler");
    (holder, words[1].parse().unwrap(), folders)
}

fn assert_gone(pid: u32, folders: &tempfile::TempDir) {
    let began = Instant::now();
    let left = || std::fs::read_dir(folders.path()).unwrap().count();
    while left() > 0 || Path::new(&format!("/proc/{pid}")).exists() {
        assert!(began.elapsed() < PATIENCE, "process {pid} or {} folders are left", left());
        std::thread::sleep(Duration::from_millis(10));
    }
}
