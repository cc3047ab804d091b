//! The report of a soak: a column for each loop, as a table or as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use surefoot::{Event, RunId};

use super::super::count::Counts;
use super::super::moves;
use super::injector::Injections;
use super::loops::Loop;
use crate::errors::Failure;
use crate::table::table;

/// Findings that are printed of one loop; more are counted.
const SHOWN: usize = 20;

/// A loop. The field names are a contract: scripts read them.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) fault: String,
    pub(super) clean: bool,
    /// Seconds in which runs were submitted and workers disturbed.
    pub(super) seconds: u64,
    /// Seconds until everything that was left had ended.
    pub(super) settled_after_seconds: f64,
    pub(super) acknowledged: usize,
    pub(super) kills: usize,
    pub(super) freezes: usize,
    pub(super) restarts: usize,
    pub(super) database_restarts: usize,
    /// Worker processes that found the store away when they started, and were started again.
    pub(super) refused_starts: usize,
    /// Acknowledged runs that the store does not know.
    pub(super) lost: usize,
    pub(super) stuck: usize,
    pub(super) failed: usize,
    pub(super) completed_steps_run_again: usize,
    pub(super) duplicate_effects: usize,
    /// Steps that were interrupted and run again: that is recovery, and no fault.
    pub(super) interrupted_steps: usize,
    /// Until a stopped run moved again; null where none was stopped.
    pub(super) moving_again_median_seconds: Option<f64>,
    pub(super) moving_again_max_seconds: Option<f64>,
    /// Broken promises, in words.
    pub(super) wrong: Vec<String>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) store: String,
    pub(super) seed: u64,
    pub(super) clean: bool,
    pub(super) loops: Vec<Row>,
}

/// Everything known of a loop when its runs have settled.
pub(super) struct Evidence {
    pub(super) time: Duration,
    pub(super) settled: Duration,
    pub(super) acknowledged: usize,
    pub(super) lost: usize,
    pub(super) counts: Counts,
    pub(super) injected: Injections,
    pub(super) histories: BTreeMap<RunId, Vec<Event>>,
}

impl Row {
    /// A row of a loop that could not be run to its end: nothing is proven.
    pub(super) fn broken(one: Loop, failure: &Failure) -> Self {
        Self {
            fault: one.name(),
            wrong: vec![failure.to_string().replace('\n', "; ")],
            ..Self::default()
        }
    }

    /// A row of what was counted.
    pub(super) fn of(one: Loop, evidence: Evidence) -> Self {
        let Evidence {
            counts, injected, ..
        } = evidence;
        let moves = moves::each(&injected.breaks, &evidence.histories).collect::<Vec<_>>();
        let never = moves.iter().filter(|time| time.is_none()).count();
        let mut times = moves.into_iter().flatten().collect::<Vec<_>>();
        times.sort_unstable();
        let mut wrong = injected.wrong;
        wrong.extend(counts.wrong);
        if never > 0 {
            wrong.push(format!("{never} stopped runs never moved again"));
        }
        let injections =
            injected.kills + injected.freezes + injected.restarts + injected.database_restarts;
        if evidence.acknowledged == 0 || injections == 0 || times.is_empty() {
            wrong.push("no run was stopped: nothing is proven".to_owned());
        }
        Self {
            fault: one.name(),
            clean: wrong.is_empty(),
            seconds: evidence.time.as_secs(),
            settled_after_seconds: seconds(evidence.settled.saturating_sub(evidence.time)),
            acknowledged: evidence.acknowledged,
            kills: injected.kills,
            freezes: injected.freezes,
            restarts: injected.restarts,
            database_restarts: injected.database_restarts,
            refused_starts: injected.refused_starts,
            lost: evidence.lost,
            // A run that is lost is counted as stuck too.
            stuck: counts.stuck.saturating_sub(evidence.lost),
            failed: counts.failed,
            completed_steps_run_again: counts.rerun,
            duplicate_effects: counts.duplicates,
            interrupted_steps: counts.interrupted,
            moving_again_median_seconds: times.get(times.len() / 2).copied().map(seconds),
            moving_again_max_seconds: times.last().copied().map(seconds),
            wrong,
        }
    }

    /// The text of the progress line.
    pub(super) fn summary(&self) -> String {
        format!(
            "{}: {}: {} runs acknowledged, {} lost, {} stuck, {} completed steps run again, {} duplicates",
            self.fault,
            self.word(),
            self.acknowledged,
            self.lost,
            self.stuck,
            self.completed_steps_run_again,
            self.duplicate_effects
        )
    }

    fn word(&self) -> &'static str {
        if self.clean { "clean" } else { "NOT CLEAN" }
    }

    /// The column of this loop, in the order of [`LABELS`].
    fn cells(&self) -> [String; LABELS.len()] {
        let time = |seconds: Option<f64>| {
            seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2} s"))
        };
        [
            format!("{} s", self.seconds),
            format!("{:.0} s", self.settled_after_seconds),
            self.acknowledged.to_string(),
            self.kills.to_string(),
            self.freezes.to_string(),
            self.restarts.to_string(),
            self.database_restarts.to_string(),
            self.refused_starts.to_string(),
            self.lost.to_string(),
            self.stuck.to_string(),
            self.failed.to_string(),
            self.completed_steps_run_again.to_string(),
            self.duplicate_effects.to_string(),
            self.interrupted_steps.to_string(),
            time(self.moving_again_median_seconds),
            time(self.moving_again_max_seconds),
            self.word().to_owned(),
        ]
    }
}

