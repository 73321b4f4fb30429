//! `dutiful tokens create|list|revoke|open`: what programs show to be let in by a server.

use std::process::ExitCode;
use std::time::Duration;

use dutiful_server::tokens::{self, NewToken, TokenError, TokenInfo};
use serde::Serialize;

use crate::deed;
use crate::failure::{Answer, Failure};
use crate::settings::Settings;
use crate::{input, output};

/// The subcommands of `dutiful tokens`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token; it is printed once, and only its hash is kept
    #[command(after_help = "\
Scopes: read (look at everything), enqueue, work (claim jobs and say how they ended), operate
(change jobs and queues), admin (everything, tokens and redacted fields too).

From the first token on, servers on this store ask everybody for credentials; `dutiful tokens open`
takes that back.

Examples:
  dutiful tokens create shop --scopes enqueue
  dutiful tokens create mailer --scopes work --queues mail --expires 90d
  dutiful tokens create ann --scopes read,operate --json")]
    Create {
        /// Who or what has it
        name: String,
        /// What it allows
        #[arg(long, value_delimiter = ',', required = true, value_name = "SCOPE,…")]
        scopes: Vec<String>,
        /// Only these queues (for enqueue and work)
        #[arg(long, value_delimiter = ',', value_name = "QUEUE,…")]
        queues: Vec<String>,
        /// It ends after this long
        #[arg(long, value_name = "TIME", value_parser = input::duration)]
        expires: Option<Duration>,
        /// How often it may ask, per second, of one server [default: 1000]
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
    },
    /// Show the tokens that are there, without their secrets
    #[command(after_help = "\
Example:
  dutiful tokens list")]
    List,
    /// Take a token away: within a second no server lets it in
    #[command(after_help = "\
Example:
  dutiful tokens revoke q1w2e3r")]
    Revoke {
        /// Its id, as `tokens list` shows it
        id: String,
    },
    /// Take all tokens away, and let everybody in again who reaches a server
    #[command(after_help = "\
A server with a password, a proxy or --auth goes on asking for credentials.

Example:
  dutiful tokens open")]
    Open,
}

#[derive(Serialize)]
struct Made {
    token: String,
    #[serde(flatten)]
    about: TokenInfo,
}

#[derive(Serialize)]
struct Listing {
    tokens: Vec<TokenInfo>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    revoked: &'a str,
}

#[derive(Serialize)]
struct Opened {
    revoked: usize,
}

/// Runs one of them.
pub(crate) async fn run(command: Command, settings: Settings) -> Answer {
    // The first token may be there before the first job.
    let client = match command {
        Command::Create { .. } => settings.client().await?,
        _ => settings.existing().await?,
    };
    match command {
        Command::Create { name, scopes, queues, expires, rate } => {
            let new = NewToken { name, scopes, queues, expires_in: expires, rate_per_s: rate };
            let called = new.name.clone();
            let making = async {
                tokens::create(&client, new).await.map_err(|error| match error {
                    TokenError::Store(error) => error.into(),
                    error => Failure::usage(error.to_string()),
                })
            };
            let made = deed::done(&client, "tokens.create", &called, making).await?;
            tell_made(made, &settings)?;
        }
        Command::List => list(tokens::list(&client).await?, &settings)?,
        Command::Revoke { id } => {
            let revoking = tokens::revoke(&client, &id);
            if !deed::done(&client, "tokens.delete", &id, revoking).await? {
                let sentence = format!("revoke token {id}: there is none; see `tokens list`");
                return Err(Failure::failed(sentence));
            }
            match settings.json {
                true => output::json(&Revoked { revoked: &id })?,
                false => output::line(format!("token {id} is revoked"))?,
            }
        }
        Command::Open => {
            let opening = tokens::open(&client);
            let revoked = deed::done(&client, "tokens.open", "", opening).await?;
            match settings.json {
                true => output::json(&Opened { revoked })?,
                false => output::line(format!("revoked {revoked} tokens; servers ask nobody now"))?,
            }
        }
    }
    client.close().await?;
    Ok(ExitCode::SUCCESS)
}

fn tell_made((token, about): (String, TokenInfo), settings: &Settings) -> Result<(), Failure> {
    if settings.json {
        return output::json(&Made { token, about });
    }
    output::note("keep this token well: it is not shown again, and nobody can look it up");
    output::line(token)
}

fn list(tokens: Vec<TokenInfo>, settings: &Settings) -> Result<(), Failure> {
    if settings.json {
        return output::json(&Listing { tokens });
    }
    let heads = ["id", "name", "scopes", "queues", "ends", "last used"];
    let mut table = output::table(heads);
    let time = |at: Option<dutiful::Timestamp>| at.map_or("–".to_owned(), |at| at.to_string());
    for one in &tokens {
        let queues = if one.queues.is_empty() { "all".to_owned() } else { one.queues.join(", ") };
        table.add_row([
            one.id.clone(),
            output::plain(&one.name),
            one.scopes.join(", "),
            queues,
            time(one.expires_at),
            time(one.last_used_at),
        ]);
    }
    output::line(table)
}
