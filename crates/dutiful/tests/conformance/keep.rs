//! `keep`: something beside the jobs is written, replaced or forgotten as asked, or not at all.

use std::time::Duration;

use dutiful::store::{Keep, KeepWhen, KeptRange};

use crate::harness::*;

promises![
    a_thing_is_kept_byte_for_byte,
    a_later_write_replaces_it_and_its_version_grows,
    what_must_be_absent_is_written_once,
    of_many_at_once_one_takes_what_is_absent,
    a_version_that_somebody_overwrote_writes_nothing,
    a_version_never_comes_back_after_it_was_forgotten,
    only_the_version_that_was_read_is_forgotten,
    what_is_kept_for_a_while_makes_room_when_it_is_over,
    what_is_over_is_pruned,
];

pub(crate) fn at(key: &str, value: &[u8], when: KeepWhen) -> Keep {
    let value = Some(value.to_vec());
    Keep { shelf: name("tokens"), key: key.to_owned(), value, when, ttl: None }
}

fn forget(key: &str, when: KeepWhen) -> Keep {
    Keep { value: None, ..at(key, b"", when) }
}

async fn value(lab: &Lab, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let (from, to) = (key.to_owned(), Some(format!("{key}\0")));
    // Postgres keeps no NUL in a text: the next key in its order is another.
    let to = if lab.on_postgres() { Some(format!("{key}\u{1}")) } else { to };
    let range = KeptRange { shelf: name("tokens"), from, to, newest_first: false, limit: 10 };
    let found = lab.store.kept(range).await?;
    assert!(found.len() <= 1, "{found:?}");
    Ok(found.into_iter().next().map(|item| item.value))
}

async fn a_thing_is_kept_byte_for_byte(lab: Lab) -> Kept {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = vec![7; 512 * 1024];
    for (key, bytes) in [("a", &b""[..]), ("ünï ☃ '\"\\", &every_byte), ("large", &large)] {
        assert!(lab.store.keep(at(key, bytes, KeepWhen::Always)).await?.is_some());
        assert_eq!(value(&lab, key).await?.as_deref(), Some(bytes), "{key}");
    }
    Ok(())
}

async fn a_later_write_replaces_it_and_its_version_grows(lab: Lab) -> Kept {
    let mut last = 0;
    for round in 0..5u8 {
        let version = lab.store.keep(at("k", &[round], KeepWhen::Always)).await?;
        let version = version.expect("nothing stands in the way");
        assert!(version > last, "{version} after {last}, though the clock stands still");
        last = version;
    }
    assert_eq!(value(&lab, "k").await?, Some(vec![4]));
    Ok(())
}

async fn what_must_be_absent_is_written_once(lab: Lab) -> Kept {
    assert!(lab.store.keep(at("k", b"first", KeepWhen::Absent)).await?.is_some());
    assert_eq!(lab.store.keep(at("k", b"second", KeepWhen::Absent)).await?, None);
    assert_eq!(value(&lab, "k").await?.as_deref(), Some(&b"first"[..]));
    let other = Keep { shelf: name("other"), ..at("k", b"third", KeepWhen::Absent) };
    assert!(lab.store.keep(other).await?.is_some(), "a key on another shelf is another");
    Ok(())
}

async fn of_many_at_once_one_takes_what_is_absent(lab: Lab) -> Kept {
    let asked = (0..20u8).map(|one| lab.store.keep(at("turn", &[one], KeepWhen::Absent)));
    let answers = futures_util::future::join_all(asked).await;
    let taken = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
    let winner = taken.iter().position(Option::is_some).expect("one did");
    assert_eq!(value(&lab, "turn").await?, Some(vec![winner as u8]));
    Ok(())
}

