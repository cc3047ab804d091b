//! `GET /runs`: the list of runs. What is looked for is in the address, so that it can be kept and sent on.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use surefoot::store::RunFilter;
use surefoot::{RunId, RunStatus, Store, StoreError, Timestamp, WorkerId, parse_duration};

use crate::dashboard::text::{Zone, number, url};
use crate::dashboard::view::{Choice, Pages, RunRow, Tab};
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;

/// What is looked for, as the address says it. What cannot be read is as if it were not there.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) workflow: String,
    #[serde(default)]
    pub(super) queue: String,
    #[serde(default)]
    pub(super) text: String,
    /// Submitted `24h`: not longer ago; `today`: since the reader's midnight. With the status `failed`, `today` says when it
    /// failed.
    #[serde(default)]
    pub(super) since: String,
    #[serde(default)]
    pub(super) worker: String,
    /// The last run of the page before.
    #[serde(default)]
    before: String,
}

#[derive(Serialize)]
struct View {
    tabs: Vec<Tab>,
    filter: FilterView,
    workflows: Vec<String>,
    queues: Vec<String>,
    times: Vec<Choice>,
    worker: Option<String>,
    rows: Vec<RunRow>,
    pages: Pages,
}

#[derive(Serialize)]
struct FilterView {
    status: String,
    workflow: String,
    queue: String,
    text: String,
    query: String,
    any: bool,
}

const PAGE: usize = 50;
/// A tab counts no further.
const COUNTED: u64 = 10_000;
const TIMES: [&str; 6] = ["", "1h", TODAY, "24h", "7d", "30d"];
pub(super) const TODAY: &str = "today";

pub(super) async fn runs(
    visitor: Visitor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let store = app.store();
    let filter = RunFilter {
        limit: PAGE + 1,
        ..asked.filter(visitor.now, visitor.zone())
    };
    let (mut found, counts, queues) = tokio::try_join!(
        store.runs(filter),
        counts(store, asked.is_narrow()),
        store.queues()
    )?;
    let next = (found.len() > PAGE).then(|| found[PAGE - 1].id);
    found.truncate(PAGE);
    let mut workflows = app
        .workflows()
        .iter()
        .map(|workflow| workflow.name().to_owned())
        .collect::<Vec<_>>();
    if !asked.workflow.is_empty() && !workflows.contains(&asked.workflow) {
        workflows.push(asked.workflow.clone());
    }
    let view = View {
        tabs: asked.tabs(&counts),
        filter: FilterView {
            status: asked.status.clone(),
            workflow: asked.workflow.clone(),
            queue: asked.queue.clone(),
            text: asked.text.clone(),
            query: asked.query(None),
            any: !asked.query(None).is_empty(),
        },
        workflows,
        queues: queues.into_iter().map(|queue| queue.name).collect(),
        times: asked.times(&visitor),
        worker: Some(asked.worker.clone()).filter(|worker| !worker.is_empty()),
        rows: found.iter().map(|run| RunRow::new(&visitor, run)).collect(),
        pages: Pages {
            first: (!asked.before.is_empty()).then(|| asked.address(None)),
            next: next.map(|id| asked.address(Some(id))),
        },
    };
    // Further pages stand still: what is on them would move under the reader's hands.
    let live = if asked.before.is_empty() {
        Live::any()
    } else {
        Live::default()
    };
    visitor.page("runs.html", live, view).await
}

/// A store counts all runs of a status. Under a filter no number is better than one of other runs.
async fn counts(
    store: &dyn Store,
    narrow: bool,
) -> Result<Vec<(RunStatus, Option<u64>)>, StoreError> {
    let mut counts = Vec::new();
    for status in RunStatus::ALL {
        let count = if narrow {
            None
        } else {
            Some(store.count_runs(*status, COUNTED).await?)
        };
        counts.push((*status, count));
    }
    Ok(counts)
}

/// `10,000+` where counting stopped.
fn counted(count: u64) -> String {
    if count >= COUNTED {
        format!("{}+", number(COUNTED))
    } else {
        number(count)
    }
}

impl Asked {
    /// From the text of an address.
    pub(super) fn parse(query: &str) -> Self {
        serde_urlencoded::from_str(query).unwrap_or_default()
    }

    /// Whether something but the status is asked for.
    fn is_narrow(&self) -> bool {
        [
            &self.workflow,
            &self.queue,
            &self.text,
            &self.since,
            &self.worker,
        ]
        .iter()
        .any(|word| !word.trim().is_empty())
    }