/// Names of the figures, one a line of the table.
const LABELS: [&str; 17] = [
    "time",
    "settled after",
    "runs acknowledged",
    "worker kills (-9)",
    "worker freezes",
    "worker restarts",
    "database restarts",
    "starts without store",
    "runs lost",
    "runs stuck",
    "runs failed",
    "completed steps run again",
    "duplicate effects",
    "steps interrupted and rerun",
    "moving again, median",
    "moving again, longest",
    "result",
];

impl Report {
    /// The table, and every broken promise.
    pub(super) fn text(&self) -> String {
        let head = self.loops.iter().map(|row| row.fault.to_uppercase());
        let head = std::iter::once("LOOP".to_owned())
            .chain(head)
            .collect::<Vec<_>>();
        let columns = self.loops.iter().map(Row::cells).collect::<Vec<_>>();
        let line = |(index, label): (usize, &&str)| {
            let cells = columns.iter().map(|column| column[index].clone());
            std::iter::once((*label).to_owned()).chain(cells).collect()
        };
        let lines = LABELS.iter().enumerate().map(line).collect::<Vec<_>>();
        let head = head.iter().map(String::as_str).collect::<Vec<_>>();
        let mut text = table(&head, &lines);
        text.push('\n');
        for row in &self.loops {
            for wrong in row.wrong.iter().take(SHOWN) {
                text.push_str(&format!("{}: NOT CLEAN: {wrong}\n", row.fault));
            }
            if row.wrong.len() > SHOWN {
                let more = row.wrong.len() - SHOWN;
                text.push_str(&format!("{}: NOT CLEAN: {more} more\n", row.fault));
            }
        }
        text.push_str(&format!("{}, seed {}\n", self.store, self.seed));
        text
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use surefoot::Timestamp;

    use super::super::super::moves::Break;
    use super::*;

    /// A loop of two kills that stopped one run, which moved 20 and 60 ms later.
    fn evidence() -> Evidence {
        let run = RunId::new();
        let at = |micros| Timestamp::from_micros(micros);
        let event = |micros| Event {
            seq: 1,
            at: at(micros),
            kind: "step.started".to_owned(),
            step: None,
            data: serde_json::Value::Null,
        };
        let broken = |micros| Break {
            back: at(micros),
            running: vec![run],
        };
        Evidence {
            time: Duration::from_secs(180),
            settled: Duration::from_millis(184_600),
            acknowledged: 200,
            lost: 0,
            counts: Counts {
                interrupted: 3,
                ..Counts::default()
            },
            injected: Injections {
                kills: 2,
                breaks: vec![broken(100_000), broken(500_000)],
                ..Injections::default()
            },
            histories: BTreeMap::from([(run, vec![event(120_000), event(560_000)])]),
        }
    }

    #[test]
    fn the_table_has_a_column_for_each_loop_and_names_what_was_wrong() {
        let lost = Evidence {
            lost: 1,
            counts: Counts {
                stuck: 1,
                wrong: vec!["shop was acknowledged and is not in the store".to_owned()],
                ..Counts::default()
            },
            ..evidence()
        };
        let rows = vec![Row::of(Loop::Kill, evidence()), Row::of(Loop::Mixed, lost)];
        let report = Report {
            store: "SQLite".to_owned(),
            seed: 7,
            clean: false,
            loops: rows,
        };
        insta::assert_snapshot!(report.text(), @r"
        LOOP                         KILL    MIXED
        time                         180 s   180 s
        settled after                5 s     5 s
        runs acknowledged            200     200
        worker kills (-9)            2       2
        worker freezes               0       0
        worker restarts              0       0
        database restarts            0       0
        starts without store         0       0
        runs lost                    0       1
        runs stuck                   0       0
        runs failed                  0       0
        completed steps run again    0       0
        duplicate effects            0       0
        steps interrupted and rerun  3       0
        moving again, median         0.06 s  0.06 s
        moving again, longest        0.06 s  0.06 s
        result                       clean   NOT CLEAN

        mixed: NOT CLEAN: shop was acknowledged and is not in the store
        SQLite, seed 7
        ");
    }

    #[test]
    fn a_loop_that_stopped_nothing_or_left_a_run_behind_is_not_clean() {
        assert!(Row::of(Loop::Kill, evidence()).clean);
        let mut idle = evidence();
        idle.injected.breaks.clear();
        let idle = Row::of(Loop::Kill, idle);
        assert_eq!(idle.wrong, ["no run was stopped: nothing is proven"]);
        let mut left = evidence();
        left.injected.breaks.push(Break {
            back: Timestamp::from_micros(900_000),
            running: left.injected.breaks[0].running.clone(),
        });
        let left = Row::of(Loop::Kill, left);
        assert_eq!(left.wrong, ["1 stopped runs never moved again"]);
    }
}
