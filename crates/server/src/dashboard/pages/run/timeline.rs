//! The timeline of a run: which of its steps the page draws, and how much of each. Those that are under way or looked at are
//! told in full, the others as far as there is room; of a long plan a stretch is drawn.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use surefoot::{Scope, Timestamp};

use super::Subject;
use super::steps::StepView;
use crate::dashboard::axis::{Axis, WIDTH};
use crate::dashboard::room::Room;
use crate::dashboard::text::duration;

#[derive(Serialize)]
pub(super) struct TimelineView {
    /// What the marks of the scale stand for.
    scale: Vec<String>,
    notes: Vec<String>,
    earlier: Option<Others>,
    steps: Vec<StepView>,
    later: Option<Others>,
}

/// Steps that are not drawn, and one of them to go on from.
#[derive(Serialize)]
struct Others {
    count: usize,
    step: String,
}

/// Steps that are drawn at most.
const WINDOW: usize = 40;
/// How many of them come before the one that is looked at.
const BEFORE: usize = 10;
/// Bytes that the line of a step takes of the page.
const LINE: usize = 1300;
/// Bytes that a step which is looked at takes at most.
const LOOKED_AT: usize = 34_000;
/// Bytes that another step is offered at least, as long as there are so many: what is told of it is worth opening it for.
const LEAST: usize = 2500;

pub(super) struct Timeline<'a> {
    subject: &'a Subject<'a>,
    axis: Axis,
    scope: Scope,
    drawn: Range<usize>,
    looked_at: Vec<usize>,
    views: BTreeMap<usize, StepView>,
}

impl<'a> Subject<'a> {
    pub(super) fn timeline(&'a self, asked: Option<usize>, room: &mut Room) -> Timeline<'a> {
        let count = self.run.steps.len();
        let looked_at = (0..count)
            .filter(|at| asked == Some(*at) || self.is_current(*at))
            .collect::<Vec<_>>();
        let drawn = window(count, asked.or(looked_at.first().copied()).unwrap_or(0));
        room.part(drawn.len() * LINE);
        Timeline {
            axis: self.axis(),
            scope: self.run.shown_scope(self.run.steps.len()),
            looked_at: looked_at
                .into_iter()
                .filter(|at| drawn.contains(at))
                .collect(),
            drawn,
            views: BTreeMap::new(),
            subject: self,
        }
    }

    pub(super) fn end(&self) -> Timestamp {
        self.run.head.completed_at.unwrap_or(self.visitor.now)
    }

    fn axis(&self) -> Axis {
        let active = self
            .course
            .active()
            .map(|span| (span.from, span.to.unwrap_or(self.visitor.now)));
        let first = self.course.active().map(|span| span.from).min();
        let from = first
            .or(self.run.head.started_at)
            .unwrap_or(self.run.created_at);
        Axis::new(from, self.end(), active)
    }
}

impl Timeline<'_> {
    pub(super) fn draw_looked_at(&mut self, room: &mut Room) {
        for position in self.looked_at.clone() {
            self.draw(position, LOOKED_AT.min(room.left() * 3 / 5), room, true);
        }
    }

    pub(super) fn draw_others(&mut self, room: &mut Room) {
        let others = self
            .drawn
            .clone()
            .filter(|at| !self.looked_at.contains(at))
            .collect::<Vec<_>>();
        for (index, position) in others.iter().enumerate() {
            let share = room.left() / (others.len() - index);
            self.draw(*position, share.max(LEAST), room, false);
        }
    }

    fn draw(&mut self, position: usize, most: usize, room: &mut Room, looked_at: bool) {
        let mut part = room.part(most);
        let view = self
            .subject
            .step(position, &self.axis, &self.scope, &mut part, looked_at);
        room.give(&part);
        self.views.insert(position, view);
    }

    pub(super) fn finish(self) -> TimelineView {
        let steps = self.subject.run.plan.steps();
        let others = |count: usize, at: usize| {
            (count > 0).then(|| Others {
                count,
                step: steps[at].id.clone(),
            })
        };
        let note = |key: &str, is_so: bool| is_so.then(|| self.subject.visitor.t(key, &[]));
        TimelineView {
            scale: [0.0, 0.25, 0.5, 0.75, 1.0]
                .map(|share| duration(self.axis.after(share * WIDTH)))
                .to_vec(),
            notes: [
                note("run.shortened", self.axis.shortened),
                note("run.cut", self.subject.cut),
            ]
            .into_iter()
            .flatten()
            .collect(),
            earlier: others(
                self.drawn.start,
                self.drawn.start.saturating_sub(WINDOW - BEFORE),
            ),
            later: others(
                steps.len() - self.drawn.end,
                (self.drawn.end + BEFORE).min(steps.len() - 1),
            ),
            steps: self.views.into_values().collect(),
        }
    }
}

/// The steps that are drawn around one.
fn window(count: usize, around: usize) -> Range<usize> {
    let from = around
        .saturating_sub(BEFORE)
        .min(count.saturating_sub(WINDOW));
    from..(from + WINDOW).min(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_of_a_long_plan_is_drawn_and_the_others_are_reached_from_it() {
        assert_eq!(
            (window(7, 3), window(40, 39), window(41, 0)),
            (0..7, 0..40, 0..40)
        );
        assert_eq!((window(100, 50), window(100, 99)), (40..80, 60..100));
        // Where the links of a stretch lead to.
        let drawn = window(200, 50);
        assert_eq!(window(200, drawn.end + BEFORE).start, drawn.end);
        assert_eq!(
            window(200, drawn.start - (WINDOW - BEFORE)).end,
            drawn.start
        );
    }
}
