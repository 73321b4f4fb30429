//! `facts`: what a store is and promises, told by the store itself.

use crate::harness::*;

promises![
    names_the_store_its_version_and_place,
    a_file_survives_power_loss_and_says_so,
    the_store_is_found_behind_the_seam,
];

async fn names_the_store_its_version_and_place(lab: Lab) -> Kept {
    let facts = lab.store.facts();
    let version: Vec<u32> = facts.version.split(['.', ' ']).map_while(|n| n.parse().ok()).collect();
    if lab.on_postgres() {
        assert_eq!(facts.store, "postgres");
        assert!(version >= vec![13], "{}", facts.version);
        assert!(facts.place.contains("127.0.0.1:"), "{}", facts.place);
        return Ok(());
    }
    assert_eq!(facts.store, "sqlite");
    assert!(version >= vec![3, 51, 3], "{}", facts.version);
    match lab.path() {
        Some(path) => {
            let real = std::fs::canonicalize(path).expect("the file is there");
            assert_eq!(facts.place, real.display().to_string());
        }
        None => assert_eq!(facts.place, ":memory:"),
    }
    Ok(())
}

async fn a_file_survives_power_loss_and_says_so(lab: Lab) -> Kept {
    if lab.path().is_none() {
        skip!(lab, "nothing survives in memory");
    }
    assert_eq!(lab.store.facts().durability, "wal, synchronous=full");
    Ok(())
}

async fn the_store_is_found_behind_the_seam(lab: Lab) -> Kept {
    let store = lab.store.as_any();
    match lab.on_postgres() {
        true => assert!(store.is::<dutiful::store::postgres::PostgresStore>()),
        _ => assert!(store.is::<dutiful::store::sqlite::SqliteStore>()),
    }
    Ok(())
}
