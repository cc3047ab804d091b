//! Free disk space. A full disk loses nothing that was accepted, but nothing more is accepted and
//! no run moves.

use std::path::Path;

use crate::Finding;
use crate::filesystem::nearest;
use crate::text::bytes;

/// Below this, work is about to stop.
const LITTLE: u64 = 256 << 20;

/// Below one part in this many of the disk, a warning is due.
const SHARE: u64 = 20;

/// With this much free, a disk is not near its end, however large it is.
const PLENTY: u64 = 10 << 30;

/// Checks the free space under `path`, which need not exist yet. `subject` names the finding.
pub fn free_space(subject: &str, path: &Path) -> Finding {
    let Some(path) = nearest(path) else {
        return Finding::unknown(subject, "no folder above it can be read");
    };
    match rustix::fs::statvfs(&path) {
        Ok(disk) => {
            let size = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            // File systems without a fixed number of files report 0 for both.
            let files = (disk.f_files > 0).then_some(disk.f_favail);
            judge_space(subject, size(disk.f_bavail), size(disk.f_blocks), files)
        }
        Err(error) => Finding::unknown(subject, error),
    }
}

/// Judges the free bytes of a disk of `total` bytes, and the files that can still be created where
/// that is limited.
pub fn judge_space(subject: &str, free: u64, total: u64, files: Option<u64>) -> Finding {
    let found = format!("{} of {} free", bytes(free), bytes(total));
    const STOPS: &str = "on a full disk nothing accepted is lost, but nothing more is accepted and runs stand still";
    const ADVICE: &str = "free some space; runs go on by themselves then";
    match files {
        Some(files) if files < 1000 => Finding::warn(
            subject,
            format!("{found}, but only {files} more files can be made"),
            STOPS,
        )
        .advice(ADVICE),
        _ if free < LITTLE => Finding::warn(subject, found, STOPS).advice(ADVICE),
        _ if free < total / SHARE && free < PLENTY => {
            Finding::note(subject, found, STOPS).advice(ADVICE)
        }
        _ => Finding::ok(subject, found, "far from full"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn little_space_is_told() {
        let check = |free: u64, total: u64, files: Option<u64>, level: Level| {
            let finding = judge_space("free disk", free, total, files);
            assert_eq!(finding.level, level, "{finding:?}");
        };
        check(100 << 30, 200 << 30, Some(1_000_000), Level::Ok);
        check(11 << 30, 1 << 40, None, Level::Ok);
        check(5 << 30, 1 << 40, None, Level::Note);
        check(100 << 20, 200 << 20, None, Level::Warn);
        check(100 << 30, 200 << 30, Some(10), Level::Warn);
    }

    #[test]
    fn a_real_disk_is_looked_at() {
        let finding = free_space("free disk", Path::new("/tmp/not/there"));
        assert!(finding.found.contains(" free"), "{finding:?}");
    }
}
