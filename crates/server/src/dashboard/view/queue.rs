//! A queue with its limits, as text and as form fields.

use std::time::Duration;

use serde::Serialize;
use surefoot::{
    AllowList, QueueInfo, QueueLimits, Rate, RetentionLimit, format_duration, parse_duration,
};

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

const DAY: u64 = 86_400;
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
                &[("status", &status), ("keep", &keep_text(keep)?)],
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
    let rate = limits
        .rate
        .map(|rate| format!("{}/{}", rate.max, format_duration(rate.per)));
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
            keep_text(limits.retention.completed),
            ".*",
            "30d,1000",
        ),
        field(
            "keep_failed",
            keep_text(limits.retention.failed),
            ".*",
            "90d",
        ),
        field(
            "keep_cancelled",
            keep_text(limits.retention.cancelled),
            ".*",
            "30d",
        ),
    ]
}

/// Formats a retention age in days where possible.
fn in_days(age: Duration) -> String {
    let days = age.as_secs() / DAY;
    if days > 0 && age == Duration::from_secs(days * DAY) {
        format!("{days}d")
    } else {
        format_duration(age)
    }
}

/// `30d,1000`; `None` when everything is kept.
fn keep_text(keep: RetentionLimit) -> Option<String> {
    let parts = [
        keep.age.map(in_days),
        keep.count.map(|count| count.to_string()),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Parses the limits of a form, which has no allow-lists; an empty field means no limit. The error
/// holds the invalid field and its text.
pub(in crate::dashboard) fn limit_fields(
    text: impl Fn(&str) -> String,
) -> Result<QueueLimits, (&'static str, String)> {
    fn read<T>(
        name: &'static str,
        text: String,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, (&'static str, String)> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        read(text).map(Some).ok_or_else(|| (name, text.to_owned()))
    }
    let count = |text: &str| text.parse::<u32>().ok().filter(|count| *count > 0);
    let mut limits = QueueLimits {
        concurrency: read("concurrency", text("concurrency"), count)?,
        concurrency_per_key: read("concurrency_per_key", text("concurrency_per_key"), count)?,
        rate: read("rate", text("rate"), read_rate)?,
        ..QueueLimits::default()
    };
    limits.retention.completed =
        read("keep_completed", text("keep_completed"), read_keep)?.unwrap_or_default();
    limits.retention.failed =
        read("keep_failed", text("keep_failed"), read_keep)?.unwrap_or_default();
    limits.retention.cancelled =
        read("keep_cancelled", text("keep_cancelled"), read_keep)?.unwrap_or_default();
    Ok(limits)
}

fn read_rate(text: &str) -> Option<Rate> {
    let (max, per) = text.split_once('/')?;
    let per = parse_duration(per.trim())
        .ok()
        .filter(|per| !per.is_zero())?;
    Some(Rate {
        max: max.trim().parse().ok().filter(|max| *max > 0)?,
        per,
    })
}

fn read_keep(text: &str) -> Option<RetentionLimit> {
    let mut keep = RetentionLimit::default();
    for part in text.split(',').map(str::trim) {
        match part.parse() {
            Ok(count) if keep.count.is_none() => keep.count = Some(count),
            Err(_) if keep.age.is_none() => keep.age = Some(parse_duration(part).ok()?),
            _ => return None,
        }
    }
    Some(keep)
}

#[cfg(test)]
mod tests {
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
            retention: surefoot::Retention {
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
