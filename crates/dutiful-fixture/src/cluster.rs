//! A cluster's data, initialised once for each version and copied for each server; its settings.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::install::{Version, as_owner, owner, run, target};
use crate::{PASSWORD, USER};

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which Postgres.
    pub version: Version,
    /// Whether commits wait for the disk. Without it they survive SIGKILL of every process still,
    /// only not the end of the machine; tests are several times as fast.
    pub fsync: bool,
    /// Further settings of `postgresql.conf`, names and values without quotes; the last one wins.
    pub settings: Vec<(String, String)>,
    /// What the server's processes find in their environment besides, such as another clock.
    pub environment: Vec<(String, String)>,
}

/// Puts a cluster into `folder/data`: that of the version, copied, so that `initdb` runs once.
pub(crate) fn create(version: Version, folder: &Path) -> Result<()> {
    let bin = version.bin()?;
    let template = template(&bin)?;
    if !template.exists() {
        return initialise(&bin, folder, &template);
    }
    let data = folder.join("data").display().to_string();
    let copy = ["cp", "--archive", "--reflink=auto", &template.display().to_string(), &data];
    run(&copy.map(str::to_owned)).map(drop)
}

/// Where the version's cluster is kept; each user has their own, since nobody else may read it.
fn template(bin: &Path) -> Result<PathBuf> {
    let version = run(&[bin.join("postgres").display().to_string(), "--version".to_owned()])?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let version: String = version.chars().map(plain).collect();
    let user = owner()?.map_or(rustix::process::getuid().as_raw(), |(user, _)| user);
    Ok(target().join("servers").join(format!("cluster-{version}-{user}")))
}

/// Runs `initdb` for `folder/data` and tries to keep a copy for the servers after this one.
fn initialise(bin: &Path, folder: &Path, template: &Path) -> Result<()> {
    let data = folder.join("data");
    let password = folder.join("password");
    fs::write(&password, PASSWORD)?;
    let mut words = as_owner(owner()?, &bin.join("initdb"));
    words.extend(
        ["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"].map(str::to_owned),
    );
    words.push(format!("--username={USER}"));
    words.push(format!("--pwfile={}", password.display()));
    words.push(format!("--pgdata={}", data.display()));
    run(&words).context("initialise a cluster (may the servers' user read the programs?)")?;
    // Servers that start at the same time all do this; the rename of the first one stays. A build
    // folder that cannot be written costs time only.
    let unique = template.with_extension(format!("{:016x}", fastrand::u64(..)));
    let paths = [&data, &unique].map(|path| path.display().to_string());
    let words = ["cp".to_owned(), "--archive".to_owned()].into_iter().chain(paths);
    let kept = fs::create_dir_all(target().join("servers")).is_ok()
        && run(&words.collect::<Vec<_>>()).is_ok()
        && fs::rename(&unique, template).is_ok();
    if !kept {
        let _ = fs::remove_dir_all(&unique);
    }
    Ok(())
}

/// Writes the settings; the whole file, so that all versions have the same.
pub(crate) fn configure(options: &Options, folder: &Path, port: u16) -> Result<()> {
    let switch = if options.fsync { "on" } else { "off" };
    let port = port.to_string();
    let own = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", ""),
        // A test binary's threads have pools of their own on one server.
        ("max_connections", "300"),
        ("shared_buffers", "128MB"),
        // Files in the cluster's folder: what a killed server leaves goes with the folder.
        ("dynamic_shared_memory_type", "mmap"),
        ("fsync", switch),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("log_line_prefix", "%m [%p] %d "),
        ("log_timezone", "UTC"),
        ("timezone", "UTC"),
        ("lc_messages", "C"),
    ];
    let further = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in own.into_iter().chain(further) {
        writeln!(text, "{name} = '{}'", value.replace('\'', "''"))?;
    }
    // Written over, not replaced: the file stays the server's user's.
    fs::write(folder.join("data/postgresql.conf"), text).context("write the server's settings")
}
