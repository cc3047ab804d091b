//! `GET /projects`: records published by completed steps, projects first. A project's status is
//! that of its run and is not stored separately.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::store::RecordFilter;
use surefoot::{Record, Run};

use crate::auth::Role;
use crate::dashboard::page_context::{Live, PageContext};
use crate::dashboard::text::{Moment, first_line, url};
use crate::dashboard::view::{Pages, Pair, Tab, Tone, name_of, safe_link, tone};
use crate::http::Problem;
use crate::state::App;

#[derive(Deserialize)]
pub(super) struct ProjectsQuery {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
}

#[derive(Serialize)]
struct View {
    kind: String,
    prefix: String,
    kinds: Vec<Tab>,
    rows: Vec<Row>,
    pages: Pages,
    new_href: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    run: String,
    run_name: String,
    state: Option<Tone>,
    description: String,
    owner: String,
    template: String,
    version: String,
    repository: String,
    link: Option<String>,
    environments: String,
    pairs: Vec<Pair>,
    created: Moment,
    updated: Moment,
}

const PAGE: usize = 50;
const KINDS: [&str; 3] = ["project", "repository", "environment"];
/// The built-in workflow that creates projects.
const PROJECT_WORKFLOW: &str = "project-initialization";

pub(super) async fn projects(
    context: PageContext,
    State(app): State<App>,
    Query(query): Query<ProjectsQuery>,
) -> Result<Response, Problem> {
    let kind = if query.kind.is_empty() {
        "project".to_owned()
    } else {
        query.kind.clone()
    };
    let filter = RecordFilter {
        kind: Some(kind.clone()),
        prefix: Some(query.prefix.trim().to_owned()).filter(|prefix| !prefix.is_empty()),
        after: Some(query.after.clone()).filter(|after| !after.is_empty()),
        limit: Some(PAGE + 1),
        ..RecordFilter::default()
    };
    let mut records = app.store().records(filter).await?;
    let more = records.len() > PAGE;
    records.truncate(PAGE);
    let mut rows = Vec::with_capacity(records.len());
    for record in &records {
        let run = app.store().run(record.run).await?;
        rows.push(Row::new(&context, record, run.as_ref()));
    }
    let address = |after: Option<&str>| {
        let after = after
            .map(|after| format!("&after={}", url(after)))
            .unwrap_or_default();
        format!(
            "/projects?kind={}&prefix={}{after}",
            url(&kind),
            url(&query.prefix)
        )
    };
    let pages = Pages {
        first: (!query.after.is_empty()).then(|| address(None)),
        next: match records.last() {
            Some(last) if more => Some(address(Some(&last.name))),
            _ => None,
        },
    };
    let makes = context.may(Role::Operator) && app.workflows().get(PROJECT_WORKFLOW).is_some();
    let view = View {
        kinds: kinds(&context, &kind),
        new_href: makes.then(|| format!("/new?workflow={PROJECT_WORKFLOW}")),
        kind,
        prefix: query.prefix,
        rows,
        pages,
    };
    context.page("projects.html", Live::any(), view).await
}

fn kinds(context: &PageContext, on: &str) -> Vec<Tab> {
    let tab = |kind: &str| Tab {
        href: if kind == "project" {
            "/projects".to_owned()
        } else {
            format!("/projects?kind={}", url(kind))
        },
        title: context
            .lang()
            .try_text(&format!("kind.{kind}"), &[])
            .unwrap_or_else(|| kind.to_owned()),
        on: kind == on,
        count: None,
    };
    let other = (!KINDS.contains(&on)).then(|| tab(on));
    KINDS.iter().map(|kind| tab(kind)).chain(other).collect()
}

impl Row {
    fn new(context: &PageContext, record: &Record, run: Option<&Run>) -> Self {
        let data = &record.data;
        let repository = text(&data["repository"]);
        Self {
            name: record.name.clone(),
            run: record.run.to_string(),
            run_name: run.map_or_else(|| record.run.to_string(), name_of),
            state: run.map(|run| tone(context, run)),
            description: text(&data["description"]),
            owner: text(&data["owner"]),
            template: data["template"]["name"]
                .as_str()
                .map_or_else(|| text(&data["template"]), str::to_owned),
            version: version(&data["template"]),
            link: safe_link(&repository),
            repository,
            environments: words(&data["environments"]),
            pairs: pairs(data),
            created: context.moment(record.created_at),
            updated: context.moment(record.updated_at),
        }
    }
}

/// The version of the template: its stated version, or the beginning of its digest.
fn version(template: &Value) -> String {
    let stated = ["version", "commit", "ref", "digest"]
        .into_iter()
        .find_map(|name| template[name].as_str());
    stated
        .filter(|text| !text.is_empty())
        .map(|text| text.chars().take(12).collect())
        .unwrap_or_default()
}

fn words(list: &Value) -> String {
    list.as_array()
        .map(|list| list.iter().map(text).collect::<Vec<_>>().join(", "))
        .unwrap_or_default()
}

fn pairs(data: &Value) -> Vec<Pair> {
    let pair = |(name, value): (&String, &Value)| Pair {
        name: name.clone(),
        value: first_line(&text(value), 160),
        code: !value.is_string(),
        masked: false,
    };
    data.as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(pair)
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
