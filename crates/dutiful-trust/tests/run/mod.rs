//! Runs the compiled program as a person would, and reads its one line of JSON.

use std::process::{Command, Stdio};

use serde_json::Value;

/// Where the jobs of a campaign are kept.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    /// A new file.
    #[allow(dead_code, reason = "each test binary uses the stores that it can")]
    Sqlite,
    /// A new server.
    #[allow(dead_code, reason = "each test binary uses the stores that it can")]
    Postgres,
}

/// Makes a test of the function for each store.
#[allow(unused_macros, reason = "each test binary uses what it needs")]
macro_rules! on_each_store {
    ($promise:ident) => {
        mod sqlite {
            #[test]
            fn $promise() {
                super::$promise(crate::run::Store::Sqlite);
            }
        }
        mod postgres {
            #[test]
            fn $promise() {
                super::$promise(crate::run::Store::Postgres);
            }
        }
    };
}
#[allow(unused_imports, reason = "each test binary uses what it needs")]
pub(crate) use on_each_store;

/// Runs a campaign and returns its report.
#[track_caller]
pub(crate) fn campaign(store: Store, arguments: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    // Within it, so that ledgers and logs of a failed run go too: the seed repeats it.
    let kept = dir.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_dutiful-trust"))
        .args(arguments)
        .args(match store {
            Store::Sqlite => &[][..],
            Store::Postgres => &["--store", "postgres"],
        })
        .arg("--dir")
        .arg(&kept)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "one line on stdout: {text}\n{errors}");
    let report: Value = serde_json::from_str(&text).expect("the line is JSON");
    let clean = report["violation_count"] == 0;
    assert_eq!(output.status.success(), clean, "the exit code says the same: {report}");
    report
}

/// Fails with every violation on a line of its own.
#[track_caller]
pub(crate) fn expect_clean(report: &Value) {
    let violations = report["violations"].as_array().expect("violations is a list");
    let lines: Vec<_> = violations.iter().filter_map(Value::as_str).collect();
    assert_eq!(report["violation_count"], 0, "{}\n{report}", lines.join("\n"));
}

/// Returns a figure of the report.
#[track_caller]
pub(crate) fn figure(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} is a number in {report}"))
}
