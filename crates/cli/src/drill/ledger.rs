//! The ledger: the effects that really happened, written outside the store by the process that
//! caused them. A line for each start and end of a handler, and one for the result after it. Each
//! is appended whole, so that a kill leaves no partial line.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name in a drill's folder.
const NAME: &str = "ledger.jsonl";

/// Subject of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    /// A handler was called.
    Begin,
    /// The result of a step existed after its handler; `thing` names it uniquely.
    Effect,
    /// The handler has returned; `thing` says how.
    End,
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Microseconds since the Unix epoch, by the clock of the worker.
    pub(super) at: i64,
    pub(super) what: What,
    /// The worker.
    pub(super) pid: u32,
    pub(super) run: String,
    pub(super) project: String,
    pub(super) step: String,
    pub(super) attempt: u32,
    pub(super) key: String,
    pub(super) thing: String,
}

/// The ledger of one drill.
#[derive(Clone, Debug)]
pub(super) struct Ledger(PathBuf);

impl Ledger {
    /// The ledger in a drill's folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.join(NAME))
    }

    /// Adds a line, in one write.
    pub(super) fn append(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.0)?
            .write_all(text.as_bytes())
    }

    /// Every line so far. A line that cannot be read makes the whole ledger worthless, and is an
    /// error.
    pub(super) fn lines(&self) -> io::Result<Vec<Line>> {
        parsed(&self.text()?)
    }

    /// Every whole line so far, while workers write: the last may be half there.
    pub(super) fn whole_lines(&self) -> io::Result<Vec<Line>> {
        let text = self.text()?;
        parsed(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    fn text(&self) -> io::Result<String> {
        match std::fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        }
    }
}

fn parsed(text: &str) -> io::Result<Vec<Line>> {
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(io::Error::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(folder.path());
        assert_eq!(ledger.lines().unwrap(), []);
        let line = Line {
            at: 7,
            what: What::Begin,
            pid: 1,
            run: "r".to_owned(),
            project: "shop".to_owned(),
            step: "s".to_owned(),
            attempt: 1,
            key: "r/s".to_owned(),
            thing: String::new(),
        };
        ledger.append(&line).unwrap();
        ledger
            .append(&Line {
                what: What::End,
                ..line.clone()
            })
            .unwrap();
        assert_eq!(
            ledger.lines().unwrap(),
            [
                line.clone(),
                Line {
                    what: What::End,
                    ..line.clone()
                }
            ]
        );
        // As a reader may see it while another process writes.
        let path = folder.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert_eq!(ledger.whole_lines().unwrap(), [line]);
        assert!(ledger.lines().is_err());
        std::fs::write(&path, "{\"at\":\n").unwrap();
        assert!(ledger.whole_lines().is_err());
    }
}
