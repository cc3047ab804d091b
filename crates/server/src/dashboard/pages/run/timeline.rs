//! The timeline of a run: the steps shown, and how much of each. Active and selected steps are
//! shown in full, others as the budget allows. Of a long plan, a window is shown.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use surefoot::Timestamp;

use super::Subject;
use super::steps::StepView;
use crate::dashboard::axis::{Axis, WIDTH};
use crate::dashboard::size_budget::SizeBudget;
use crate::dashboard::text::duration;

#[derive(Serialize)]
pub(super) struct TimelineView {
    /// The labels of the scale.
    scale: Vec<String>,
    notes: Vec<String>,
    earlier: Option<HiddenSteps>,
    steps: Vec<StepView>,
    later: Option<HiddenSteps>,
}

/// Steps outside the window, and one of them to continue from.
#[derive(Serialize)]
struct HiddenSteps {
    count: usize,
    step: String,
}

/// Number of steps in the window.
const WINDOW: usize = 40;
/// Number of steps in the window before the selected one.
const BEFORE: usize = 10;
/// Size of a step's line.
const LINE: usize = 1300;
/// Size limit of a selected step.
const SELECTED_STEP: usize = 34_000;
/// Minimum size offered to other steps while the budget lasts; with less, opening them would not be
/// worthwhile.
const MIN_STEP: usize = 2500;

pub(super) struct Timeline<'a> {
    subject: &'a Subject<'a>,
    axis: Axis,
    drawn: Range<usize>,
    selected: Vec<usize>,
    views: BTreeMap<usize, StepView>,
}

impl<'a> Subject<'a> {
    pub(super) fn timeline(
        &'a self,
        requested: Option<usize>,
        budget: &mut SizeBudget,
    ) -> Timeline<'a> {
        let count = self.run.steps.len();
        let selected = (0..count)
            .filter(|at| requested == Some(*at) || self.is_current(*at))
            .collect::<Vec<_>>();
        let drawn = window(count, requested.or(selected.first().copied()).unwrap_or(0));
        budget.part(drawn.len() * LINE);
        Timeline {
            axis: self.axis(),
            selected: selected
                .into_iter()
                .filter(|at| drawn.contains(at))
                .collect(),
            drawn,
            views: BTreeMap::new(),
            subject: self,
        }
    }

    pub(super) fn end(&self) -> Timestamp {
        self.run.head.completed_at.unwrap_or(self.context.now)
    }

    fn axis(&self) -> Axis {
        let active = self
            .run_timeline
            .active()
            .map(|span| (span.from, span.to.unwrap_or(self.context.now)));
        let first = self.run_timeline.active().map(|span| span.from).min();
        let from = first
            .or(self.run.head.started_at)
            .unwrap_or(self.run.created_at);
        Axis::new(from, self.end(), active)
    }
}

impl Timeline<'_> {
    pub(super) fn draw_selected(&mut self, budget: &mut SizeBudget) {
        for position in self.selected.clone() {
            self.draw(
                position,
                SELECTED_STEP.min(budget.left() * 3 / 5),
                budget,
                true,
            );
        }
    }

    pub(super) fn draw_others(&mut self, budget: &mut SizeBudget) {
        let others = self
            .drawn
            .clone()
            .filter(|at| !self.selected.contains(at))
            .collect::<Vec<_>>();
        for (index, position) in others.iter().enumerate() {
            let share = budget.left() / (others.len() - index);
            self.draw(*position, share.max(MIN_STEP), budget, false);
        }
    }

    fn draw(&mut self, position: usize, most: usize, budget: &mut SizeBudget, selected: bool) {
        let mut part = budget.part(most);
        let view = self.subject.step(position, &self.axis, &mut part, selected);
        budget.give_back(&part);
        self.views.insert(position, view);
    }

    pub(super) fn finish(self) -> TimelineView {
        let steps = self.subject.run.plan.steps();
        let others = |count: usize, at: usize| {
            (count > 0).then(|| HiddenSteps {
                count,
                step: steps[at].id.clone(),
            })
        };
        let note = |key: &str, is_so: bool| is_so.then(|| self.subject.context.t(key, &[]));
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

/// The window of steps around one.
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
    fn a_long_plan_is_shown_in_windows_that_link_to_each_other() {
        assert_eq!(
            (window(7, 3), window(40, 39), window(41, 0)),
            (0..7, 0..40, 0..40)
        );
        assert_eq!((window(100, 50), window(100, 99)), (40..80, 60..100));
        // The targets of the links to earlier and later steps.
        let drawn = window(200, 50);
        assert_eq!(window(200, drawn.end + BEFORE).start, drawn.end);
        assert_eq!(
            window(200, drawn.start - (WINDOW - BEFORE)).end,
            drawn.start
        );
    }
}
