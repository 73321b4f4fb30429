//! Who is told of alerts: what dutiful.toml says below `[alerts]`, and how its commands run.

use std::sync::Arc;

use dutiful_server::{NotifyTargets, RunCommand};

use crate::failure::Failure;
use crate::process::{self, Keeper, Spec};
use crate::settings::Settings;

/// Checks all targets, their programs too, before anything starts.
pub(crate) fn targets(settings: &Settings, keeper: &Keeper) -> Result<NotifyTargets, Failure> {
    let config = &settings.config.alerts;
    let refused = |why: String| {
        let file = settings.config_file.display();
        Failure::usage(format!("start the server: in {file}, {why}"))
    };
    for one in &config.notify {
        if let Some(program) = one.command.as_ref().and_then(|command| command.first()) {
            let named = |why| format!("[[alerts.notify]] {:?}: {why}; install it", one.name);
            process::find(program).map_err(|why| refused(named(why)))?;
        }
    }
    let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let server = config.server.clone().unwrap_or_else(machine);
    let env = |name: &str| std::env::var(name).ok();
    NotifyTargets::new(server, &config.notify, &env, &commands(keeper.clone()))
        .map_err(|error| refused(error.to_string()))
}

/// Returns what runs a command as handlers are run: with a bare environment, as a group of
/// processes that ends as a whole.
fn commands(keeper: Keeper) -> RunCommand {
    Arc::new(move |command, stdin| {
        let keeper = keeper.clone();
        Box::pin(async move {
            let (program, args) = command.split_first().ok_or("the command names no program")?;
            let (program, env) = (process::find(program)?, process::allowed());
            let spec = Spec { program, args: args.to_vec(), env };
            let ended = process::run(&spec, Vec::new(), stdin, &keeper, |_| {}).await;
            let ended = ended.map_err(|error| format!("the command did not start: {error}"))?;
            match (ended.status.success(), ended.stderr.as_str()) {
                (true, _) => Ok(()),
                (false, "") => Err(format!("the command ended with {}", ended.class())),
                (false, said) => Err(format!("the command ended with {}: {said}", ended.class())),
            }
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::alerts::AlertsConfig;

    async fn run(script: &str) -> Result<(), String> {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        commands(Keeper::none())(command, b"{\"event\":\"firing\"}".to_vec()).await
    }

    #[tokio::test]
    async fn a_command_reads_the_notification_and_says_how_it_went() {
        assert_eq!(run("grep -q '\"event\":\"firing\"'").await, Ok(()));
        assert_eq!(run("exit 4").await, Err("the command ended with exit 4".to_owned()));
        let said = run("echo the pager is busy >&2; exit 1").await;
        assert_eq!(said, Err("the command ended with exit 1: the pager is busy".to_owned()));
    }

    #[test]
    fn reads_the_example_of_the_guide() {
        let config: AlertsConfig = toml::from_str(
            "server = \"shop\"\n[[notify]]\nname = \"ops\"\nurl = \"https://o.example.com/hook\"\n\
             secret_env = \"OPS_SECRET\"\nseverity = \"critical\"\nrules = [\"dead\"]\n\
             queues = [\"mail\"]\n[[notify]]\nname = \"chat\"\nslack_env = \"SLACK\"\n\
             [[notify]]\nname = \"pager\"\ncommand = [\"notify.sh\"]\n[[notify]]\nname = \"mail\"\n\
             email = { to = [\"a@example.com\"], from = \"b@example.com\", smtp_env = \"SMTP\" }\n",
        )
        .unwrap();
        assert_eq!(config.notify.len(), 4);
        let error = toml::from_str::<AlertsConfig>("[[notify]]\nname = \"a\"\nurls = \"x\"");
        assert!(error.unwrap_err().to_string().contains("unknown field `urls`"));
    }
}
