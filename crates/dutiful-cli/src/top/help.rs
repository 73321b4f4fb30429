//! What the keys do, in a line at the foot and in a box.

use super::model::{Model, Page};

/// All keys.
pub(crate) const LINES: [&str; 20] = [
    "1 … 5, Tab      the pages: overview, queues, jobs, dead, workers",
    "arrows, j k     choose a row; PgUp PgDn, Home End (g G) go further",
    "Enter           look into it: a queue's jobs, a group, a job",
    "Esc             a step back; on a page itself it leaves",
    "q, Ctrl-C       leave",
    "u               look again now",
    "",
    "queues   p      pause or resume the chosen queue",
    "",
    "jobs     ← →    the state that is shown",
    "         /      filter by type, queue, group, tag or error",
    "         n b    older jobs, and back to newer ones",
    "         r      retry a dead, failed or cancelled job",
    "         d      discard a dead job",
    "         c      cancel a job that has not ended",
    "",
    "dead     r d    retry or discard the whole group that is chosen,",
    "                and within a group the chosen job",
    "",
    "What changes something asks first.",
];

/// Returns the keys of what is on the screen.
pub(crate) fn keys(model: &Model) -> String {
    let own = match (&model.open, model.page, &model.inside) {
        (Some(_), ..) => "↑↓ scroll  r retry  d discard  c cancel  Esc back",
        (_, Page::Overview, _) => "1-5 pages",
        (_, Page::Queues, _) => "p pause/resume  Enter its jobs",
        (_, Page::Jobs, _) => "Enter show  ←→ state  / filter  n older  b newer  r d c",
        (_, Page::Dead, None) => "Enter list  r retry all  d discard all",
        (_, Page::Dead, Some(_)) => "Enter show  n older  r retry  d discard  Esc back",
        (_, Page::Workers, _) => "1-5 pages",
    };
    format!(" ? help  q quit  {own}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_an_ordinary_terminal() {
        assert!(LINES.len() <= 22, "24 rows with the border");
        assert!(LINES.iter().all(|line| line.chars().count() <= 74));
        let mut model = Model::default();
        for page in Page::ALL {
            model.page = page;
            assert!(keys(&model).chars().count() <= 80, "{}", keys(&model));
        }
    }
}
