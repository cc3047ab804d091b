//! Report of a drill: a row for each fault, as a table or as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::count::Counts;
use super::faults::Fault;
use super::scene::Injected;
use crate::errors::Failure;
use crate::table::table;

/// Verdict on a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Clean,
    Unclean,
    Skipped,
}

/// A fault. The field names are a contract: scripts read them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) fault: String,
    pub(super) title: String,
    pub(super) result: Verdict,
    pub(super) stuck: usize,
    pub(super) completed_steps_run_again: usize,
    pub(super) duplicate_effects: usize,
    /// Until every running project moved again; null where nothing stopped, or something never
    /// moved.
    pub(super) moving_again_seconds: Option<f64>,
    pub(super) limit_seconds: Option<f64>,
    /// Steps that were interrupted and run again: that is recovery, and no fault.
    pub(super) interrupted_steps: usize,
    pub(super) failed: usize,
    pub(super) notes: Vec<String>,
    /// Broken promises.
    pub(super) wrong: Vec<String>,
}

/// All of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) store: String,
    pub(super) projects: u32,
    pub(super) steps: usize,
    pub(super) seconds: f64,
    pub(super) clean: bool,
    pub(super) faults: Vec<Row>,
}

impl Row {
    /// A row of a fault that cannot be had here.
    pub(super) fn skipped(fault: Fault, why: &str) -> Self {
        Self {
            result: Verdict::Skipped,
            notes: vec![why.to_owned()],
            ..Self::empty(fault)
        }
    }

    /// A row of a fault that could not be brought about: nothing is proven.
    pub(super) fn broken(fault: Fault, failure: &Failure) -> Self {
        Self {
            result: Verdict::Unclean,
            wrong: vec![failure.to_string().replace('\n', "; ")],
            ..Self::empty(fault)
        }
    }

    /// A row of what was counted.
    pub(super) fn of(
        fault: Fault,
        counts: Counts,
        injected: Injected,
        moved: Option<Duration>,
        limit: Duration,
    ) -> Self {
        let Injected {
            breaks,
            notes,
            mut wrong,
            ..
        } = injected;
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        if breaks.iter().any(|one| !one.running.is_empty()) {
            wrong.extend(too_slow(moved, limit));
        } else if !breaks.is_empty() {
            wrong.push("no project was running when the fault came: nothing is proven".to_owned());
        }
        wrong.extend(counts.wrong.iter().cloned());
        if fault.spares_workers() && counts.interrupted > 0 {
            wrong.push(format!(
                "{} steps were interrupted although their workers lived",
                counts.interrupted
            ));
        }
        let clean = wrong.is_empty() && counts.are_clean();
        Self {
            result: if clean {
                Verdict::Clean
            } else {
                Verdict::Unclean
            },
            stuck: counts.stuck,
            completed_steps_run_again: counts.rerun,
            duplicate_effects: counts.duplicates,
            moving_again_seconds: moved.map(seconds),
            limit_seconds: (!breaks.is_empty()).then(|| seconds(limit)),
            interrupted_steps: counts.interrupted,
            failed: counts.failed,
            notes,
            wrong,
            ..Self::empty(fault)
        }
    }

    /// The only row of a report.
    pub(super) fn of_json(text: &[u8]) -> Result<Self, Failure> {
        let report: Option<Report> = serde_json::from_slice(text).ok();
        let row = report.and_then(|report| report.faults.into_iter().next());
        row.ok_or_else(|| Failure::store("the drill inside the small disk told nothing"))
    }

    fn empty(fault: Fault) -> Self {
        Self {
            fault: fault.name(),
            title: fault.title().to_owned(),
            result: Verdict::Unclean,
            stuck: 0,
            completed_steps_run_again: 0,
            duplicate_effects: 0,
            moving_again_seconds: None,
            limit_seconds: None,
            interrupted_steps: 0,
            failed: 0,
            notes: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// Text of the progress line.
    pub(super) fn summary(&self) -> String {
        let [stuck, again, duplicates, moving] = self.figures();
        let moving = if moving == "-" {
            String::new()
        } else {
            format!(", moving again after {moving}")
        };
        match self.result {
            Verdict::Skipped => format!("skipped: {}", self.notes.join("; ")),
            _ => format!(
                "{}: {stuck} stuck, {again} completed steps run again, {duplicates} duplicates{moving}",
                self.word()
            ),
        }
    }

    fn figures(&self) -> [String; 4] {
        let moving = match (self.moving_again_seconds, self.limit_seconds) {
            (Some(seconds), _) => format!("{seconds:.2} s"),
            (None, Some(_)) => "never".to_owned(),
            (None, None) => "-".to_owned(),
        };
        let figures = [
            self.stuck,
            self.completed_steps_run_again,
            self.duplicate_effects,
        ]
        .map(|it| it.to_string());
        let [stuck, again, duplicates] = figures;
        [stuck, again, duplicates, moving]
    }

    fn word(&self) -> &'static str {
        match self.result {
            Verdict::Clean => "clean",
            Verdict::Unclean => "NOT CLEAN",
            Verdict::Skipped => "skipped",
        }
    }

    fn cells(&self) -> Vec<String> {
        let figures = if self.result == Verdict::Skipped {
            ["-"; 4].map(str::to_owned)
        } else {
            self.figures()
        };
        let mut cells = vec![self.title.clone()];
        cells.extend(figures);
        cells.push(self.word().to_owned());
        cells
    }
}

/// Returns true if something was proven and no promise was broken.
pub(super) fn are_clean(rows: &[Row]) -> bool {
    let any = |verdict| rows.iter().any(|row| row.result == verdict);
    any(Verdict::Clean) && !any(Verdict::Unclean)
}

fn too_slow(moved: Option<Duration>, limit: Duration) -> Option<String> {
    match moved {
        None => Some("a project that was running never moved again".to_owned()),
        Some(moved) if moved > limit => Some(format!(
            "it took {:.2} s until every project moved again, and {} s is the limit",
            moved.as_secs_f64(),
            limit.as_secs()
        )),
        Some(_) => None,
    }
}

impl Report {
    /// The table, what is to be said beside it, and the verdict.
    pub(super) fn text(&self) -> String {
        let head = [
            "FAULT",
            "STUCK",
            "COMPLETED STEPS RUN AGAIN",
            "DUPLICATE EFFECTS",
            "MOVING AGAIN",
            "RESULT",
        ];
        let mut text = table(
            &head,
            &self.faults.iter().map(Row::cells).collect::<Vec<_>>(),
        );
        text.push('\n');
        for row in &self.faults {
            let lines = row
                .notes
                .iter()
                .map(|note| format!("{}: {note}\n", row.fault));
            text.extend(
                lines.chain(
                    row.wrong
                        .iter()
                        .map(|wrong| format!("{}: NOT CLEAN: {wrong}\n", row.fault)),
                ),
            );
        }
        text.push_str(&self.verdict());
        text
    }

