//! The corpus of hostile texts in the lines of a batch: the same verdict as in a program.

use std::process::Stdio;

use crate::corpus::{Verdict, corpus};
use crate::place::Place;

/// Returns the line of a batch with this payload; `None` when it is no line.
fn line(payload: &[u8]) -> Option<Vec<u8>> {
    let broken = payload.contains(&b'\n') || payload.contains(&b'\r');
    (!broken).then(|| [br#"{"type":"t","payload":"#, payload, b"}"].concat())
}

/// Runs a batch; returns its exit code and what it said.
fn batch(place: &Place, lines: &[u8]) -> (Option<i32>, String) {
    std::fs::write(place.path("batch"), lines).unwrap();
    let mut command = place.command(&["enqueue", "--batch", "batch"]);
    let ran = command.stdin(Stdio::null()).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn a_batch_keeps_every_good_payload_byte_for_byte() {
    let place = Place::new();
    let good = corpus().into_iter().filter(|(_, verdict)| *verdict == Verdict::Kept);
    let good: Vec<_> = good.filter(|(text, _)| line(text).is_some()).collect();
    assert!(good.len() > 150, "{} lines", good.len());
    let lines: Vec<_> = good.iter().filter_map(|(text, _)| line(text)).collect();
    let (code, says) = batch(&place, &lines.join(&b'\n'));
    assert_eq!(code, Some(0), "{says}");
    let store = rusqlite::Connection::open(place.path("dutiful.db")).unwrap();
    let mut read = store.prepare("SELECT payload FROM dutiful_job ORDER BY seq").unwrap();
    let stored: Vec<Vec<u8>> =
        read.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(stored.len(), good.len());
    for (stored, (given, _)) in stored.iter().zip(&good) {
        let given = given.trim_ascii();
        let shown = String::from_utf8_lossy(&given[..given.len().min(60)]);
        assert!(stored == given, "{shown} was changed");
    }
}

#[test]
fn a_batch_refuses_every_bad_payload_and_stores_nothing() {
    let place = Place::new();
    let bad = corpus().into_iter().filter(|(_, verdict)| *verdict != Verdict::Kept);
    // Blanks around a value are the line's, not the payload's.
    let bad = bad.filter(|(text, _)| text.len() < 1000 || !text.starts_with(b" "));
    for (text, verdict) in bad {
        let Some(line) = line(&text) else { continue };
        let (code, says) = batch(&place, &line);
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
        assert_eq!(code, Some(2), "{shown} ({verdict:?}): {says}");
        assert!(says.contains("line 1") || says.contains(":1"), "{shown}: {says}");
    }
    assert_eq!((place.count("pending"), place.count("scheduled")), (0, 0));
}
