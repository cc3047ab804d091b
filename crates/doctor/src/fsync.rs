//! Latency of fsync, measured beside the store.
//!
//! A disk that answers faster than any disk can is caching. The measurement cannot prove that a
//! disk keeps its word, only that it does not.

#![expect(
    clippy::disallowed_methods,
    reason = "`doctor` measures the disk on a blocking thread"
)]

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Finding;
use crate::text::time;

const SUBJECT: &str = "fsync";

/// Syncs that the median is taken of.
const SYNCS: usize = 40;

/// Time limit of the measurement: a slow disk gets fewer syncs.
const LONGEST: Duration = Duration::from_millis(800);

/// No disk is this fast without a volatile cache. Drives whose cache survives a power cut take 20
/// us and more.
const NOT_BELIEVABLE: Duration = Duration::from_micros(20);

/// A disk this slow delays every step.
const SLOW: Duration = Duration::from_millis(30);

/// Measures in `folder`, which must exist, and judges the result.
pub fn fsync(folder: &Path) -> Finding {
    match measure_fsync(folder) {
        Ok(median) => judge_fsync(median),
        Err(error) => Finding::broken(
            SUBJECT,
            format!("nothing can be written in {}: {error}", folder.display()),
            "no step can be recorded: every run stands still",
        )
        .advice("see the permissions of the folder, and whether its disk is full or read-only"),
    }
}

/// Median time of a 4 KiB write with its fsync, in a temporary file in `folder`.
///
/// # Errors
/// When the file cannot be made, written or synced.
pub fn measure_fsync(folder: &Path) -> std::io::Result<Duration> {
    let mut probe = Probe::new(folder)?;
    let start = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    while times.len() < SYNCS && (times.len() < 3 || start.elapsed() < LONGEST) {
        times.push(probe.sync()?);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// A file that is removed after the measurement.
struct Probe {
    path: PathBuf,
    file: File,
}

impl Probe {
    fn new(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(format!(".surefoot-doctor-{}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let mut probe = Self { path, file };
        // The first write also creates the file and its block.
        probe.sync()?;
        Ok(probe)
    }

    /// Overwrites the same block, as a write-ahead log does after a restart from its beginning.
    fn sync(&mut self) -> std::io::Result<Duration> {
        let start = Instant::now();
        self.file.rewind()?;
        self.file.write_all(&[b'.'; 4096])?;
        self.file.sync_all()?;
        Ok(start.elapsed())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // If it cannot be removed, a small file with our name remains.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Judges the median time of an fsync.
pub fn judge_fsync(median: Duration) -> Finding {
    let found = format!("4 KiB written and synced in {} (median)", time(median));
    if median < NOT_BELIEVABLE {
        let means = "not believable: no disk is that quick. Something keeps it in memory and says that it is on the disk: a \
                     power cut may lose what was acknowledged (promise 1)";
        return Finding::warn(SUBJECT, found, means)
            .advice("see the file system above, the cache mode of the virtual disk and the write cache of the drive");
    }
    if median > SLOW {
        return Finding::note(
            SUBJECT,
            found,
            "nothing is lost, but each commit of a step waits this long",
        )
        .advice(
            "a faster disk makes every step start sooner; runs that go on together share commits",
        );
    }
    Finding::ok(
        SUBJECT,
        found,
        "a time that a disk can take: what was acknowledged is on it, if the disk is honest",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn times_are_judged() {
        let check = |micros, level| {
            let finding = judge_fsync(Duration::from_micros(micros));
            assert_eq!(finding.level, level, "{finding:?}");
        };
        check(3, Level::Warn);
        check(19, Level::Warn);
        check(20, Level::Ok);
        check(2_000, Level::Ok);
        check(50_000, Level::Note);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_not_believable_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        // One plausible result in five is enough: a busy machine makes some slow, never too fast.
        let mut findings = (0..5).map(|_| fsync(dir.path()));
        assert!(findings.any(|finding| finding.means.starts_with("not believable")));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_broken() {
        assert_eq!(fsync(Path::new("/not/there")).level, Level::Broken);
    }
}
