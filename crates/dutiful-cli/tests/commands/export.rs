//! `dutiful export`: rules that fire when they must and are silent else, on metrics that exist.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::place::Place;
use crate::serve::{get_text, serving};

/// What checks rules: Prometheus's own program.
const PROMTOOL: &str = "DUTIFUL_TEST_PROMTOOL";

/// A history of some metrics, minute by minute; after so many minutes exactly these alerts fire.
/// Where nothing else is said, one server answers and its queue is empty.
type Case = (&'static str, &'static [(&'static str, &'static str)], u32, &'static [&'static str]);

const CASES: [Case; 27] = [
    ("quiet", &[], 30, &[]),
    ("deep and growing", &[("queue_depth{I}", "10001+10x40")], 30, &["DutifulQueueGrows"]),
    ("deep but shrinking", &[("queue_depth{I}", "20000-10x40")], 30, &[]),
    ("growing but not deep", &[("queue_depth{I}", "1+10x40")], 30, &[]),
    (
        "two servers that tell of the same jobs",
        &[
            ("queue_depth{job=\"dutiful\",instance=\"a\",queue=\"mail\"}", "6000+1x40"),
            ("queue_depth{job=\"dutiful\",instance=\"b\",queue=\"mail\"}", "6000+1x40"),
        ],
        30,
        &[],
    ),
    (
        "far fewer completions while jobs wait",
        &[("queue_depth{I}", "5x300"), ("jobs_completed_total{T}", "0+60x240 14400+6x60")],
        290,
        &["DutifulCompletionsDropped"],
    ),
    (
        "as many completions as ever",
        &[("queue_depth{I}", "5x300"), ("jobs_completed_total{T}", "0+60x300")],
        290,
        &[],
    ),
    (
        "far fewer completions for there is nothing to do",
        &[("queue_depth{I}", "0x300"), ("jobs_completed_total{T}", "0+60x240 14400+6x60")],
        290,
        &[],
    ),
    (
        "one in ten attempts fails",
        &[("jobs_failed_total{T}", "0+10x40"), ("jobs_completed_total{T}", "0+90x40")],
        30,
        &["DutifulJobsFail"],
    ),
    (
        "one in ten attempts fails, with one of two classes",
        &[
            ("jobs_failed_total{error_class=\"\",T}", "0x40"),
            ("jobs_failed_total{error_class=\"panic\",T}", "0+3x40"),
            ("jobs_failed_total{error_class=\"timeout\",T}", "0+3x40"),
            ("jobs_completed_total{T}", "0+94x40"),
        ],
        30,
        &["DutifulJobsFail"],
    ),
    (
        "all attempts fail",
        &[("jobs_failed_total{T}", "0+1x40"), ("jobs_completed_total{T}", "0x40")],
        30,
        &["DutifulJobsFail"],
    ),
    (
        "one in twenty-five fails",
        &[("jobs_failed_total{T}", "0+4x40"), ("jobs_completed_total{T}", "0+96x40")],
        30,
        &[],
    ),
    ("a dead job", &[("dead_letter_queue_size{I}", "1x40")], 30, &["DutifulDeadLetters"]),
    ("no dead job", &[("dead_letter_queue_size{I}", "0x40")], 30, &[]),
    (
        "jobs begin a minute late",
        &[
            ("job_latency_seconds_bucket{le=\"30\",I}", "0x40"),
            ("job_latency_seconds_bucket{le=\"60\",I}", "0+10x40"),
            ("job_latency_seconds_bucket{le=\"+Inf\",I}", "0+10x40"),
        ],
        30,
        &["DutifulJobsWait"],
    ),
    (
        "jobs begin in time",
        &[
            ("job_latency_seconds_bucket{le=\"30\",I}", "0+10x40"),
            ("job_latency_seconds_bucket{le=\"60\",I}", "0+10x40"),
            ("job_latency_seconds_bucket{le=\"+Inf\",I}", "0+10x40"),
        ],
        30,
        &[],
    ),
    (
        "jobs run ten times longer than yesterday",
        &[
            ("job_duration_seconds_bucket{le=\"1\",T}", "0+10x240 2400x60"),
            ("job_duration_seconds_bucket{le=\"10\",T}", "0+10x300"),
            ("job_duration_seconds_bucket{le=\"+Inf\",T}", "0+10x300"),
        ],
        290,
        &["DutifulJobsSlower"],
    ),
    (
        "jobs run as long as ever, with a pause in between",
        &[
            ("job_duration_seconds_bucket{le=\"1\",T}", "0x300"),
            ("job_duration_seconds_bucket{le=\"10\",T}", "0+10x120 1200x40 1200+10x140"),
            ("job_duration_seconds_bucket{le=\"+Inf\",T}", "0+10x120 1200x40 1200+10x140"),
        ],
        290,
        &[],
    ),
    (
        "scheduled jobs that nobody moves on",
        &[("dutiful_queue_overdue_seconds{I}", "0x10 0+60x40")],
        30,
        &["DutifulJobsOverdue"],
    ),
    (
        "scheduled jobs that are moved on in time",
        &[("dutiful_queue_overdue_seconds{I}", "0x5 0.2x40")],
        30,
        &[],
    ),
    (
        "workers without a free slot",
        &[
            ("worker_utilization{worker=\"w1\",I}", "1x40"),
            ("worker_utilization{worker=\"w2\",I}", "0.9x40"),
        ],
        30,
        &["DutifulWorkersBusy"],
    ),
    (
        "one of two workers is busy",
        &[
            ("worker_utilization{worker=\"w1\",I}", "1x40"),
            ("worker_utilization{worker=\"w2\",I}", "0.2x40"),
        ],
        30,
        &[],
    ),
    ("a stalled job", &[("jobs_stalled_total{I}", "0x20 1x60")], 30, &["DutifulJobsStall"]),
    ("a job that stalled long ago", &[("jobs_stalled_total{I}", "0x20 1x60")], 70, &[]),
    ("a server that is down", &[("up{I}", "0x40")], 30, &["DutifulServerDown"]),
    ("no numbers of any queue", &[("queue_depth{I}", "_x40")], 30, &["DutifulNoMetrics"]),
    (
        "another program's metrics of the same names",
        &[("queue_depth{job=\"other\",queue=\"mail\"}", "20000+10x40"), ("queue_depth{I}", "0x40")],
        30,
        &[],
    ),
];

