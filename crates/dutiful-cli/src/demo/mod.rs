//! `dutiful demo`: a small shop on an embedded store, with a real crash in the middle.

mod closing;
mod crash;
mod crew;
mod home;
mod jobs;
mod judge;
mod ledger;
mod mail;
#[cfg(test)]
mod paint;
mod pictures;
mod screen;
mod shop;
pub(crate) mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dutiful::Client;

use self::crash::Crash;
use self::crew::Crew;
use self::home::Home;
use self::judge::Verdict;
use self::ledger::Ledger;
use self::mail::Receiver;
use self::screen::{Progress, Screen};
use self::shop::Sale;
use crate::failure::{Answer, Failure};
use crate::output;
use crate::settings::Settings;

/// How often the numbers are read.
const TICK: Duration = Duration::from_millis(60);
/// When nothing has moved for this long, nothing will.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);
/// What shells say of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The arguments of `dutiful demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dutiful demo
  dutiful demo --orders 1000 --workers 4
  dutiful demo --images ~/Pictures --dir shop
  dutiful demo --no-kill --json

Each order commits together with three jobs: a confirmation mail, a stock change and a picture to
resize; the last one brings a monthly report too. Worker processes run them, one is killed in the
middle, and at the end a ledger kept outside the store is compared with what is there. The demo
always makes a store of its own; --store is not used. Exit code 1 if anything was lost, done twice
or left unfinished.")]
pub(crate) struct Args {
    /// How many orders the shop takes
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    orders: u64,
    /// How many worker processes run
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16))]
    workers: u64,
    /// Kill a worker by SIGKILL in the middle (the default)
    #[arg(long, overrides_with = "no_kill")]
    kill: bool,
    /// Let all workers live
    #[arg(long, overrides_with = "kill")]
    no_kill: bool,
    /// Resize the .png and .jpg files of this directory, not the bundled ones
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Keep the shop, its pictures and its ledgers in this new or empty directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the demo.
pub(crate) async fn run(args: Args, settings: Settings) -> Answer {
    let began = Instant::now();
    let own = args.images.as_deref().map(pictures::in_directory).transpose()?;
    let home = Home::make(args.dir.as_deref())?;
    let pictures = own.map_or_else(|| pictures::unpack(&home), Ok)?;
    let mut crew = Crew::new(&home);
    let screen = Screen::open(settings.json, args.orders);

    let verdict = tokio::select! {
        biased;
        () = dutiful::shutdown_signal() => None,
        verdict = play(&args, &home, pictures, &mut crew, &screen) => Some(verdict),
    };
    let Some(verdict) = verdict else {
        screen.freeze();
        crew.dismiss().await;
        output::note("stopped: the workers have ended, and what was temporary is gone");
        return Ok(ExitCode::from(INTERRUPTED));
    };

    crew.dismiss().await;
    screen.close();
    let (verdict, seconds) = (verdict?, began.elapsed().as_secs_f64());
    if settings.json {
        closing::json(&verdict, args.orders, seconds)?;
    } else {
        closing::people(&verdict, &home, seconds)?;
    }
    Ok(if verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the shop, watches until every job has ended, and asks the judge.
async fn play(
    args: &Args,
    home: &Home,
    pictures: Vec<PathBuf>,
    crew: &mut Crew,
    screen: &Screen,
) -> Result<Verdict, Failure> {
    let client = Client::connect(&home.store_url()).await?;
    shop::furnish(&home.database(), args.orders)?;
    let receiver = open_mail(home).await?;
    crew.hand_mail_to(receiver.address);
    for _ in 0..args.workers {
        crew.hire()?;
    }
    screen.say(format!(
        "The shop opens: {} orders come in, each commits together with its 3 jobs; {} them.",
        args.orders,
        if args.workers == 1 {
            "1 worker runs".into()
        } else {
            format!("{} workers run", args.workers)
        }
    ));
    let mut sale = Sale::begin(client.clone(), home, pictures, args.orders)?;
    let crash = watch(args, &client, &mut sale, crew, screen).await?;
    if crash.missed() {
        screen.say("No worker was in the middle of a job when it was time, so none was killed.");
    }
    crew.dismiss().await;
    screen.say("The ledgers, kept outside the store, are compared with what is there.");
    let verdict = judge::judge(&client, home, args.orders).await?;
    client.close().await?;
    Ok(verdict)
}

async fn open_mail(home: &Home) -> Result<Receiver, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("open the mail server: {error}"));
    let ledger = Ledger::open(&home.mail_ledger()).map_err(failed)?;
    Receiver::open(ledger).await.map_err(failed)
}

/// Shows the numbers until every job has ended, or nothing moves any more.
async fn watch(
    args: &Args,
    client: &Client,
    sale: &mut Sale,
    crew: &mut Crew,
    screen: &Screen,
) -> Result<Crash, Failure> {
    let jobs = args.orders * 3 + 1;
    let mut crash = if args.kill || !args.no_kill { Crash::Ahead(None) } else { Crash::Off };
    let (mut last, mut moved) = (Progress::default(), Instant::now());
    loop {
        sale.check()?;
        crew.check()?;
        let now = progress(client, sale.placed()).await?;
        crash.step(now.placed * 2 >= args.orders, client, crew, screen).await?;
        screen.show(&now, crash.line());
        if last.placed < args.orders && now.placed == args.orders {
            screen.say(format!("All {} orders are in, the monthly report too.", args.orders));
        }
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        if now.ended() >= jobs && now.placed == args.orders {
            screen.say(format!("All {jobs} jobs have ended."));
            return Ok(crash);
        }
        if moved.elapsed() > STANDSTILL_MAX {
            let seconds = STANDSTILL_MAX.as_secs();
            output::note(format!("nothing has moved for {seconds} s, so the demo ends here"));
            return Ok(crash);
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn progress(client: &Client, placed: u64) -> Result<Progress, Failure> {
    let mut now = Progress { placed, ..Progress::default() };
    for info in client.queues().await? {
        let place = jobs::QUEUES.iter().position(|(queue, _)| *queue == info.queue.as_str());
        if let Some(place) = place {
            now.queues[place] = info.counts;
        }
    }
    Ok(now)
}
