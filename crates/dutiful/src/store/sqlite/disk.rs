//! The health of the place where the file lies: what kind of disk, how large, how much is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::open::{WAL_BYTES_MAX, is_network_kind};
use super::partial::{left_beside, with_ending};
use crate::inspect::{Finding, Vitals};
use crate::store::common::health::{bad, ok, warning};

const KIB: u64 = 1024;
const MIB: u64 = KIB * 1024;
const GIB: u64 = MIB * 1024;
/// A log over this is warned of: it should have been cut back.
const WAL_WARNING: u64 = WAL_BYTES_MAX as u64;
/// A log over this is bad: somebody holds a snapshot, and reads get slower.
const WAL_BAD: u64 = 256 * MIB;
/// Less free space than this is bad.
const FREE_BAD: u64 = 100 * MIB;
/// Less free space than this is warned of; so is less than a tenth.
const FREE_WARNING: u64 = GIB;
/// Less than this part of `?max_bytes` left is warned of, in percent.
const ROOM_WARNING: u64 = 10;
/// Less than this part of `?max_bytes` left is bad, in percent.
const ROOM_BAD: u64 = 2;
/// Others than the owner and the group.
const OTHERS: u32 = 0o007;

/// Looks at the place of this file.
pub(super) fn look(path: &Path) -> Vec<Finding> {
    let bytes = |ending: &str| fs::metadata(with_ending(path, ending)).map_or(0, |m| m.len());
    vec![
        kind(path),
        ok("size", said(bytes(""))),
        wal(bytes("-wal")),
        free(path),
        mode(path),
        leftovers(path),
    ]
}

/// What is known of the health of a store in this file, or in memory. SQLite says neither who reads
/// how old a snapshot nor how much of its log is of no use any more.
pub(super) fn vitals(path: Option<&Path>, doorbell_lag: Option<Duration>) -> Vitals {
    let log = path.and_then(|path| fs::metadata(with_ending(path, "-wal")).ok());
    Vitals {
        wal_bytes: log.map(|log| log.len()),
        doorbell_lag_s: doorbell_lag.map(|lag| lag.as_secs_f64()),
        ..Vitals::default()
    }
}

fn kind(path: &Path) -> Finding {
    #[cfg(target_os = "linux")]
    if let Ok(stat) = rustix::fs::statfs(path) {
        return kind_of(stat.f_type as u32);
    }
    let _ = path;
    ok("file_system", "unknown".into())
}

/// Knows the kernel's numbers of common file systems.
fn kind_of(number: u32) -> Finding {
    const CHECK: &str = "file_system";
    const LOCAL: [(u32, &str); 6] = [
        (0xEF53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0x2FC1_2FC1, "zfs"),
        (0xF2F5_2010, "f2fs"),
        (0xCA45_1A4E, "bcachefs"),
    ];
    if is_network_kind(number) {
        let advice = "move the store to a local disk: SQLite cannot trust a network's locks";
        return bad(CHECK, format!("a network file system ({number:#x})"), advice);
    }
    match number {
        0x0102_1994 => warning(CHECK, "tmpfs".into(), "it is memory: a restart loses the store"),
        0x794C_7630 => {
            warning(CHECK, "overlay".into(), "it goes with its container: put it on a volume")
        }
        0x6573_5546 => {
            warning(CHECK, "fuse".into(), "be sure that what is behind it is a local disk")
        }
        _ => match LOCAL.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => ok(CHECK, (*name).into()),
            None => ok(CHECK, format!("kind {number:#x}")),
        },
    }
}

fn wal(bytes: u64) -> Finding {
    let advice = "find the program that keeps a read open on this file for long, and end it";
    match bytes {
        WAL_BAD.. => bad("wal", said(bytes), advice),
        n if n > WAL_WARNING => warning("wal", said(bytes), advice),
        _ => ok("wal", said(bytes)),
    }
}

fn free(path: &Path) -> Finding {
    match rustix::fs::statvfs(path) {
        Ok(stat) => free_of(stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize),
        Err(error) => warning("disk", format!("unknown: {error}"), "look at the disk by hand"),
    }
}

