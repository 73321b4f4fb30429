//! Private, real Postgres servers for tests: started in a moment, loopback only, and surely gone.
//!
//! Each server has a folder of its own below the system's temporary folder, a free port of
//! 127.0.0.1, and a small keeper beside it: a shell that holds a pipe from the test process. When
//! the pipe closes, however the test process ended, the keeper stops the server by its pid and
//! removes the folder.
//!
//! ```no_run
//! use dutiful_fixture::{Postgres, Version};
//!
//! # fn main() -> anyhow::Result<()> {
//! let url = Postgres::shared(Version::System)?.fresh_database()?;   // postgres://dutiful:…
//! # Ok(())
//! # }
//! ```
//!
//! `./test` installs the servers. Errors are fragments that fit "failed to …".

mod bouncer;
mod cluster;
mod install;
mod keeper;
mod postgres;
mod wait;

pub use bouncer::{Mode, PgBouncer};
pub use cluster::Options;
pub use install::Version;
pub use postgres::Postgres;

/// The user that owns everything in a fixture's server.
pub const USER: &str = "dutiful";
/// The password of [`USER`].
pub const PASSWORD: &str = "loopback-only";