    fn verdict(&self) -> String {
        let of = |verdict| {
            self.faults
                .iter()
                .filter(|row| row.result == verdict)
                .count()
        };
        let skipped = match of(Verdict::Skipped) {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        let clean = of(Verdict::Clean);
        let all = self.faults.len();
        let nothing = if of(Verdict::Skipped) == all {
            "nothing is proven: every fault was skipped\n"
        } else {
            ""
        };
        format!(
            "{nothing}{clean} of {all} faults clean{skipped}; {} projects of {} steps each, 3 at a time, on {}, in {:.0} s\n",
            self.projects, self.steps, self.store, self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use surefoot::{RunId, Timestamp};

    use super::super::moves::Break;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn broken(running: usize) -> Vec<Break> {
        vec![Break {
            back: Timestamp::from_micros(0),
            running: (0..running).map(|_| RunId::new()).collect(),
        }]
    }

    fn row(breaks: Vec<Break>, counts: Counts, moved: Option<u64>) -> Row {
        let injected = Injected {
            breaks,
            ..Injected::default()
        };
        Row::of(
            Fault::WorkerKilled,
            counts,
            injected,
            moved.map(Duration::from_millis),
            LIMIT,
        )
    }

    fn check(row: &Row, wrong: Option<&str>) {
        let expect = if wrong.is_some() {
            Verdict::Unclean
        } else {
            Verdict::Clean
        };
        assert_eq!(
            (row.result, row.wrong.first().map(String::as_str)),
            (expect, wrong),
            "{row:?}"
        );
    }

    #[test]
    fn what_is_slow_never_moves_or_was_not_hit_is_not_clean() {
        let fine = Counts::default;
        check(&row(broken(3), fine(), Some(1000)), None);
        let slow = "it took 1.25 s until every project moved again, and 1 s is the limit";
        check(&row(broken(3), fine(), Some(1250)), Some(slow));
        check(
            &row(broken(3), fine(), None),
            Some("a project that was running never moved again"),
        );
        let late = "no project was running when the fault came: nothing is proven";
        check(&row(broken(0), fine(), None), Some(late));
        check(&row(Vec::new(), fine(), None), None);
        let stuck = Counts {
            stuck: 1,
            wrong: vec!["shop is stuck".to_owned()],
            ..Counts::default()
        };
        check(&row(broken(3), stuck, Some(10)), Some("shop is stuck"));
        let unsaid = Counts {
            duplicates: 1,
            ..Counts::default()
        };
        assert_eq!(row(broken(3), unsaid, Some(10)).result, Verdict::Unclean);
    }

    #[test]
    fn a_drill_that_skipped_everything_proves_nothing() {
        let skipped = || Row::skipped(Fault::DiskFull, "no disk");
        let clean = || row(broken(3), Counts::default(), Some(20));
        let unclean = || row(broken(3), Counts::default(), None);
        assert!(are_clean(&[clean(), skipped()]));
        assert!(!are_clean(&[clean(), unclean(), skipped()]));
        assert!(!are_clean(&[skipped(), skipped()]));
        assert!(!are_clean(&[]));
    }

    #[test]
    fn the_table_says_what_was_skipped_and_what_was_wrong() {
        let slow = row(
            broken(3),
            Counts {
                stuck: 1,
                ..Counts::default()
            },
            None,
        );
        let rows = vec![
            row(broken(3), Counts::default(), Some(20)),
            slow,
            Row::skipped(Fault::DiskFull, "no disk"),
        ];
        let report = Report {
            store: "SQLite".to_owned(),
            projects: 20,
            steps: 7,
            seconds: 60.0,
            clean: false,
            faults: rows,
        };
        insta::assert_snapshot!(report.text(), @r"
        FAULT               STUCK  COMPLETED STEPS RUN AGAIN  DUPLICATE EFFECTS  MOVING AGAIN  RESULT
        worker killed (-9)  0      0                          0                  0.02 s        clean
        worker killed (-9)  1      0                          0                  never         NOT CLEAN
        disk full for 8 s   -      -                          -                  -             skipped

        worker-killed: NOT CLEAN: a project that was running never moved again
        disk-full: no disk
        1 of 3 faults clean, 1 skipped; 20 projects of 7 steps each, 3 at a time, on SQLite, in 60 s
        ");
    }
}
