//! `GET /runs`: the list of runs. The filter is in the URL, so that it can be bookmarked and
//! shared.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use surefoot::store::RunFilter;
use surefoot::{RunId, RunStatus, Store, StoreError, Timestamp, WorkerId, parse_duration};

use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::text::{Zone, number, url};
use crate::dashboard::view::{Choice, Pages, RunRow, Tab};
use crate::http::Problem;
use crate::state::App;

/// The filter, as in the URL's query. Unreadable values are ignored.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct RunsQuery {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) workflow: String,
    #[serde(default)]
    pub(super) queue: String,
    #[serde(default)]
    pub(super) text: String,
    /// Start of the period of submission: a duration such as `24h`, or `today` for the reader's
    /// midnight. With the status `failed`, `today` refers to the time of the failure.
    #[serde(default)]
    pub(super) since: String,
    #[serde(default)]
    pub(super) worker: String,
    /// The last run of the previous page.
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
/// Limit of the count shown on a tab.
const MAX_COUNT: u64 = 10_000;
const TIMES: [&str; 6] = ["", "1h", TODAY, "24h", "7d", "30d"];
pub(super) const TODAY: &str = "today";

pub(super) async fn runs(
    context: PageContext,
    State(app): State<App>,
    Query(query): Query<RunsQuery>,
) -> Result<Response, Problem> {
    let store = app.store();
    let filter = RunFilter {
        limit: PAGE + 1,
        ..query.filter(context.now, context.zone())
    };
    let (mut found, counts, queues) = tokio::try_join!(
        store.runs(filter),
        counts(store, query.is_narrow()),
        store.queues()
    )?;
    let next = (found.len() > PAGE).then(|| found[PAGE - 1].id);
    found.truncate(PAGE);
    let mut workflows = app
        .workflows()
        .iter()
        .map(|workflow| workflow.name().to_owned())
        .collect::<Vec<_>>();
    if !query.workflow.is_empty() && !workflows.contains(&query.workflow) {
        workflows.push(query.workflow.clone());
    }
    let view = View {
        tabs: query.tabs(&counts),
        filter: FilterView {
            status: query.status.clone(),
            workflow: query.workflow.clone(),
            queue: query.queue.clone(),
            text: query.text.clone(),
            query: query.query(None),
            any: !query.query(None).is_empty(),
        },
        workflows,
        queues: queues.into_iter().map(|queue| queue.name).collect(),
        times: query.times(&context),
        worker: Some(query.worker.clone()).filter(|worker| !worker.is_empty()),
        rows: found.iter().map(|run| RunRow::new(&context, run)).collect(),
        pages: Pages {
            first: (!query.before.is_empty()).then(|| query.address(None)),
            next: next.map(|id| query.address(Some(id))),
        },
    };
    // Further pages are not refreshed: their rows would move while they are read.
    let live = if query.before.is_empty() {
        Live::any()
    } else {
        Live::default()
    };
    context.page("runs.html", live, view).await
}

/// The number of runs per status. The store counts without filters, so with a filter no number is
/// shown.
async fn counts(
    store: &dyn Store,
    narrow: bool,
) -> Result<Vec<(RunStatus, Option<u64>)>, StoreError> {
    let mut counts = Vec::new();
    for status in RunStatus::ALL {
        let count = if narrow {
            None
        } else {
            Some(store.count_runs(*status, MAX_COUNT).await?)
        };
        counts.push((*status, count));
    }
    Ok(counts)
}

/// A count, or `10,000+` at the limit.
fn format_count(count: u64) -> String {
    if count >= MAX_COUNT {
        format!("{}+", number(MAX_COUNT))
    } else {
        number(count)
    }
}

impl RunsQuery {
    /// Parses a URL's query.
    pub(super) fn parse(query: &str) -> Self {
        serde_urlencoded::from_str(query).unwrap_or_default()
    }

    /// Returns true if anything but the status is filtered.
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

    /// The filter for the store.
    pub(super) fn filter(&self, now: Timestamp, zone: Zone) -> RunFilter {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let status = self.status.parse().ok();
        let since = self.since(now, zone);
        // The overview counts runs that failed today, whenever they were submitted.
        let failed_today = self.since == TODAY && status == Some(RunStatus::Failed);
        RunFilter {
            status,
            workflow: text(&self.workflow),
            queue: text(&self.queue),
            text: text(&self.text),
            worker: self.worker.parse::<WorkerId>().ok(),
            since: if failed_today { None } else { since },
            failed_since: if failed_today { since } else { None },
            before: self.before.parse().ok(),
            ..RunFilter::default()
        }
    }

    /// The filter as a URL's query; `before` is the position in the list.
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
        let present = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        present
            .map(|(name, value)| format!("{name}={}", url(value)))
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
            count: count.map(format_count),
        };
        let each = counts
            .iter()
            .map(|(status, count)| tab(status.as_str(), *count));
        std::iter::once(tab("", None)).chain(each).collect()
    }

    fn times(&self, context: &PageContext) -> Vec<Choice> {
        let title = |time: &str| {
            context.t(
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
    fn a_filter_survives_its_url() {
        let query = RunsQuery {
            status: "failed".into(),
            text: "a b&c=d".into(),
            since: "24h".into(),
            ..RunsQuery::default()
        };
        let parsed = RunsQuery::parse(&query.query(None));
        assert_eq!(
            (parsed.status, parsed.text, parsed.since),
            (query.status, query.text, query.since)
        );
        assert_eq!(RunsQuery::default().address(None), "/runs");
    }

    #[test]
    fn today_begins_at_the_readers_midnight() {
        let now = "2026-05-04T20:00:00Z".parse().unwrap();
        let since = |zone: i32| {
            RunsQuery::parse("since=today")
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
    fn unreadable_values_are_ignored() {
        let query = RunsQuery::parse("status=odd&since=soon&before=x&worker=y&text=%20");
        let filter = query.filter(Timestamp::from_micros(0), Zone(0));
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
        assert!(
            query.is_narrow() && !RunsQuery::parse("status=failed&text=%20&before=x").is_narrow()
        );
        assert_eq!(format_count(9_999), "9,999");
        assert_eq!(format_count(10_000), "10,000+");
    }
}
