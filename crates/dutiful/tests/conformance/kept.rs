//! `kept`: what is kept on a shelf, in the order of its keys' bytes.

use std::time::Duration;

use dutiful::store::{Keep, KeepWhen, KeptRange};

use crate::harness::*;
use crate::keep::at;

promises![
    a_shelf_on_which_nothing_stands_is_empty,
    keys_come_in_the_order_of_their_bytes,
    a_range_begins_with_its_first_key_and_ends_before_its_last,
    the_last_keys_come_first_when_asked,
    an_item_says_its_version_and_until_when_it_is_kept,
];

fn all(shelf: &str) -> KeptRange {
    let (from, to) = (String::new(), None);
    KeptRange { shelf: name(shelf), from, to, newest_first: false, limit: 100 }
}

async fn keys(lab: &Lab, range: KeptRange) -> Result<Vec<String>, StoreError> {
    Ok(lab.store.kept(range).await?.into_iter().map(|item| item.key).collect())
}

async fn put(lab: &Lab, keys: &[&str]) -> Kept {
    for key in keys {
        lab.store.keep(at(key, key.as_bytes(), KeepWhen::Always)).await?;
    }
    Ok(())
}

async fn a_shelf_on_which_nothing_stands_is_empty(lab: Lab) -> Kept {
    put(&lab, &["a"]).await?;
    assert_eq!(lab.store.kept(all("other")).await?, []);
    Ok(())
}

async fn keys_come_in_the_order_of_their_bytes(lab: Lab) -> Kept {
    put(&lab, &["b", "ä", "B", "a:2", "a:10", "☃", "a", "_", "\u{10fffe}"]).await?;
    let order = ["B", "_", "a", "a:10", "a:2", "b", "ä", "☃", "\u{10fffe}"];
    assert_eq!(keys(&lab, all("tokens")).await?, order);
    Ok(())
}

async fn a_range_begins_with_its_first_key_and_ends_before_its_last(lab: Lab) -> Kept {
    put(&lab, &["a", "b", "c", "d"]).await?;
    let range = |from: &str, to: &str| KeptRange {
        from: from.to_owned(),
        to: Some(to.to_owned()),
        ..all("tokens")
    };
    assert_eq!(keys(&lab, range("b", "d")).await?, ["b", "c"]);
    assert_eq!(keys(&lab, range("bb", "z")).await?, ["c", "d"]);
    assert_eq!(keys(&lab, range("d", "b")).await?, [""; 0]);
    assert_eq!(keys(&lab, KeptRange { limit: 2, ..all("tokens") }).await?, ["a", "b"]);
    assert_eq!(keys(&lab, KeptRange { limit: 0, ..all("tokens") }).await?, [""; 0]);
    Ok(())
}

async fn the_last_keys_come_first_when_asked(lab: Lab) -> Kept {
    put(&lab, &["a", "b", "c", "d"]).await?;
    let last = KeptRange { newest_first: true, limit: 3, ..all("tokens") };
    assert_eq!(keys(&lab, last.clone()).await?, ["d", "c", "b"]);
    let next = KeptRange { to: Some("b".to_owned()), ..last };
    assert_eq!(keys(&lab, next).await?, ["a"]);
    Ok(())
}

async fn an_item_says_its_version_and_until_when_it_is_kept(lab: Lab) -> Kept {
    let ttl = Some(Duration::from_secs(60));
    let version = lab.store.keep(Keep { ttl, ..at("k", b"v", KeepWhen::Always) }).await?;
    put(&lab, &["l"]).await?;
    let found = lab.store.kept(all("tokens")).await?;
    assert_eq!((Some(found[0].version), &found[0].value[..]), (version, &b"v"[..]));
    let (until, written) = (found[0].until.expect("a minute"), found[0].version);
    assert_eq!(until.us() - written, 60_000_000);
    assert_eq!(found[1].until, None);
    Ok(())
}