async fn a_version_that_somebody_overwrote_writes_nothing(lab: Lab) -> Kept {
    let first = lab.store.keep(at("k", b"1", KeepWhen::Always)).await?.expect("written");
    let second = lab.store.keep(at("k", b"2", KeepWhen::Version(first))).await?;
    assert!(second.is_some_and(|second| second > first), "{second:?}");
    assert_eq!(lab.store.keep(at("k", b"3", KeepWhen::Version(first))).await?, None);
    assert_eq!(lab.store.keep(at("none", b"3", KeepWhen::Version(first))).await?, None);
    assert_eq!(value(&lab, "k").await?.as_deref(), Some(&b"2"[..]));
    assert_eq!(value(&lab, "none").await?, None);
    Ok(())
}

async fn a_version_never_comes_back_after_it_was_forgotten(lab: Lab) -> Kept {
    let first = lab.store.keep(at("k", b"1", KeepWhen::Always)).await?.expect("written");
    assert!(lab.store.keep(forget("k", KeepWhen::Always)).await?.is_some());
    assert_eq!(lab.store.keep(forget("k", KeepWhen::Always)).await?, None, "it is gone");
    lab.pass(1);
    let second = lab.store.keep(at("k", b"2", KeepWhen::Absent)).await?.expect("written");
    assert!(second > first, "{second} after {first}");
    assert_eq!(lab.store.keep(at("k", b"3", KeepWhen::Version(first))).await?, None);
    Ok(())
}

async fn only_the_version_that_was_read_is_forgotten(lab: Lab) -> Kept {
    let first = lab.store.keep(at("k", b"1", KeepWhen::Always)).await?.expect("written");
    let second = lab.store.keep(at("k", b"2", KeepWhen::Always)).await?.expect("written");
    assert_eq!(lab.store.keep(forget("k", KeepWhen::Version(first))).await?, None);
    assert_eq!(lab.store.keep(forget("k", KeepWhen::Absent)).await?, None);
    assert!(value(&lab, "k").await?.is_some());
    assert!(lab.store.keep(forget("k", KeepWhen::Version(second))).await?.is_some());
    assert_eq!(value(&lab, "k").await?, None);
    Ok(())
}

async fn what_is_kept_for_a_while_makes_room_when_it_is_over(lab: Lab) -> Kept {
    let turn = |value: &[u8]| Keep {
        ttl: Some(Duration::from_secs(10)),
        ..at("turn", value, KeepWhen::Absent)
    };
    let first = lab.store.keep(turn(b"1")).await?.expect("written");
    lab.pass(9);
    assert_eq!(lab.store.keep(turn(b"2")).await?, None);
    lab.pass(2);
    assert_eq!(value(&lab, "turn").await?, None, "it is as good as forgotten");
    // Nobody took it, so whoever had it may have it again.
    let renewed = Keep { when: KeepWhen::Version(first), ..turn(b"1") };
    assert!(lab.store.keep(renewed).await?.is_some());
    lab.pass(11);
    assert!(lab.store.keep(turn(b"3")).await?.is_some());
    assert_eq!(value(&lab, "turn").await?.as_deref(), Some(&b"3"[..]));
    Ok(())
}

async fn what_is_over_is_pruned(lab: Lab) -> Kept {
    for (key, ttl) in [("for ever", None), ("long", Some(3600)), ("short", Some(1))] {
        let ttl = ttl.map(Duration::from_secs);
        lab.store.keep(Keep { ttl, ..at(key, b"x", KeepWhen::Always) }).await?;
    }
    lab.pass(2);
    let term = lab.term().await;
    let keep = dutiful::Retention::default();
    assert_eq!(lab.store.prune(term, keep).await?, 1);
    assert_eq!(lab.store.prune(term, keep).await?, 0);
    assert!(value(&lab, "long").await?.is_some() && value(&lab, "for ever").await?.is_some());
    // Too far ahead to be written, so as far as can be.
    let eternal = Keep { ttl: Some(Duration::MAX), ..at("short", b"x", KeepWhen::Absent) };
    assert!(lab.store.keep(eternal).await?.is_some());
    Ok(())
}
