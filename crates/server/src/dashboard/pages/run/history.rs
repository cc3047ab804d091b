//! A run's history as text. Progress and log lines are shown in the timeline instead.

use serde::Serialize;
use serde_json::Value;
use surefoot::Event;

use super::{ROW_SIZE, Subject};
use crate::dashboard::size_budget::{SizeBudget, size};
use crate::dashboard::text::{Moment, first_line};

#[derive(Serialize)]
pub(super) struct EventView {
    seq: u64,
    at: Moment,
    text: String,
}

/// Number of entries shown.
const SHOWN: usize = 100;

impl Subject<'_> {
    /// The last entries, and a note on omitted earlier ones.
    pub(super) fn history(
        &self,
        events: &[Event],
        budget: &mut SizeBudget,
    ) -> (Vec<EventView>, Option<String>) {
        let entries = events
            .iter()
            .filter(|event| !matches!(event.kind.as_str(), "step.progress" | "step.log"));
        let entries = entries.collect::<Vec<_>>();
        let view = |event: &&Event| EventView {
            seq: event.seq,
            at: self.context.moment(event.at),
            text: self.event(event),
        };
        let mut part = budget.part(budget.left() / 2);
        let last = entries.iter().rev().take(SHOWN).map(view);
        let mut shown = last
            .take_while(|view| part.take(ROW_SIZE + size(&view.text)))
            .collect::<Vec<_>>();
        shown.reverse();
        budget.give_back(&part);
        let left_out = entries.len() - shown.len();
        let note = match left_out {
            _ if self.cut => Some(self.context.t("run.history_cut", &[])),
            0 => None,
            count => Some(
                self.context
                    .t("run.history_more", &[("count", &count.to_string())]),
            ),
        };
        (shown, note)
    }

    fn event(&self, event: &Event) -> String {
        let step = event
            .step
            .as_deref()
            .and_then(|step| self.run.plan.position(step));
        let title = step.map_or_else(
            || event.step.clone().unwrap_or_default(),
            |position| self.run.plan.steps()[position].title.clone(),
        );
        let mut values = vec![("step", title)];
        for name in [
            "reason", "error", "by", "from", "question", "answer", "note", "until", "attempt",
            "worker",
        ] {
            values.push((name, self.value(name, &event.data[name])));
        }
        let pairs = values
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect::<Vec<_>>();
        // In the history, an answer includes the person's note.
        let key = match event.kind.as_str() {
            "step.answered" if event.data["note"].is_string() => {
                "step.answered_in_history".to_owned()
            }
            kind => format!("event.{kind}"),
        };
        let text = self.context.lang().try_text(&key, &pairs);
        text.unwrap_or_else(|| event.kind.clone())
    }

    fn value(&self, name: &str, value: &Value) -> String {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        match name {
            "worker" => self.worker(&text),
            "until" => text.parse().map_or(text, |at| self.context.moment(at).text),
            "answer" => self
                .context
                .lang()
                .try_text(&format!("answer.{text}"), &[])
                .unwrap_or(text),
            _ => first_line(&text, 240),
        }
    }
}
