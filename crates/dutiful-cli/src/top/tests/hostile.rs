//! Hostile texts, small and large terminals, and terminals without colours.

use ratatui::style::Color;
use serde_json::{Value, json};

use super::super::looks::{Detail, Look, News, Wanted};
use super::super::model::{Dialog, Model, Page};
use super::super::paint::Paint;
use super::super::shapes::{Job, shaped};
use super::{EVERY, EVIL, Kind, Site, drawn, key};

const SIZES: [(u16, u16); 9] =
    [(1, 1), (20, 5), (33, 9), (40, 12), (60, 15), (80, 24), (100, 30), (120, 8), (200, 60)];

/// Looks at the page in each size, with and without colours, and with each box over it.
fn everywhere(model: &mut Model, mut check: impl FnMut(&ratatui::buffer::Buffer, bool)) {
    for color in [true, false] {
        for (width, height) in SIZES {
            check(&drawn(model, width, height, Paint::new(color)), color);
        }
    }
    let long = format!("{EVIL} why ").repeat(30);
    let boxes = [
        Dialog::Help,
        Dialog::Filter { text: long.clone(), wrong: None },
        Dialog::Filter { text: String::new(), wrong: Some(long) },
    ];
    for one in boxes {
        model.dialog = Some(one);
        for (width, height) in [(1, 1), (20, 5), (80, 24)] {
            check(&drawn(model, width, height, Paint::new(true)), true);
        }
    }
    model.dialog = None;
}

/// A server that lies in every text it has.
fn hostile_look(wanted: &Wanted) -> Look {
    let name = format!("{EVIL}{}", "日本語 ".repeat(90));
    let now = "2026-11-23T18:00:00Z";
    let failure = json!({ "class": name, "message": format!("{name}\n\n{name}") });
    let huge = u64::MAX;
    let counts = json!({ "pending": huge, "scheduled": 1, "active": huge, "failed": 7,
        "completed": 1_000_000, "dead": 3, "cancelled": 0, "stalled_total": huge });
    let mut queue = counts.clone();
    queue["queue"] = json!(name);
    queue["oldest_pending_s"] = json!(-1e300);
    queue["paused"] = json!(true);
    let attempt = json!({ "number": 1, "worker_name": name, "started_at": now, "outcome": name,
        "finished_at": "1970-01-01T00:00:00Z", "error": failure,
        "log": vec![json!({ "number": 1, "at": now, "text": name }); 30] });
    let payload = format!(
        "{{\"{}\": [{}1]}}",
        name.replace(char::is_control, "\u{2067}"),
        "1,".repeat(20_000)
    );
    let job = json!({ "id": dutiful::JobId::new(), "type": name, "state": "active", "queue": name,
        "priority": 7, "payload_bytes": 1, "created_at": now, "scheduled_for": now,
        "attempt": u32::MAX, "failures": u32::MAX, "crashes": u32::MAX, "max_attempts": 3,
        "timeout_ms": huge, "correlation_id": name, "trace_parent": name, "group": name,
        "unique_key": name, "tags": [name, name], "delivery": name, "last_error": failure,
        "dead_reason": name, "progress": { "percent": 255, "note": name, "at": now },
        "attempts": vec![attempt; 3] });
    let text = job.to_string().replacen('{', &format!("{{\"payload\":{payload},"), 1);
    let job = || -> Job { serde_json::from_str(&text).unwrap() };
    let detail = match wanted {
        Wanted::Numbers => Detail::Nothing,
        Wanted::Queues => Detail::Queues(shaped(&vec![&queue; 70]).unwrap()),
        Wanted::Jobs(query) => {
            let page = super::super::shapes::JobPage { jobs: vec![job(), job()], next: None };
            Detail::Jobs(query.clone(), page)
        }
        Wanted::Job(id) => Detail::Job(*id, Some(Box::new(job()))),
        Wanted::Groups => {
            let group = json!({ "fingerprint": name, "type": name, "class": name, "message": name,
                "count": huge, "last_at": "9999-12-31T00:00:00Z" });
            let one = json!({ "groups": [group], "complete": false });
            Detail::Groups(shaped(&one).unwrap())
        }
        Wanted::Workers => {
            let worker = json!({ "name": name, "queues": { name.as_str(): huge, "b": huge },
                "types": [name], "started_at": now, "beat_at": now, "running": huge,
                "quiet": false, "state": name });
            Detail::Workers(shaped(&json!([worker])).unwrap())
        }
    };
    let spread = json!({ "buckets": [huge, 0] });
    let totals = json!({ "bounds_ms": [huge], "totals": [{ "queue": name, "type": name,
        "enqueued": huge, "completed": 1, "failed": 0, "ran": spread, "waited": spread }] });
    let stats: Value = json!({ "totals": counts, "queues": vec![queue; 70],
        "warnings": vec![name.clone(); 9] });
    let (stats, totals) = (shaped(&stats).unwrap(), shaped(&totals).unwrap());
    Look { at: std::time::Instant::now(), place: name, stats, totals, detail }
}

#[test]
fn nothing_that_a_server_says_steers_the_terminal_or_ends_the_program() {
    let mut model = Model::new(EVIL.to_owned(), EVERY);
    for path in ["1", "2p", "3", "3⏎", "3c", "4", "4r", "4⏎", "4⏎⏎", "4⏎d", "5", "5j"] {
        model.press(key('⎋'));
        for c in path.chars() {
            model.press(key(c));
            let look = hostile_look(&model.wanted());
            model.take(News::Looked(Box::new(look)));
        }
        if path == "3c" {
            model.take(News::Done(Err(EVIL.to_owned())));
            model.take(News::Missed(EVIL.to_owned()));
        }
        everywhere(&mut model, |buffer, color| {
            for cell in &buffer.content {
                let steers = |c: char| c.is_control() || "\u{202e}\u{2066}\u{2067}".contains(c);
                assert!(!cell.symbol().contains(steers), "{path}: {:?}", cell.symbol());
                assert_eq!(cell.bg, Color::Reset, "{path}: the terminal's own");
                if !color {
                    assert_eq!(cell.fg, Color::Reset, "{path}: no colours were wished for");
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_real_store_fits_every_terminal() {
    let site = Site::new(Kind::Store).await;
    let mut model = site.model();
    for page in ["1", "2", "3", "3⏎", "4", "4⏎", "4⏎⏎", "5"] {
        site.press(&mut model, page).await;
        everywhere(&mut model, |buffer, _| {
            let text: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
            assert!(!text.contains(char::is_control), "{page}");
        });
    }
    assert_eq!(model.page, Page::Workers);
}
