//! The time axis of a run's timeline. Long gaps without activity (a retry the next morning) are
//! drawn short, so that the activity stays visible.

use std::time::Duration;

use surefoot::Timestamp;

/// The width of the drawing.
pub(crate) const WIDTH: f64 = 1000.0;
/// The maximum width of a gap, as a share of all activity. Longer gaps are drawn this wide.
const MAX_GAP_SHARE: f64 = 0.15;
/// Gaps up to this many microseconds are drawn to scale; typically they are retry waits.
const MIN_GAP: f64 = 5e6;

#[derive(Debug)]
struct Piece {
    from: i64,
    to: i64,
    x: f64,
    width: f64,
}

/// Maps times to positions.
#[derive(Debug)]
pub(crate) struct Axis {
    pieces: Vec<Piece>,
    /// True if a gap is drawn shorter than it was.
    pub(crate) shortened: bool,
    total: Duration,
}

impl Axis {
    /// An axis from `from` to `to` with activity during `active`.
    pub(crate) fn new(
        from: Timestamp,
        to: Timestamp,
        active: impl Iterator<Item = (Timestamp, Timestamp)>,
    ) -> Self {
        let from = from.as_micros();
        let to = to.as_micros().max(from + 1);
        let busy = merged(
            active
                .map(|(a, b)| (a.as_micros().clamp(from, to), b.as_micros().clamp(from, to)))
                .collect(),
        );
        let done: i64 = busy.iter().map(|(a, b)| b - a).sum();
        #[expect(clippy::cast_precision_loss, reason = "microseconds on a drawing")]
        let longest = if done == 0 {
            f64::INFINITY
        } else {
            (done as f64 * MAX_GAP_SHARE).max(MIN_GAP)
        };
        let mut pieces = Vec::new();
        let mut at = from;
        for (begin, end) in busy.into_iter().chain([(to, to)]) {
            pieces.push(Piece::of(at, begin, longest));
            pieces.push(Piece::of(begin, end, f64::INFINITY));
            at = end;
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds on a drawing")]
        let shortened = pieces
            .iter()
            .any(|piece| piece.width < (piece.to - piece.from) as f64);
        Self {
            pieces: laid_out(pieces),
            shortened,
            total: Duration::from_micros((to - from).unsigned_abs()),
        }
    }

    /// The position of a time.
    pub(crate) fn x(&self, at: Timestamp) -> f64 {
        let at = at.as_micros();
        let Some(piece) = self.pieces.iter().find(|piece| at <= piece.to) else {
            return WIDTH;
        };
        #[expect(clippy::cast_precision_loss, reason = "microseconds on a drawing")]
        let share = if piece.to == piece.from {
            0.0
        } else {
            (at - piece.from).max(0) as f64 / (piece.to - piece.from) as f64
        };
        piece.x + share * piece.width
    }

    /// The time since the start at position `x`.
    pub(crate) fn after(&self, x: f64) -> Duration {
        let Some(piece) = self
            .pieces
            .iter()
            .find(|piece| x <= piece.x + piece.width && piece.width > 0.0)
        else {
            return self.total;
        };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "microseconds on a drawing"
        )]
        let within = ((x - piece.x) / piece.width * (piece.to - piece.from) as f64).round() as i64;
        Duration::from_micros((piece.from + within - self.pieces[0].from).unsigned_abs())
    }
}

impl Piece {
    fn of(from: i64, to: i64, longest: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "microseconds on a drawing")]
        let width = ((to - from) as f64).min(longest);
        Self {
            from,
            to,
            x: 0.0,
            width,
        }
    }
}

fn merged(mut stretches: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    stretches.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in stretches {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn laid_out(mut pieces: Vec<Piece>) -> Vec<Piece> {
    let total: f64 = pieces.iter().map(|piece| piece.width).sum();
    let mut x = 0.0;
    for piece in &mut pieces {
        piece.x = x;
        piece.width = piece.width / total.max(f64::MIN_POSITIVE) * WIDTH;
        x += piece.width;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 0.01, "{a} is not {b}");
    }

    #[test]
    fn without_gaps_time_is_even() {
        let axis = Axis::new(
            at(100),
            at(200),
            [(at(100), at(150)), (at(150), at(200))].into_iter(),
        );
        near(axis.x(at(125)), 250.0);
        near(axis.x(at(200)), 1000.0);
        assert_eq!(axis.after(500.0), Duration::from_secs(50));
        assert!(!axis.shortened);
    }

    #[test]
    fn a_night_between_two_attempts_is_drawn_short() {
        let axis = Axis::new(
            at(0),
            at(40_100),
            [(at(0), at(50)), (at(40_050), at(40_100))].into_iter(),
        );
        assert!(axis.shortened);
        near(axis.x(at(50)), 50.0 / 115.0 * 1000.0);
        near(axis.x(at(40_050)), 65.0 / 115.0 * 1000.0);
        assert_eq!(axis.after(1000.0).as_secs(), 40_100);
    }

    #[test]
    fn a_run_that_has_done_nothing_has_an_axis() {
        let axis = Axis::new(at(0), at(0), std::iter::empty());
        assert!(axis.x(at(0)).is_finite() && axis.x(at(9)).is_finite());
    }
}