/// Returns the cases as a file of tests for promtool. The alerts that fire are read back as series.
fn promtool_tests() -> String {
    let mut text = "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n".to_owned();
    for (what, given, minutes, fires) in CASES {
        writeln!(text, "  - name: {what}\n    interval: 1m\n    input_series:").unwrap();
        let healthy = [("up{I}", "1x300"), ("queue_depth{I}", "0x300")];
        let name = |series: &str| series.split('{').next().unwrap().to_owned();
        let unsaid = healthy
            .iter()
            .filter(|(series, _)| given.iter().all(|(said, _)| name(said) != name(series)));
        for (series, values) in given.iter().chain(unsaid) {
            let labels = "job=\"dutiful\",instance=\"a\",queue=\"mail\"";
            let series = series
                .replace("T}", "I,type=\"send\"}")
                .replace("I}", &format!("{labels}}}"))
                .replace("I,", &format!("{labels},"));
            writeln!(text, "      - series: '{series}'\n        values: '{values}'").unwrap();
        }
        writeln!(
            text,
            "    promql_expr_test:\n      - eval_time: {minutes}m\n        expr: count by \
             (alertname) (ALERTS{{alertstate=\"firing\"}})\n        exp_samples:"
        )
        .unwrap();
        for alert in fires {
            let labels = format!("'{{alertname=\"{alert}\"}}'");
            writeln!(text, "          - labels: {labels}\n            value: 1").unwrap();
        }
    }
    text
}

fn promtool(place: &Place, args: &[&str]) {
    let program = std::env::var_os(PROMTOOL).unwrap_or_else(|| "promtool".into());
    let said = "promtool is missing: ./test installs it, or set DUTIFUL_TEST_PROMTOOL to its path";
    let output = Command::new(program).args(args).current_dir(place.path("")).output().expect(said);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {text}");
}

#[test]
fn each_alert_fires_when_it_must_and_is_silent_else() {
    let place = Place::new();
    let rules = place.run(&["export", "prometheus-rules"]);
    assert_eq!((rules.code, rules.stderr.as_str()), (Some(0), ""));
    place.write("rules.yml", &rules.stdout);
    promtool(&place, &["check", "rules", "rules.yml"]);
    // Histories of hours, where they would be days.
    let short = place.run(&["export", "prometheus-rules", "--baseline=3h"]).stdout;
    place.write("rules.yml", &short);
    place.write("tests.yml", &promtool_tests());
    promtool(&place, &["test", "rules", "tests.yml"]);
    let alerts = rules.stdout.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let tested: BTreeSet<_> = CASES.iter().flat_map(|case| case.3.iter().copied()).collect();
    assert_eq!(alerts.collect::<BTreeSet<_>>(), tested, "each alert has a case in which it fires");
}

