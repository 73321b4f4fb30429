//! A dashboard for Grafana of the metrics that `dutiful serve` has of a whole fleet, by queue.

use serde_json::{Value, json};

/// Grafana's grid is so many columns wide; three panels stand beside each other.
const COLUMNS: u32 = 24;
const PANELS_IN_A_ROW: u32 = 3;
const PANEL_HEIGHT: u32 = 8;
/// The version of Grafana's format that is written here (Grafana 9 and newer read it).
const SCHEMA: u32 = 37;

/// A panel: its title, what it tells, the unit, and its queries with their legends.
type Panel = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Each server tells of the whole fleet, so of several the greatest is taken before anything is
/// added up.
const PANELS: [Panel; 9] = [
    (
        "Queue depth",
        "Jobs that are due and wait for a worker.",
        "short",
        &[(r#"max by (queue) (queue_depth{job="$job", queue=~"$queue"})"#, "{{queue}}")],
    ),
    (
        "Enqueued",
        "Jobs that were stored, each second.",
        "ops",
        &[(
            r#"sum by (queue) (max by (queue, type) (rate(jobs_enqueued_total{job="$job", queue=~"$queue"}[$__rate_interval])))"#,
            "{{queue}}",
        )],
    ),
    (
        "Completed",
        "Jobs that were completed, each second.",
        "ops",
        &[(
            r#"sum by (queue) (max by (queue, type) (rate(jobs_completed_total{job="$job", queue=~"$queue"}[$__rate_interval])))"#,
            "{{queue}}",
        )],
    ),
    (
        "Failed",
        "Attempts that failed, each second.",
        "ops",
        &[(
            r#"sum by (queue) (max by (queue, type, error_class) (rate(jobs_failed_total{job="$job", queue=~"$queue"}[$__rate_interval])))"#,
            "{{queue}}",
        )],
    ),
    (
        "Duration",
        "How long attempts ran.",
        "s",
        &[
            (
                r#"histogram_quantile(0.5, sum by (queue, le) (max by (queue, type, le) (rate(job_duration_seconds_bucket{job="$job", queue=~"$queue"}[$__rate_interval]))))"#,
                "{{queue}} p50",
            ),
            (
                r#"histogram_quantile(0.95, sum by (queue, le) (max by (queue, type, le) (rate(job_duration_seconds_bucket{job="$job", queue=~"$queue"}[$__rate_interval]))))"#,
                "{{queue}} p95",
            ),
        ],
    ),
    (
        "Latency",
        "How long jobs had been due when they began.",
        "s",
        &[
            (
                r#"histogram_quantile(0.5, max by (queue, le) (rate(job_latency_seconds_bucket{job="$job", queue=~"$queue"}[$__rate_interval])))"#,
                "{{queue}} p50",
            ),
            (
                r#"histogram_quantile(0.95, max by (queue, le) (rate(job_latency_seconds_bucket{job="$job", queue=~"$queue"}[$__rate_interval])))"#,
                "{{queue}} p95",
            ),
        ],
    ),
    (
        "Dead letters",
        "Dead jobs that wait for a person.",
        "short",
        &[(r#"max by (queue) (dead_letter_queue_size{job="$job", queue=~"$queue"})"#, "{{queue}}")],
    ),
    (
        "Stalled",
        "Leases that ran out within the interval: workers that crashed or were killed.",
        "short",
        &[(
            r#"max by (queue) (increase(jobs_stalled_total{job="$job", queue=~"$queue"}[$__rate_interval]))"#,
            "{{queue}}",
        )],
    ),
    (
        "Worker utilization",
        "What the workers of a queue run, as a part of their slots.",
        "percentunit",
        &[(
            r#"avg by (queue) (max by (queue, worker) (worker_utilization{job="$job", queue=~"$queue"}))"#,
            "{{queue}}",
        )],
    ),
];

/// Returns the dashboard, which asks for its data source when it is imported or opened.
pub(crate) fn dashboard(title: &str) -> Value {
    let panels: Vec<_> = (0..).zip(&PANELS).map(|(at, panel)| panel_json(at, panel)).collect();
    json!({
        "title": title,
        "uid": null,
        "tags": ["dutiful"],
        "editable": true,
        "schemaVersion": SCHEMA,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "timezone": "browser",
        "templating": { "list": [data_source(), variable("job", false), variable("queue", true)] },
        "panels": panels,
    })
}

fn panel_json(at: u32, (title, tells, unit, queries): &Panel) -> Value {
    let width = COLUMNS / PANELS_IN_A_ROW;
    let (x, y) = (at % PANELS_IN_A_ROW * width, at / PANELS_IN_A_ROW * PANEL_HEIGHT);
    let target = |(letter, (expr, legend)): (char, &(&str, &str))| {
        json!({
            "refId": letter.to_string(),
            "datasource": chosen(),
            "expr": expr,
            "legendFormat": legend,
        })
    };
    let targets: Vec<_> = ('A'..).zip(*queries).map(target).collect();
    json!({
        "id": at + 1,
        "type": "timeseries",
        "title": title,
        "description": tells,
        "datasource": chosen(),
        "gridPos": { "x": x, "y": y, "w": width, "h": PANEL_HEIGHT },
        "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
        "options": {
            "legend": { "displayMode": "list", "placement": "bottom" },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
    })
}

/// The data source that the viewer chose.
fn chosen() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn data_source() -> Value {
    json!({ "name": "datasource", "label": "Data source", "type": "datasource",
        "query": "prometheus", "refresh": 1 })
}

/// A label that the viewer chooses values of.
fn variable(name: &str, many: bool) -> Value {
    let asked = match name {
        "queue" => r#"label_values(queue_depth{job="$job"}, queue)"#.to_owned(),
        name => format!("label_values(queue_depth, {name})"),
    };
    json!({
        "name": name,
        "type": "query",
        "datasource": chosen(),
        "query": { "query": asked, "refId": name },
        "definition": asked,
        "refresh": 2,
        "sort": 1,
        "multi": many,
        "includeAll": many,
    })
}
