//! The pages of `docs/guide`, so that their programs are compiled and run with the tests.
//!
//! [first-job]: first_job
//! [errors-and-retries]: errors_and_retries
//! [exactly-once]: exactly_once
//! [postgres]: postgres
//! [transactions]: transactions
//! [several-processes]: several_processes
//! [testing]: testing
//! [operating]: operating
//! [http]: http
//! [access]: access
//! [starting]: starting
//! [push]: push
//! [alerts]: alerts
//! [coming-from]: coming_from
//!
#![doc = include_str!("../guide/README.md")]

// Read by rustdoc only: a build of the library needs no page. `guide` beside `src` is a symbolic
// link to `docs/guide`, because a published crate holds only what is in its own folder; cargo
// follows it and packs the pages. A checkout without symbolic links lacks this documentation alone.

/// Says where the pages' links lead in here. Of two definitions the first counts, so these win over
/// the pages' own, which lead from file to file.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = "[first-job]: crate::guide::first_job"]
        #[doc = "[errors-and-retries]: crate::guide::errors_and_retries"]
        #[doc = "[exactly-once]: crate::guide::exactly_once"]
        #[doc = "[postgres]: crate::guide::postgres"]
        #[doc = "[transactions]: crate::guide::transactions"]
        #[doc = "[several-processes]: crate::guide::several_processes"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[operating]: crate::guide::operating"]
        #[doc = "[http]: crate::guide::http"]
        #[doc = "[access]: crate::guide::access"]
        #[doc = "[starting]: crate::guide::starting"]
        #[doc = "[push]: crate::guide::push"]
        #[doc = "[alerts]: crate::guide::alerts"]
        #[doc = "[coming-from]: crate::guide::coming_from"]
        #[doc = ""]
        #[doc = include_str!(concat!("../guide/", $file))]
        pub mod $name {}
    };
}

page!(first_job, "first-job.md");
page!(errors_and_retries, "errors-and-retries.md");
page!(exactly_once, "exactly-once.md");
page!(postgres, "postgres.md");
page!(transactions, "transactions.md");
page!(several_processes, "several-processes.md");
page!(testing, "testing.md");
page!(operating, "operating.md");
page!(http, "http.md");
page!(access, "access.md");
page!(starting, "starting.md");
page!(push, "push.md");
page!(alerts, "alerts.md");
page!(coming_from, "coming-from.md");
