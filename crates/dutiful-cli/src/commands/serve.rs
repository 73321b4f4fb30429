//! `dutiful serve`: the whole system in one process: API, dashboard, upkeep and the handlers that
//! dutiful.toml declares.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dutiful::Client;
use dutiful_server::tokens::{self, NewToken};
use dutiful_server::{NOTIFY_QUEUE, NOTIFY_SLOTS};
use tokio::sync::oneshot;

use crate::deed;
use crate::failure::{Answer, Failure};
use crate::handlers::{self, Wishes};
use crate::probes::Probes;
use crate::settings::Settings;
use crate::{access, input, notify, output, pushing};

/// Where the server listens when nobody says.
const LISTEN_DEFAULT: &str = "127.0.0.1:7700";

/// As many files as this server may want to open, if the system lets it: each connection is one.
const FILES_WANTED: u64 = 8192;

/// The arguments of `dutiful serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful serve
  dutiful serve --store postgres://app@localhost/shop
  curl -H 'Content-Type: application/json' -d '{\"type\":\"greet\",\"payload\":{}}' localhost:7700/v1/jobs

The dashboard is at http://127.0.0.1:7700, the API below /v1, its description at /openapi.json, and
/healthz, /readyz and /metrics answer as they do for a worker. Without a setting the store is the file
dutiful.db here. Handlers of dutiful.toml run in this process; `dutiful work --help` says how they are
declared. Others are registered while it runs: PUT /v1/handlers/TYPE with {\"url\": \"https://…\"}.
Workers of other languages claim their jobs over HTTP.

Without credentials everything is open, so only loopback addresses are listened on and asked for.
A token (`dutiful tokens create`), a password (`dutiful password`), a proxy that says who people are
or --auth closes the door; then any address can be listened on. Put TLS in front of it there.")]
pub(crate) struct Args {
    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:7700]
    #[arg(long, env = "DUTIFUL_LISTEN", value_name = "ADDRESS", hide_env_values = true)]
    listen: Option<String>,
    /// Ask everybody for credentials; a first token is made and told once if there is no other way
    #[arg(long)]
    auth: bool,
    /// How long running jobs may go on after a stop was asked (25s)
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    grace: Option<Duration>,
    /// Refuse a Postgres schema that is missing or older, instead of migrating it
    #[arg(long)]
    no_migrate: bool,
}

/// Serves until a signal comes.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    want_files();
    let push = Arc::new(pushing::push());
    let checked = handlers::handlers(&settings, &push)?;
    let queues = handlers::queues(&[], &settings)?;
    let config = &settings.config.worker;
    let mut options = access::options(&settings, args.auth)?;
    let keeper = handlers::keeper()?;
    options.notify = notify::targets(&settings, &keeper)?;
    pushing::registrations(&mut options.handlers, &settings, &push);
    let asked = args.listen.as_deref().filter(|address| !address.is_empty());
    let address = asked.or(settings.config.serve.listen.as_deref()).or(config.listen.as_deref());
    let address = address.unwrap_or(LISTEN_DEFAULT);
    let mut served = handlers::served(&settings, &queues, None);
    served.queues.push((dutiful_server::OWN_QUEUE.to_owned(), 1));
    served.queues.push((NOTIFY_QUEUE.to_owned(), NOTIFY_SLOTS));
    // Taken before anything else happens: an address that is in use ends the command.
    let listening = Probes::on_all(address, served, config.poll, &options).await?;
    let observer = listening.observer();
    let client = settings.worker_client(!args.no_migrate, Some(observer.clone())).await?;
    if options.access.required {
        first_token(&client).await?;
    }
    let wishes = Wishes { grace: args.grace, ..Wishes::default() };
    let worker = handlers::worker(&client, &wishes, &settings, checked, &queues, &keeper);
    let worker = dutiful_server::with_operations(worker.observer(observer.clone()));
    let worker = dutiful_server::with_notifications(worker, options.notify.clone());
    let make = handlers::registered(&client, &wishes, &settings, observer);
    let registered = dutiful_server::registered(&client, &options.handlers, make)
        .beside(worker.handle())
        .on_trouble(|sentence| output::note(output::plain(sentence)));
    let (over, until_over) = oneshot::channel::<()>();
    let registered = tokio::spawn(registered.run_until(async {
        let _ = until_over.await;
    }));
    let answering = listening.answer_all(&client, options);
    answering.monitor.watch(worker.handle());
    answering.monitor.watch_push(&push);
    let quiet = tokio::spawn(dutiful::quiet_signals(worker.handle()));
    let told = async {
        let place = output::plain(&client.facts().place);
        output::note(format!(
            "listening on http://{} for {place}; Ctrl-C stops",
            answering.address
        ));
        dutiful::shutdown_signal().await;
        output::note("stopping: running jobs may end within the grace; a second signal kills them");
        // Both stop at once, so that one grace goes for both.
        drop(over);
    };
    let report = worker.run_until(answering.monitor.working_until(told)).await;
    // A panic in there was reported where it happened, and the end goes on.
    let beside = registered.await.unwrap_or_default();
    answering.end().await;
    quiet.abort();
    keeper.stop();
    let mut report = report?;
    report += beside;
    client.close().await?;
    if settings.json {
        output::json(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where credentials are asked for and nobody has any, one token is made and told.
async fn first_token(client: &Client) -> Result<(), Failure> {
    if !tokens::list(client).await?.is_empty() {
        return Ok(());
    }
    let (name, scopes) = ("first".to_owned(), vec!["admin".to_owned()]);
    let making = async {
        let made = tokens::create(client, NewToken { name, scopes, ..NewToken::default() }).await;
        made.map_err(|error| Failure::failed(error.to_string()))
    };
    let (token, _) = deed::done(client, "tokens.create", "first", making).await?;
    output::note("there was no token yet; this one may do everything, and is not shown again:");
    output::note(token);
    Ok(())
}

/// Asks for more files than most systems give at first. The server makes do with what it gets.
fn want_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = FILES_WANTED.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
