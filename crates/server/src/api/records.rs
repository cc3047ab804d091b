//! Records: projects, repositories and environments published by completed steps.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::Record;
use surefoot::store::RecordFilter;
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::runs::limit;
use super::wire::{Id, Line, Time};
use crate::http::Problem;
use crate::state::App;

/// A durable fact published by a completed step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordView {
    /// `project`, `repository`, `environment`.
    kind: String,
    name: String,
    /// The run that published it.
    run: Id,
    /// The content.
    data: Value,
    created_at: Time,
    updated_at: Time,
}

impl From<Record> for RecordView {
    fn from(record: Record) -> Self {
        Self {
            kind: record.kind,
            name: record.name,
            run: Id(record.run),
            data: record.data,
            created_at: Time(record.created_at),
            updated_at: Time(record.updated_at),
        }
    }
}

/// Selects records. All given conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordQuery {
    /// Only records of this kind, such as `project`.
    kind: Option<Line>,
    /// Only records of this name.
    name: Option<Line>,
    /// Only records whose name begins with this text.
    prefix: Option<Line>,
    /// Only records of this run.
    run: Option<Id>,
    /// The `next` of the previous page; requires `kind`.
    after: Option<Line>,
    /// Number of records per page: 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// A page of records, by kind and name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordPage {
    records: Vec<RecordView>,
    /// The `after` of the next page; null on the last one, and without a `kind`.
    next: Option<String>,
    /// True if there are more.
    more: bool,
}

const PAGE: u16 = 100;
const MAX_PAGE: u16 = 500;

/// List the records published by completed steps.
#[utoipa::path(
    get, path = "/api/v1/records", tag = "records", params(RecordQuery), responses((status = 200, body = RecordPage))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<RecordQuery>,
) -> Result<Json<RecordPage>, Problem> {
    if query.after.is_some() && query.kind.is_none() {
        return Err(Problem::invalid(
            "after",
            "only records of one kind have pages: give `kind` as well",
        ));
    }
    let limit = limit(query.limit, PAGE, MAX_PAGE)?;
    let text = |line: Option<Line>| line.map(|line| line.0);
    let by_kind = query.kind.is_some();
    let filter = RecordFilter {
        kind: text(query.kind),
        name: text(query.name),
        prefix: text(query.prefix),
        run: query.run.map(|id| id.0),
        after: text(query.after),
        limit: Some(limit + 1),
    };
    let mut records = app.store().records(filter).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = match records.last() {
        Some(record) if more && by_kind => Some(record.name.clone()),
        _ => None,
    };
    Ok(Json(RecordPage {
        records: records.into_iter().map(Into::into).collect(),
        next,
        more,
    }))
}
