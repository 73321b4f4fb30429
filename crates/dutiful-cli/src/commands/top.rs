//! `dutiful top`: the dashboard in a terminal, of a store or of a server.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::{Answer, Failure};
use crate::input;
use crate::remote::Remote;
use crate::settings::Settings;
use crate::top::{self, Source};

/// Shortest and longest time between two looks.
const EVERY_MIN: Duration = Duration::from_millis(200);
const EVERY_MAX: Duration = Duration::from_secs(3600);

/// The arguments of `dutiful top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful top
  dutiful top --store postgres://app@localhost/shop --every 5s
  dutiful top --server http://127.0.0.1:7700
  DUTIFUL_TOKEN=dut_… dutiful top --server https://jobs.example

Pages by the keys 1 to 5: overview, queues, jobs, dead, workers. The key ? tells all others; what
changes something asks first. Colours are the terminal's own; NO_COLOR=1 uses none. A store or server
that cannot be reached is asked again; for scripts there is `dutiful stats --json`.")]
pub(crate) struct Args {
    /// Look at the server at this URL instead of a store
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The token that the server asks for (dutiful tokens create)
    #[arg(long, env = "DUTIFUL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Send the token over http:// to another machine, too
    #[arg(long, requires = "server")]
    in_clear: bool,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
    every: Duration,
}

/// Shows the pages until somebody leaves them.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    // Who takes a pipe or wants JSON is told before anything is opened.
    if settings.json || !is_terminal() {
        return Err(Failure::usage(
            "show pages: they need a terminal for input and output; dutiful stats --json prints \
             the numbers for programs, dutiful stats --watch prints them again and again",
        ));
    }
    let source = match &args.server {
        Some(server) => Source::Server(Remote::new(server, args.token.as_deref(), args.in_clear)?),
        None => Source::store(&settings.store).await?,
    };
    top::run(source, args.every).await?;
    Ok(ExitCode::SUCCESS)
}

/// A terminal that calls itself dumb can show no pages.
fn is_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !dumb
}

fn every(text: &str) -> Result<Duration, String> {
    let every = input::duration(text)?;
    if (EVERY_MIN..=EVERY_MAX).contains(&every) {
        return Ok(every);
    }
    Err(format!("{text} is not within {EVERY_MIN:?} to 1h"))
}
