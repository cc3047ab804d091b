//! Size limits of a template: it is held in memory whole, and a worker holds several.

use super::{Content, Entry, TemplateError};

const MIB: u64 = 1024 * 1024;
/// Largest file.
pub(crate) const FILE: u64 = 10 * MIB;
/// All files together.
pub(super) const TOTAL: u64 = 64 * MIB;
/// Number of files.
pub(super) const COUNT: usize = 10_000;

/// Refuses a template beyond a limit.
pub(super) fn check(entries: &[Entry]) -> Result<(), TemplateError> {
    let mut gauge = Gauge::default();
    entries.iter().try_for_each(|entry| match &entry.content {
        Content::File { bytes, .. } => gauge.add(&entry.path, bytes.len() as u64),
        Content::Symlink { target } => gauge.add(&entry.path, target.len() as u64),
    })
}

/// Sums up the size so far, so that a loader can stop before it reads too much.
#[derive(Default)]
pub(super) struct Gauge {
    total: u64,
    count: usize,
}

impl Gauge {
    pub(super) fn add(&mut self, path: &str, size: u64) -> Result<(), TemplateError> {
        self.total += size;
        self.count += 1;
        if size > FILE {
            let message = format!(
                "has {size} bytes; a file of a template has at most {} MiB",
                FILE / MIB
            );
            return Err(TemplateError::at(path, message));
        }
        if self.total > TOTAL {
            return Err(TemplateError(format!(
                "the template is larger than {} MiB",
                TOTAL / MIB
            )));
        }
        if self.count > COUNT {
            return Err(TemplateError(format!(
                "the template has more than {COUNT} files"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_at_its_edge() {
        assert!(Gauge::default().add("a", FILE).is_ok());
        assert!(
            Gauge::default()
                .add("a", FILE + 1)
                .unwrap_err()
                .0
                .contains("file a")
        );
        let mut total = Gauge {
            total: TOTAL - 1,
            count: 0,
        };
        assert!(total.add("a", 1).is_ok() && total.add("b", 1).is_err());
        let mut count = Gauge {
            total: 0,
            count: COUNT - 1,
        };
        assert!(count.add("a", 0).is_ok() && count.add("b", 0).is_err());
    }
}