    fn since(&self, now: Timestamp, zone: Zone) -> Option<Timestamp> {
        if self.since == TODAY {
            return Some(zone.midnight(now));
        }
        let ago = parse_duration(&self.since)
            .ok()
            .filter(|ago| *ago < Duration::from_secs(100 * 365 * 86_400))?;
        Some(Timestamp::from_micros(
            now.as_micros() - i64::try_from(ago.as_micros()).unwrap_or(0),
        ))
    }

    /// As the store is asked.
    pub(super) fn filter(&self, now: Timestamp, zone: Zone) -> RunFilter {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (status, since) = (self.status.parse().ok(), self.since(now, zone));
        // Failed today is what the overview counts, whenever it was submitted.
        let failed_today = self.since == TODAY && status == Some(RunStatus::Failed);
        RunFilter {
            status,
            workflow: text(&self.workflow),
            queue: text(&self.queue),
            text: text(&self.text),
            worker: self.worker.parse::<WorkerId>().ok(),
            since: since.filter(|_| !failed_today),
            failed_since: since.filter(|_| failed_today),
            before: self.before.parse().ok(),
            ..RunFilter::default()
        }
    }

    /// As it stands in an address, the place in the list apart.
    pub(super) fn query(&self, before: Option<RunId>) -> String {
        let before = before.map(|id| id.to_string()).unwrap_or_default();
        let pairs = [
            ("status", &self.status),
            ("workflow", &self.workflow),
            ("queue", &self.queue),
            ("text", &self.text),
            ("since", &self.since),
            ("worker", &self.worker),
            ("before", &before),
        ];
        let said = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        said.map(|(name, value)| format!("{name}={}", url(value)))
            .collect::<Vec<_>>()
            .join("&")
    }

    pub(super) fn address(&self, before: Option<RunId>) -> String {
        let query = self.query(before);
        if query.is_empty() {
            "/runs".to_owned()
        } else {
            format!("/runs?{query}")
        }
    }

    fn tabs(&self, counts: &[(RunStatus, Option<u64>)]) -> Vec<Tab> {
        let tab = |status: &str, count: Option<u64>| Tab {
            href: Self {
                status: status.to_owned(),
                before: String::new(),
                ..self.clone()
            }
            .address(None),
            title: format!("status.{}", if status.is_empty() { "all" } else { status }),
            on: self.status == status,
            count: count.map(counted),
        };
        let each = counts
            .iter()
            .map(|(status, count)| tab(status.as_str(), *count));
        std::iter::once(tab("", None)).chain(each).collect()
    }

    fn times(&self, visitor: &Visitor) -> Vec<Choice> {
        let title = |time: &str| {
            visitor.t(
                &format!("runs.time.{}", if time.is_empty() { "any" } else { time }),
                &[],
            )
        };
        TIMES
            .map(|value| Choice {
                value,
                title: title(value),
                on: self.since == value,
            })
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_survives_its_address() {
        let asked = Asked {
            status: "failed".into(),
            text: "a b&c=d".into(),
            since: "24h".into(),
            ..Asked::default()
        };
        let again = Asked::parse(&asked.query(None));
        assert_eq!(
            (again.status, again.text, again.since),
            (asked.status, asked.text, asked.since)
        );
        assert_eq!(Asked::default().address(None), "/runs");
    }

    #[test]
    fn today_begins_at_the_readers_midnight() {
        let now = "2026-05-04T20:00:00Z".parse().unwrap();
        let since = |zone: i32| {
            Asked::parse("since=today")
                .filter(now, Zone(zone))
                .since
                .unwrap()
                .to_string()
        };
        assert_eq!(
            (&since(0)[..13], &since(480)[..13]),
            ("2026-05-04T00", "2026-05-04T16")
        );
    }

    #[test]
    fn what_cannot_be_read_is_as_if_it_were_not_there() {
        let asked = Asked::parse("status=odd&since=soon&before=x&worker=y&text=%20");
        let filter = asked.filter(Timestamp::from_micros(0), Zone(0));
        assert_eq!(
            (
                filter.status,
                filter.since,
                filter.before,
                filter.worker,
                filter.text
            ),
            (None, None, None, None, None)
        );
        assert!(asked.is_narrow() && !Asked::parse("status=failed&text=%20&before=x").is_narrow());
        assert_eq!(counted(9_999), "9,999");
        assert_eq!(counted(10_000), "10,000+");
    }
}
