//! `dutiful work`: runs the handlers that dutiful.toml declares, as commands or behind URLs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use dutiful::{Client, Report, Worker};

use crate::config::QueueConfig;
use crate::failure::{Answer, Failure};
use crate::handlers::{self, Wishes};
use crate::probes::{Answering, Probes};
use crate::settings::Settings;
use crate::{input, output, pushing};

/// The arguments of `dutiful work`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful work
  dutiful work --queue mail --slots 4
  dutiful work --until-empty --json
  dutiful work --listen 127.0.0.1:9394

dutiful.toml declares what runs:
  [handlers.send_email]       # the type
  queue = \"mail\"
  command = [\"python3\", \"send_email.py\"]
  timeout = \"30s\"             # also: max_attempts, priority, delivery, retry_base, discard_exit,
                              # snooze_exit, snooze_for, env = { KEY = \"value\" }
  [handlers.invoice]          # or a URL that each job is sent to, signed
  url = \"https://shop.example/jobs/invoice\"
  secrets_env = \"SHOP_KEYS\"   # also: secrets, discard_status, allow_private, ca_file
  [queues.mail]               # also: weight
  slots = 20
  [worker]                    # also: slots, lease, poll, crashes_max, order = \"strict\", listen,
  grace = \"25s\"             # keep_completed (7d), keep_dead (90d)

`dutiful enqueue` gives a job what stands here for its type; jobs that are stored keep what they have.

The payload comes on standard input; the environment has PATH, HOME, LANG, LC_ALL, TZ, TMPDIR, USER,
what `env` adds, and DUTIFUL_JOB_ID, _JOB_TYPE, _QUEUE, _ATTEMPT, _MAX_ATTEMPTS, _IDEMPOTENCY_KEY,
_CORRELATION_ID and TRACEPARENT. Exit code 0 is success and the last line of stdout, if JSON, the
result; codes in discard_exit give the job up; codes in snooze_exit run it again after snooze_for
(1m); any other fails the attempt with the end of stderr as the error. Lines of stderr are kept in
the job's log; \"dutiful: progress 40 resizing\" is shown as its progress. At the timeout the command
and everything it started is killed.

A job with a URL is completed when the answer is 2xx (a JSON body is the result), dead at 409, 410 and
discard_status, retried after the Retry-After of 429 and 503, and else failed. A service that fails
again and again is left alone for a while, and its jobs wait uncharged.

SIGTERM or Ctrl-C stops gracefully, a second one at once. SIGTSTP (Ctrl-Z) makes it quiet: it claims
nothing more and ends what runs; SIGCONT lets it go on.

With --listen the worker answers GET /healthz (503 when it is stuck), /readyz (503 when the store does
not answer, and from the first signal on) and /metrics (OpenMetrics, for Prometheus). Nobody is asked
for credentials, so only loopback addresses are listened on and asked for.")]
pub(crate) struct Args {
    /// End when no job of its types is left in its queues
    #[arg(long)]
    until_empty: bool,
    /// Serve only this queue; may be given again [default: all of dutiful.toml]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// Most jobs at once in this process
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// How long running jobs may go on after a stop was asked (25s)
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    grace: Option<Duration>,
    /// How long a lease lasts without renewal (30s)
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    lease: Option<Duration>,
    /// Answer /healthz, /readyz and /metrics on this loopback address, such as 127.0.0.1:9394
    #[arg(long, env = "DUTIFUL_LISTEN", value_name = "ADDRESS", hide_env_values = true)]
    listen: Option<String>,
    /// Refuse a Postgres schema that is missing or older, instead of migrating it
    #[arg(long)]
    no_migrate: bool,
}

/// Works until a signal comes, or until there is nothing left.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    if settings.config.handlers.is_empty() {
        let file = settings.config_file.display();
        return Err(Failure::usage(format!(
            "start the worker: {file} declares no handler; add [handlers.TYPE] with \
             command = [\"program\"] or url = \"https://…\""
        )));
    }
    let push = pushing::push();
    let checked = handlers::handlers(&settings, &push)?;
    let queues = handlers::queues(&args.queues, &settings)?;
    let probes = probes(&args, &settings, &queues).await?;
    let observer = probes.as_ref().map(Probes::observer);
    let client = settings.worker_client(!args.no_migrate, observer.clone()).await?;
    let keeper = handlers::keeper()?;
    let wishes = Wishes { slots: args.slots, grace: args.grace, lease: args.lease };
    let mut worker = handlers::worker(&client, &wishes, &settings, checked, &queues, &keeper)
        .until_empty(args.until_empty);
    if let Some(observer) = observer {
        worker = worker.observer(observer);
    }
    let quiet = tokio::spawn(dutiful::quiet_signals(worker.handle()));
    let answering = probes.map(|probes| probes.answer(&client));
    if let Some(answering) = &answering {
        answering.monitor.watch_push(&push);
    }
    let report = match answering {
        Some(answering) => run_answering(worker, answering, &client, &queues, settings.json).await,
        None => worker.run_until(until_signal(&client, &queues, settings.json)).await,
    };
    quiet.abort();
    keeper.stop();
    let report = report?;
    client.close().await?;
    if settings.json {
        output::json(&report)?;
    } else {
        output::line(format!(
            "{} completed, {} failed attempts, {} dead, {} released",
            report.completed, report.failed, report.dead, report.released
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Works with probes beside, which go on through the graceful stop and end with the worker.
async fn run_answering(
    worker: Worker<()>,
    answering: Answering,
    client: &Client,
    queues: &BTreeMap<String, QueueConfig>,
    json: bool,
) -> Result<Report, dutiful::Error> {
    answering.monitor.watch(worker.handle());
    let told = async {
        let address = answering.address;
        output::note(format!("/healthz, /readyz and /metrics are on http://{address}"));
        until_signal(client, queues, json).await;
    };
    let report = worker.run_until(answering.monitor.working_until(told)).await;
    answering.end().await;
    report
}

/// Says what is served (nobody asks before the worker's settings were found good), then waits.
async fn until_signal(client: &Client, queues: &BTreeMap<String, QueueConfig>, json: bool) {
    if !json {
        let names: Vec<_> = queues.keys().map(String::as_str).collect();
        let place = output::plain(&client.facts().place);
        output::note(format!("working on {} of {place}; Ctrl-C stops", names.join(", ")));
    }
    dutiful::shutdown_signal().await;
    if !json {
        output::note("stopping: running jobs may end within the grace; a second signal kills them");
    }
}

/// Takes the address for the probes, if one was asked for.
async fn probes(
    args: &Args,
    settings: &Settings,
    queues: &BTreeMap<String, QueueConfig>,
) -> Result<Option<Probes>, Failure> {
    let config = &settings.config.worker;
    let asked = args.listen.as_ref().filter(|address| !address.is_empty());
    let Some(address) = asked.or(config.listen.as_ref()) else { return Ok(None) };
    let served = handlers::served(settings, queues, args.slots);
    Probes::on(address, served, config.poll).await.map(Some)
}