fn free_of(free: u64, total: u64) -> Finding {
    let value = format!("{} of {} free", said(free), said(total));
    let advice = "free some space, or move the store: without space nothing can be enqueued";
    match () {
        () if free < FREE_BAD => bad("disk", value, advice),
        () if free < FREE_WARNING || free < total / 10 => warning("disk", value, advice),
        () => ok("disk", value),
    }
}

/// Says what is left under the limit that the URL sets; `used` does not count free pages.
pub(super) fn room(used: u64, max: u64) -> Finding {
    let left = max.saturating_sub(used);
    let value = format!("{} of {} left under max_bytes", said(left), said(max));
    let percent = left.saturating_mul(100) / max.max(1);
    let advice = "raise max_bytes, or let fewer jobs wait and finished ones be kept for less long";
    match percent {
        n if n < ROOM_BAD => bad("room", value, advice),
        n if n < ROOM_WARNING => warning("room", value, advice),
        _ => ok("room", value),
    }
}

fn mode(path: &Path) -> Finding {
    let modes = ["", "-wal", "-shm"].map(|ending| fs::metadata(with_ending(path, ending)));
    let all = modes.into_iter().flatten().fold(0, |all, meta| all | meta.mode()) & 0o777;
    let value = format!("{all:04o}");
    let advice = "others on this machine may read the payloads or write: chmod o-rwx the file";
    if all & OTHERS == 0 { ok("mode", value) } else { warning("mode", value, advice) }
}

fn leftovers(path: &Path) -> Finding {
    let left = left_beside(path);
    match left.first() {
        None => ok("leftovers", "none".into()),
        Some(first) => {
            let value = format!("{} unfinished, such as {}", left.len(), first.display());
            warning("leftovers", value, "delete them once no backup or restore is under way")
        }
    }
}

/// Returns a size for people.
pub(super) fn said(bytes: u64) -> String {
    match bytes {
        GIB.. => format!("{:.1} GiB", bytes as f64 / GIB as f64),
        MIB.. => format!("{:.1} MiB", bytes as f64 / MIB as f64),
        _ => format!("{} KiB", bytes.div_ceil(KIB)),
    }
}

/// Says what holds of a store in memory instead of all this.
pub(super) fn none() -> Finding {
    let advice = "what is acknowledged is gone with this process: name a file for real work";
    warning("file_system", "memory".into(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Verdict;

    #[test]
    fn the_limits_are_where_the_documentation_says() {
        use Verdict::{Bad, Ok, Warning};
        for (bytes, verdict) in [(64 * MIB, Ok), (65 * MIB, Warning), (256 * MIB, Bad)] {
            assert_eq!(wal(bytes).verdict, verdict, "{bytes} in the log");
        }
        for (free, total, verdict) in [
            (2 * GIB, 10 * GIB, Ok),
            (2 * GIB, 30 * GIB, Warning),
            (GIB - 1, 5 * GIB, Warning),
            (100 * MIB - 1, 200 * MIB, Bad),
        ] {
            assert_eq!(free_of(free, total).verdict, verdict, "{free} of {total}");
        }
        for (used, verdict) in [(0, Ok), (90, Ok), (91, Warning), (98, Warning), (99, Bad)] {
            assert_eq!(room(used, 100).verdict, verdict, "{used} of 100");
        }
        for (number, verdict) in [(0xEF53, Ok), (0x6969, Bad), (0x0102_1994, Warning), (7, Ok)] {
            assert_eq!(kind_of(number).verdict, verdict, "{number:#x}");
        }
    }

    #[test]
    fn what_others_may_read_and_what_was_left_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.db");
        fs::write(&path, b"").expect("it is written");
        let open_to = |bits| fs::set_permissions(&path, fs::Permissions::from_mode(bits));
        open_to(0o640).expect("it is ours");
        assert_eq!((mode(&path).verdict, leftovers(&path).verdict), (Verdict::Ok, Verdict::Ok));
        open_to(0o604).expect("it is ours");
        assert_eq!(mode(&path).verdict, Verdict::Warning);
        fs::write(dir.path().join(".a.db.00000000.partial"), b"").expect("it is written");
        assert_eq!(leftovers(&path).verdict, Verdict::Warning);
    }
}
