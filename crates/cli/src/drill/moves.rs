//! Recovery time: the time until every running project moves again, by the store's own history.

use std::collections::BTreeMap;
use std::time::Duration;

use surefoot::{Event, RunId, Timestamp};

/// A fault that stopped runs, and the moment from which they can be expected to move.
#[derive(Clone, Debug)]
pub(super) struct Break {
    /// When the process or database was back; for a run that another worker is to take, when its
    /// own went away.
    pub(super) back: Timestamp,
    /// The runs that were under way, and that this stopped.
    pub(super) running: Vec<RunId>,
}

/// Events that a worker writes only while it works on a run. A claim is not yet a move.
const MOVES: [&str; 7] = [
    "step.started",
    "step.progress",
    "step.log",
    "step.completed",
    "step.retrying",
    "run.completed",
    "run.failed",
];

/// The longest time that a run took; `None` when one never moved again, or none was under way.
pub(super) fn longest(
    breaks: &[Break],
    histories: &BTreeMap<RunId, Vec<Event>>,
) -> Option<Duration> {
    each(breaks, histories)
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()
}

/// The time that each stopped run took, once for each break that stopped it; `None` for one that
/// never moved again.
pub(super) fn each<'a>(
    breaks: &'a [Break],
    histories: &'a BTreeMap<RunId, Vec<Event>>,
) -> impl Iterator<Item = Option<Duration>> + 'a {
    let all = breaks
        .iter()
        .flat_map(|one| one.running.iter().map(|run| (one.back, *run)));
    all.map(|(back, run)| waited(back, run, breaks, histories.get(&run)?))
}

/// Both end a run.
const ENDS: [&str; 2] = ["run.completed", "run.failed"];

/// A run that ended before it could be stopped has not waited. A run that is stopped again before
/// it has moved is counted from the last time that it could.
fn waited(back: Timestamp, run: RunId, breaks: &[Break], history: &[Event]) -> Option<Duration> {
    if history
        .iter()
        .any(|event| event.at < back && ENDS.contains(&event.kind.as_str()))
    {
        return Some(Duration::ZERO);
    }
    let moved = history
        .iter()
        .find(|event| event.at >= back && MOVES.contains(&event.kind.as_str()))?
        .at;
    let its_own = breaks
        .iter()
        .filter(|one| one.running.contains(&run))
        .map(|one| one.back);
    Some(moved.since(its_own.filter(|at| *at <= moved).max()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, kind: &str) -> Event {
        let at = Timestamp::from_micros(at);
        Event {
            seq: 1,
            at,
            kind: kind.to_owned(),
            step: None,
            data: serde_json::Value::Null,
        }
    }

    fn broken(at: i64, running: &[RunId]) -> Break {
        Break {
            back: Timestamp::from_micros(at),
            running: running.to_vec(),
        }
    }

    #[test]
    fn the_slowest_run_counts_and_a_claim_is_no_move() {
        let one = RunId::new();
        let two = RunId::new();
        let histories = BTreeMap::from([
            (
                one,
                vec![
                    event(90, "step.progress"),
                    event(110, "step.interrupted"),
                    event(130, "step.started"),
                ],
            ),
            (
                two,
                vec![event(120, "run.started"), event(170, "run.completed")],
            ),
        ]);
        assert_eq!(
            longest(&[broken(100, &[one])], &histories),
            Some(Duration::from_micros(30))
        );
        assert_eq!(
            longest(&[broken(100, &[one, two])], &histories),
            Some(Duration::from_micros(70))
        );
        assert_eq!(
            longest(&[broken(180, &[one, two])], &histories),
            None,
            "it never moved again"
        );
        assert_eq!(longest(&[broken(100, &[RunId::new()])], &histories), None);
        assert_eq!(longest(&[], &histories), None);
        let ended = BTreeMap::from([(one, vec![event(90, "run.completed")])]);
        assert_eq!(
            longest(&[broken(100, &[one])], &ended),
            Some(Duration::ZERO),
            "a worker that stops may end a run"
        );
    }

    #[test]
    fn a_run_that_is_stopped_twice_counts_from_the_last_time() {
        let run = RunId::new();
        let histories = BTreeMap::from([(run, vec![event(160, "step.started")])]);
        let breaks = [broken(100, &[run]), broken(150, &[run]), broken(200, &[])];
        assert_eq!(
            longest(&breaks, &histories),
            Some(Duration::from_micros(10))
        );
        // The cause that stopped another run is no excuse.
        let breaks = [broken(100, &[run]), broken(150, &[])];
        assert_eq!(
            longest(&breaks, &histories),
            Some(Duration::from_micros(60))
        );
    }
}
