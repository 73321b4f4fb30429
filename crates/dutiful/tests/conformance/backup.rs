//! `backup`: a whole copy of one moment, under its name only when it is durable.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::*;

promises![
    a_backup_holds_every_job_in_its_state,
    a_backup_is_for_its_owner_alone_and_the_only_new_file,
    a_taken_name_a_link_and_a_missing_folder_are_refused,
    a_backup_that_cannot_be_written_leaves_nothing,
    a_store_without_a_file_says_that_it_cannot,
    a_closed_store_writes_no_backup,
];

/// Returns a folder and a name in it that nothing has.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let to = dir.path().join("backup.db");
    (dir, to)
}

async fn a_backup_holds_every_job_in_its_state(lab: Lab) -> Kept {
    if lab.path().is_none() {
        skip!(lab, "it has no file");
    }
    let mut all = Vec::new();
    for state in State::ALL {
        all.push(lab.in_state(state).await);
    }
    let mut states = Vec::new();
    for id in &all {
        states.push(lab.state(*id).await);
    }
    let (_dir, to) = place();
    let backup = lab.client.backup(&to).await?;
    assert_eq!((backup.jobs, backup.path.file_name()), (8, to.file_name()));
    assert_eq!(backup.bytes, to.metadata().expect("it is there").len());
    let after = lab.put(1).await[0];
    let url = format!("sqlite:{}", to.display());
    let copy = Client::builder().clock(lab.clock.clone()).connect(&url).await?;
    for (id, state) in all.iter().zip(states) {
        assert_eq!(copy.job(*id).await?.map(|job| job.state), state);
    }
    assert!(copy.job(after).await?.is_none(), "it came after the backup");
    let (copied, stats) = (copy.stats().await?, lab.store.stats().await?);
    assert_eq!(copied.totals.completed, stats.totals.completed);
    Ok(())
}

async fn a_backup_is_for_its_owner_alone_and_the_only_new_file(lab: Lab) -> Kept {
    if lab.path().is_none() {
        skip!(lab, "it has no file");
    }
    lab.put(1).await;
    let (dir, to) = place();
    lab.store.backup(to.clone()).await?;
    let mode = to.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(dir.path().read_dir().expect("it is a folder").count(), 1);
    Ok(())
}

async fn a_taken_name_a_link_and_a_missing_folder_are_refused(lab: Lab) -> Kept {
    let Some(path) = lab.path() else { skip!(lab, "it has no file") };
    let (dir, to) = place();
    std::fs::write(&to, b"somebody's").expect("it is written");
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(dir.path().join("far.db"), &link).expect("it is linked");
    let missing = dir.path().join("no/such/folder/a.db");
    for (place, says) in [
        (&to, "exists already"),
        (&link, "symbolic link"),
        (&missing, "name a folder"),
        (&dir.path().to_owned(), "directory"),
        (&path, "exists already"),
    ] {
        let error = lab.store.backup(place.clone()).await.expect_err("it is refused");
        assert!(matches!(error, StoreError::Backup { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(std::fs::read(&to).expect("it is there"), b"somebody's");
    assert!(!dir.path().join("far.db").exists(), "nothing was written through the link");
    Ok(())
}

async fn a_backup_that_cannot_be_written_leaves_nothing(lab: Lab) -> Kept {
    let Some(path) = lab.path() else { skip!(lab, "it has no file") };
    lab.put(1000).await;
    // A page of records becomes noise, so that the copy fails after it has begun.
    let copy = path.with_file_name("copy.db");
    lab.store.backup(copy.clone()).await?;
    let mut bytes = std::fs::read(&copy).expect("it is there");
    let leaves: Vec<_> = (0..bytes.len()).step_by(4096).filter(|at| bytes[*at] == 0x0D).collect();
    let at = leaves[leaves.len() / 2];
    bytes[at..at + 4096].fill(0xA5);
    let (dir, to) = place();
    let damaged = dir.path().join("jobs.db");
    std::fs::write(&damaged, &bytes).expect("it is written");
    let client = Client::connect(&format!("sqlite:{}", damaged.display())).await?;
    assert!(client.backup(&to).await.is_err());
    client.close().await?;
    let names = dir.path().read_dir().expect("it is a folder").filter_map(Result::ok);
    let names: Vec<_> = names.map(|one| one.file_name()).collect();
    assert_eq!(names, ["jobs.db"]);
    Ok(())
}

async fn a_store_without_a_file_says_that_it_cannot(lab: Lab) -> Kept {
    if lab.path().is_some() {
        skip!(lab, "it has a file");
    }
    let (_dir, to) = place();
    let error = lab.store.backup(to).await.expect_err("it cannot");
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
    let advice = if lab.on_postgres() { "pg_dump" } else { "in a file" };
    assert!(error.to_string().contains(advice), "{error}");
    Ok(())
}

async fn a_closed_store_writes_no_backup(lab: Lab) -> Kept {
    lab.store.close().await?;
    let (_dir, to) = place();
    assert!(matches!(lab.store.backup(to.clone()).await, Err(StoreError::Closed)));
    assert!(!to.exists());
    Ok(())
}
