//! `dutiful alerts` and `dutiful alerts ack`: what fires now, and who knows of it.

use std::process::ExitCode;

use dutiful_server::alerts::{
    self, AcknowledgeError, Alert, AlertOptions, Alerts, Severity, State,
};
use dutiful_server::try_notifications;
use serde::Serialize;

use crate::deed;
use crate::failure::{Answer, Failure};
use crate::settings::Settings;
use crate::{handlers, notify, output};

/// The exit code when something critical fires.
const CRITICAL: u8 = 2;

/// The arguments of `dutiful alerts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A server (`dutiful serve`) looks every ten seconds; this shows what it found. Where no server looked
within a minute, this looks once itself: then rules that compare times are missing, and no condition
had to hold for a while.

Exit code 2 when something critical fires, acknowledged or not.

Examples:
  dutiful alerts
  dutiful alerts --json | jq '.alerts[] | select(.state == \"firing\").summary'
  dutiful alerts ack dead:mail")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say that you know of a firing alert
    #[command(after_help = "\
Dead jobs are no alert any more then, until others die. Any other alert goes on until its condition
is gone.

Example:
  dutiful alerts ack dead:mail")]
    Ack {
        /// The alert, as `dutiful alerts` names it
        id: String,
    },
    /// Tell every [[alerts.notify]] of dutiful.toml that this is a test
    #[command(after_help = "\
Each is told at once from here, whatever it wants to hear of. Exit code 1 when one could not be.

Example:
  dutiful alerts test")]
    Test,
}

#[derive(Serialize)]
struct Listing {
    #[serde(flatten)]
    alerts: Alerts,
    at_once: bool,
}

/// Shows what fires, or acknowledges it.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let options = settings.config.alerts.options();
    let options = options
        .map_err(|why| Failure::usage(format!("read {}: {why}", settings.config_file.display())))?;
    if matches!(args.command, Some(Command::Test)) {
        return test(&settings).await;
    }
    let client = settings.existing().await?;
    let code = match args.command {
        Some(Command::Ack { id }) => acknowledge(&client, &options, &id, settings.json).await?,
        _ => show(&client, &options, settings.json).await?,
    };
    client.close().await?;
    Ok(code)
}

async fn show(client: &dutiful::Client, options: &AlertOptions, json: bool) -> Answer {
    let seen = alerts::read(client, options).await.map_err(dutiful::Error::from)?;
    let worst = seen.alerts.worst();
    if json {
        output::json(&Listing { alerts: seen.alerts, at_once: seen.at_once })?;
    } else {
        if seen.at_once {
            output::note(
                "no server looked within a minute (`dutiful serve` does): this is what one look \
                 tells",
            );
        }
        print(&seen.alerts.alerts)?;
    }
    Ok(match worst {
        Some(Severity::Critical) => ExitCode::from(CRITICAL),
        _ => ExitCode::SUCCESS,
    })
}

async fn acknowledge(
    client: &dutiful::Client,
    options: &AlertOptions,
    id: &str,
    json: bool,
) -> Answer {
    let who = deed::who();
    let doing = async { alerts::acknowledge(client, options, id, &who).await.map_err(refused) };
    let alert = deed::done(client, "alerts.acknowledge", id, doing).await?;
    match (json, alert.state) {
        (true, _) => output::json(&alert)?,
        (false, State::Resolved) => {
            output::line(format!("{id} is acknowledged, and fires again when others die"))?;
        }
        (false, _) => output::line(format!("{id} is acknowledged"))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Tested {
    target: String,
    told: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Tests {
    targets: Vec<Tested>,
}

async fn test(settings: &Settings) -> Answer {
    let keeper = handlers::keeper()?;
    let targets = notify::targets(settings, &keeper)?;
    let went = try_notifications(&targets).await;
    keeper.stop();
    if went.is_empty() {
        let file = settings.config_file.display();
        let sentence = format!("tell anybody: {file} has no [[alerts.notify]]; add one");
        return Err(Failure::usage(sentence));
    }
    let targets = went.into_iter().map(|(target, sent)| {
        let error = sent.err().map(|error| error.failure().message.clone());
        Tested { target, told: error.is_none(), error }
    });
    let tests = Tests { targets: targets.collect() };
    let all = tests.targets.iter().all(|one| one.told);
    if settings.json {
        output::json(&tests)?;
    } else {
        for one in &tests.targets {
            let went = one.error.as_ref().map_or("told".to_owned(), |why| format!("failed: {why}"));
            output::line(format!("{}: {}", output::plain(&one.target), output::plain(&went)))?;
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn refused(error: AcknowledgeError) -> Failure {
    match error {
        AcknowledgeError::Store(error) => dutiful::Error::from(error).into(),
        error => Failure::failed(error.to_string()),
    }
}

fn print(alerts: &[Alert]) -> Result<(), Failure> {
    let firing = alerts.iter().filter(|one| one.state == State::Firing);
    if firing.clone().next().is_none() {
        output::line("nothing fires")?;
    }
    if alerts.is_empty() {
        return Ok(());
    }
    let mut table = output::table(["alert", "state", "severity", "since", "what"]);
    for one in alerts {
        let known = one.acknowledged.as_ref();
        let known = known.map_or_else(String::new, |one| format!(" (known to {})", one.by));
        let since = one.since.to_string();
        table.add_row([
            output::plain(&one.id),
            format!("{}{}", one.state.as_str(), output::plain(&known)),
            one.severity.as_str().to_owned(),
            since.split('.').next().unwrap_or(&since).replace('T', " "),
            output::plain(&one.summary),
        ]);
    }
    output::line(table)?;
    for one in firing {
        output::line(format!("{}: {}", output::plain(&one.id), output::plain(&one.advice)))?;
    }
    Ok(())
}
