//! The `dutiful` command: one sentence on stderr when it fails; exit 0 fine, 1 failed, 2 usage.

mod access;
mod alerts;
mod batch;
mod bench;
mod cli;
mod commands;
mod config;
mod deed;
mod demo;
mod failure;
mod grafana;
mod handlers;
mod input;
mod log;
mod notify;
mod output;
mod probes;
mod process;
mod pushing;
mod remote;
mod settings;
mod top;
mod traces;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let traces = traces::start(&cli.command);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::Failure::failed(format!("start: {error}")).report(),
    };
    let answer = runtime.block_on(commands::run(cli));
    // A thread that waits for standard input must not keep the process alive.
    runtime.shutdown_background();
    let code = answer.unwrap_or_else(|failure| failure.report());
    traces.end();
    code
}
