//! The guide, as it stands in `docs/guide`, so that its programs are compiled and run as tests.
//!
//! It is read by rustdoc only: a build of the library needs none of its files. They are reached
//! through `guide`, a link beside `src`, for a published crate holds only what is in its own folder.

/// Says where the pages' links lead in here. Of two definitions the first counts, so these win over
/// the pages' own, which lead from file to file.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = "[first-job]: crate::guide::first_job"]
        #[doc = "[errors-and-retries]: crate::guide::errors_and_retries"]
        #[doc = "[exactly-once]: crate::guide::exactly_once"]
        #[doc = "[several-processes]: crate::guide::several_processes"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[operating]: crate::guide::operating"]
        #[doc = "[coming-from]: crate::guide::coming_from"]
        #[doc = ""]
        #[doc = include_str!(concat!("../guide/", $file))]
        pub mod $name {}
    };
}

page!(first_job, "first-job.md");
page!(errors_and_retries, "errors-and-retries.md");
page!(exactly_once, "exactly-once.md");
page!(several_processes, "several-processes.md");
page!(testing, "testing.md");
page!(operating, "operating.md");
page!(coming_from, "coming-from.md");
