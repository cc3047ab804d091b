//! A queue with its limits, as text and as form fields.

use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;
use surefoot::{AllowList, QueueInfo, QueueLimits, Retention, RetentionLimit, format_duration};

use crate::dashboard::page_context::PageContext;
use crate::dashboard::text::{number, url};

#[derive(Debug, Serialize)]
pub(in crate::dashboard) struct QueueView {
    name: String,
    url_name: String,
    paused: bool,
    queued: String,
    waiting: String,
    running: String,
    limits: Vec<String>,
    keeps: Vec<String>,
    fields: Vec<LimitField>,
}

#[derive(Debug, Serialize)]
struct LimitField {
    id: String,
    name: &'static str,
    value: String,
    pattern: &'static str,
    example: &'static str,
}

const COUNT: &str = "[1-9][0-9]{0,8}";
const RATE: &str = "[1-9][0-9]{0,8}/.+";

impl QueueView {
    pub(in crate::dashboard) fn new(context: &PageContext, queue: &QueueInfo) -> Self {
        Self {
            name: queue.name.clone(),
            url_name: url(&queue.name),
            paused: queue.paused,
            queued: number(queue.queued),
            waiting: number(queue.waiting),
            running: number(queue.running),
            limits: limits(context, &queue.limits),
            keeps: retention(context, &queue.limits),
            fields: fields(queue),
        }
    }
}

fn limits(context: &PageContext, limits: &QueueLimits) -> Vec<String> {
    let count = |key: &str, limit: Option<u32>| {
        limit.map(|limit| context.t(key, &[("count", &limit.to_string())]))
    };
    let list = |key: &str, list: &AllowList| {
        let entries = list.entries()?;
        let entries = match entries {
            [] => context.t("allow.none", &[]),
            entries => entries.join(", "),
        };
        Some(context.t(key, &[("list", &entries)]))
    };
    let rate = limits.rate.map(|rate| {
        context.t(
            "queue.limit.rate",
            &[
                ("max", &rate.max.to_string()),
                ("per", &format_duration(rate.per)),
            ],
        )
    });
    let all = [
        count("queue.limit.concurrency", limits.concurrency),
        count("queue.limit.per_key", limits.concurrency_per_key),
        rate,
        list("queue.limit.workflows", &limits.allow.workflows),
        list("queue.limit.actions", &limits.allow.actions),
    ];
    all.into_iter().flatten().collect()
}

fn retention(context: &PageContext, limits: &QueueLimits) -> Vec<String> {
    let retention = &limits.retention;
    let of = [
        ("completed", retention.completed),
        ("failed", retention.failed),
        ("cancelled", retention.cancelled),
    ];
    of.into_iter()
        .filter_map(|(status, keep)| {
            let status = context.t(&format!("status.{status}"), &[]);
            Some(context.t(
                "queue.kept",
                &[("status", &status), ("keep", &keep.limited()?.to_string())],
            ))
        })
        .collect()
}

fn fields(queue: &QueueInfo) -> Vec<LimitField> {
    let limits = &queue.limits;
    let field = |name: &'static str, value: Option<String>, pattern, example| LimitField {
        id: format!("limit-{name}-{}", queue.name),
        name,
        value: value.unwrap_or_default(),
        pattern,
        example,
    };
    let count = |limit: Option<u32>| limit.map(|limit| limit.to_string());
    let rate = limits.rate.map(|rate| rate.to_string());
    let keep = |limit: RetentionLimit| limit.limited().map(|limit| limit.to_string());
    vec![
        field("concurrency", count(limits.concurrency), COUNT, "3"),
        field(
            "concurrency_per_key",
            count(limits.concurrency_per_key),
            COUNT,
            "1",
        ),
        field("rate", rate, RATE, "5/1s"),
        field(
            "keep_completed",
            keep(limits.retention.completed),
            ".*",
            "30d,1000",
        ),
        field("keep_failed", keep(limits.retention.failed), ".*", "90d"),
        field(
            "keep_cancelled",
            keep(limits.retention.cancelled),
            ".*",
            "30d",
        ),
    ]
}

/// Parses the limits of a form, which has no allow-lists; an empty field means no limit. The error
/// holds the invalid field and its text.
pub(in crate::dashboard) fn limit_fields(
    text: impl Fn(&str) -> String,
) -> Result<QueueLimits, (&'static str, String)> {
    fn read<T: FromStr>(
        name: &'static str,
        text: String,
    ) -> Result<Option<T>, (&'static str, String)> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| (name, text.to_owned()))
    }
    let count = |name| read::<NonZeroU32>(name, text(name)).map(|count| count.map(NonZeroU32::get));
    let keep = |name| read::<RetentionLimit>(name, text(name)).map(Option::unwrap_or_default);
    Ok(QueueLimits {
        concurrency: count("concurrency")?,
        concurrency_per_key: count("concurrency_per_key")?,
        rate: read("rate", text("rate"))?,
        retention: Retention {
            completed: keep("keep_completed")?,
            failed: keep("keep_failed")?,
            cancelled: keep("keep_cancelled")?,
        },
        ..QueueLimits::default()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use surefoot::Rate;

    use super::*;

    #[test]
    fn the_limits_of_a_form_are_parsed_as_shown() {
        let limits = QueueLimits {
            concurrency: Some(3),
            concurrency_per_key: None,
            rate: Some(Rate {
                max: 5,
                per: Duration::from_secs(1),
            }),
            retention: Retention {
                completed: RetentionLimit {
                    age: Some(Duration::from_secs(86_400)),
                    count: Some(10),
                },
                ..Default::default()
            },
            ..QueueLimits::default()
        };
        let queued = 0;
        let waiting = 0;
        let running = 0;
        let shown = fields(&QueueInfo {
            name: "q".into(),
            limits: limits.clone(),
            paused: false,
            queued,
            waiting,
            running,
        });
        let text = |name: &str| {
            shown
                .iter()
                .find(|field| field.name == name)
                .unwrap()
                .value
                .clone()
        };
        assert_eq!(text("keep_completed"), "1d,10");
        assert_eq!(limit_fields(text), Ok(limits));
    }

    #[test]
    fn an_invalid_field_is_named() {
        let with = |wrong: &'static str, value: &'static str| {
            limit_fields(move |name| {
                if name == wrong {
                    value.to_owned()
                } else {
                    String::new()
                }
            })
        };
        assert_eq!(
            with("concurrency", "0"),
            Err(("concurrency", "0".to_owned()))
        );
        assert_eq!(with("rate", "5"), Err(("rate", "5".to_owned())));
        assert_eq!(
            with("keep_failed", "soon"),
            Err(("keep_failed", "soon".to_owned()))
        );
        assert_eq!(with("concurrency", " "), Ok(QueueLimits::default()));
    }
}
