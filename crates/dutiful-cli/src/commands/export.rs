//! `dutiful export`: what a monitoring system needs to know of the metrics of `dutiful serve`.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::failure::{Answer, Failure};
use crate::{grafana, input, output};

/// The rules, with thresholds still to be filled in.
const RULES: &str = include_str!("../../assets/prometheus-rules.yml");
/// Most characters of a job's name in Prometheus.
const JOB_CHARS_MAX: usize = 128;

/// The commands of `dutiful export`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print a rule file for Prometheus: alerts on the metrics of `dutiful serve`
    PrometheusRules(RulesArgs),
    /// Print a dashboard for Grafana: the same metrics by queue
    Grafana(GrafanaArgs),
}

/// The arguments of `dutiful export prometheus-rules`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful export prometheus-rules > /etc/prometheus/rules/dutiful.yml
  dutiful export prometheus-rules --max-latency 5m --max-depth 50000 | promtool check rules

Prometheus scrapes the servers of one store as one job:
  scrape_configs:
    - job_name: dutiful
      static_configs: [{ targets: [\"127.0.0.1:7700\"] }]")]
pub(crate) struct RulesArgs {
    /// The job_name under which Prometheus scrapes `dutiful serve`
    #[arg(long, value_name = "NAME", default_value = "dutiful", value_parser = job)]
    job: String,
    /// Due jobs of a queue above which it must not grow
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_depth: u64,
    /// Part of the usual completions below which a queue with due jobs must not fall
    #[arg(long, value_name = "PART", default_value_t = 0.5, value_parser = part)]
    min_completion_ratio: f64,
    /// Part of the attempts that may fail
    #[arg(long, value_name = "PART", default_value_t = 0.05, value_parser = part)]
    max_error_rate: f64,
    /// How late 95 of 100 jobs may begin
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = input::duration)]
    max_latency: Duration,
    /// How many times longer than usual 95 of 100 jobs may run
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0, value_parser = factor)]
    max_duration_ratio: f64,
    /// Part of their slots that workers may use
    #[arg(long, value_name = "PART", default_value_t = 0.9, value_parser = part)]
    max_utilization: f64,
    /// Over which time the usual is the mean
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = baseline)]
    baseline: Duration,
}

/// The arguments of `dutiful export grafana`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful export grafana > dutiful-dashboard.json
  dutiful export grafana --title 'Jobs of the shop' > /var/lib/grafana/dashboards/shop.json

Import the file under Dashboards > New > Import; the data source is chosen there.")]
pub(crate) struct GrafanaArgs {
    /// The dashboard's title
    #[arg(long, value_name = "TEXT", default_value = "Dutiful")]
    title: String,
}

#[derive(Serialize)]
struct Rules {
    rules: String,
}

/// Prints it; neither a store nor a server is needed.
pub(crate) fn run(command: Command, json: bool) -> Answer {
    match command {
        Command::PrometheusRules(args) => {
            let rules = rules(&args);
            if json { output::json(&Rules { rules })? } else { output::piece(rules).map(drop)? }
        }
        Command::Grafana(args) => {
            let dashboard = grafana::dashboard(&args.title);
            match json {
                true => output::json(&dashboard)?,
                false => output::line(pretty(&dashboard)?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pretty(dashboard: &serde_json::Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(dashboard)
        .map_err(|error| Failure::failed(format!("write the dashboard: {error}")))
}

fn rules(args: &RulesArgs) -> String {
    let values = [
        ("@JOB@", args.job.clone()),
        ("@MAX_DEPTH@", args.max_depth.to_string()),
        ("@MIN_COMPLETION_RATIO@", args.min_completion_ratio.to_string()),
        ("@MAX_ERROR_RATE@", args.max_error_rate.to_string()),
        ("@MAX_LATENCY@", args.max_latency.as_secs_f64().to_string()),
        ("@MAX_DURATION_RATIO@", args.max_duration_ratio.to_string()),
        ("@MAX_UTILIZATION@", args.max_utilization.to_string()),
        ("@BASELINE@", format!("{}m", args.baseline.as_secs() / 60)),
    ];
    values.iter().fold(RULES.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The name stands between quotation marks in rules, where nothing else may begin.
fn job(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    match !text.is_empty() && text.len() <= JOB_CHARS_MAX && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "it has 1 to {JOB_CHARS_MAX} of A-Z a-z 0-9 _ . : / -; give it the job_name of your \
             scrape_configs"
        )),
    }
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("it is a part of the whole, from 0 to 1, such as 0.05".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor >= 1.0 && factor.is_finite() => Ok(factor),
        _ => Err("it is a factor of 1 or more, such as 2".to_owned()),
    }
}

fn baseline(text: &str) -> Result<Duration, String> {
    match input::duration(text)? {
        long if long >= Duration::from_secs(3600) => Ok(long),
        _ => Err("it is an hour or more, such as 1d".to_owned()),
    }
}