#[test]
fn thresholds_are_the_callers() {
    let place = Place::new();
    let flags = [
        "--job=shop/jobs",
        "--max-depth=7",
        "--min-completion-ratio=0.25",
        "--max-error-rate=0.5",
        "--max-latency=5m",
        "--max-duration-ratio=3.5",
        "--max-utilization=1",
        "--baseline=7d",
    ];
    let answer = place.json(&[&["export", "prometheus-rules"], &flags[..]].concat());
    let rules = answer["rules"].as_str().unwrap();
    place.write("rules.yml", rules);
    promtool(&place, &["check", "rules", "rules.yml"]);
    for part in [
        "{job=\"shop/jobs\"}) > 7\n",
        "< 0.25 * ",
        "> 0.5\n",
        "> 300\n",
        "> 3.5 * ",
        ") > 1\n",
        "[10080m] offset 1h",
    ] {
        assert!(rules.contains(part), "{part:?} is missing in {rules}");
    }
    assert!(!rules.contains('@'), "a threshold was not filled in: {rules}");
    for (flag, says) in [
        ("--job=a\"}", "job_name of your scrape_configs"),
        ("--max-error-rate=5", "from 0 to 1, such as 0.05"),
        ("--max-duration-ratio=0.5", "1 or more"),
        ("--baseline=5m", "an hour or more"),
    ] {
        place.fails(2, &["export", "prometheus-rules", flag], says);
    }
}

#[test]
fn every_metric_is_one_that_a_server_has() {
    let place = Place::with("[handlers.greet]\ncommand = [\"true\"]\n");
    let (server, address) = serving(&place, "127.0.0.1:0", "log");
    // Times are there when something took one.
    let id = place.enqueue(&["greet", "{}"]);
    get_text(&address, &format!("/v1/jobs/{id}/result?wait_ms=20000"));
    let page = get_text(&address, "/metrics");
    let rules = place.run(&["export", "prometheus-rules"]).stdout;
    let dashboard = place.run(&["export", "grafana"]).stdout.replace("\\\"", "\"");
    for (text, at_least) in [(rules, 8), (dashboard, 9)] {
        let asked = names(&text);
        assert!(asked.len() >= at_least, "{asked:?}");
        for name in asked {
            let row = format!("{name}{{");
            assert!(page.lines().any(|line| line.starts_with(&row)), "{name} is not in\n{page}");
        }
    }
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

/// Returns the names that stand before a selector of our job, but for those that the rules record
/// (they have colons) and Prometheus's own.
fn names(text: &str) -> BTreeSet<&str> {
    let before = text.match_indices("{job=").map(|(at, _)| &text[..at]);
    let name = |text: &str| {
        let part = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
        text.rfind(|c| !part(c)).map_or(0, |at| at + 1)
    };
    let names = before.map(|text| &text[name(text)..]);
    names.filter(|name| !name.contains(':') && *name != "up").collect()
}

#[test]
fn the_dashboard_has_a_query_in_every_panel_and_one_chosen_data_source() {
    let place = Place::new();
    let dashboard = place.json(&["export", "grafana", "--title", "Jobs of the \"shop\""]);
    assert_eq!(dashboard["title"], "Jobs of the \"shop\"");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "queue"]);
    assert_eq!(
        (&variables[0]["type"], &variables[0]["query"]),
        (&"datasource".into(), &"prometheus".into())
    );
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.len(), 9);
    let mut places = BTreeSet::new();
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for one in targets.iter().chain([panel]) {
            assert_eq!(one["datasource"]["uid"], "${datasource}", "{panel}");
        }
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            assert!(expr.contains("queue=~\"$queue\"") && expr.contains("by (queue"), "{expr}");
        }
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{panel}");
        assert!(places.insert((number("x"), number("y"))), "two panels in one place: {panel}");
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    assert!(variables.iter().skip(1).all(known), "{variables:?}");
}

fn known(variable: &Value) -> bool {
    variable["datasource"]["uid"] == "${datasource}"
}
