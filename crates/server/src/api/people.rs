//! The caller, and the audit log.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::{AllowList, AllowLists, ListOwner};
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::runs::limit;
use super::wire::{Line, Time};
use crate::audit::{self, Entry};
use crate::auth::Actor;
use crate::http::Problem;
use crate::state::App;

/// The authenticated caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    name: String,
    /// `viewer`, `operator` or `admin`.
    role: &'static str,
    /// The way it was authenticated.
    via: String,
    /// The allow-lists of its role and token; each must permit the workflows that it submits,
    /// retries or answers.
    lists: Vec<Lists>,
}

/// Allow-lists, with `*` in an entry for any characters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lists {
    /// The owner, such as `role operator`.
    of: String,
    /// The workflows that are permitted; null permits all.
    workflows: Option<Vec<String>>,
    /// The actions that are permitted; null permits all.
    actions: Option<Vec<String>>,
}

impl From<(ListOwner, AllowLists)> for Lists {
    fn from((owner, lists): (ListOwner, AllowLists)) -> Self {
        let entries = |list: &AllowList| list.entries().map(<[String]>::to_vec);
        Self {
            of: owner.to_string(),
            workflows: entries(&lists.workflows),
            actions: entries(&lists.actions),
        }
    }
}

/// Show the caller.
#[utoipa::path(get, path = "/api/v1/me", tag = "people", responses((status = 200, body = Me)))]
pub(crate) async fn me(actor: Actor) -> Json<Me> {
    Json(Me {
        via: actor.via.short(),
        role: actor.role.as_str(),
        name: actor.name,
        lists: actor.lists.into_iter().map(Into::into).collect(),
    })
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    id: String,
    at: Time,
    actor: String,
    role: String,
    via: String,
    /// The action, such as `run.cancel` or `queue.pause`.
    action: String,
    /// The object of the action.
    subject: String,
    detail: Value,
    /// `done`, `refused`, or `asked` if a crash interrupted the action.
    outcome: &'static str,
    /// The reason of a refusal.
    reason: Option<String>,
}

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> Self {
        Self {
            outcome: entry.outcome.as_str(),
            reason: entry.outcome.reason().map(str::to_owned),
            id: entry.id,
            at: Time(entry.at),
            actor: entry.actor,
            role: entry.role,
            via: entry.via,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
        }
    }
}

/// Selects a page of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// The `next` of the previous page.
    after: Option<Line>,
    /// Number of entries per page: 1 to 500. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// A page of the audit log, newest entry first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    entries: Vec<AuditEntry>,
    /// The `after` of the next page; null on the last one.
    next: Option<String>,
}

const PAGE: u16 = 100;
const MAX_PAGE: u16 = 500;

/// Read the audit log, newest entry first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "people", params(AuditQuery), responses((status = 200, body = AuditPage))
)]
pub(crate) async fn log(
    State(app): State<App>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let limit = limit(query.limit, PAGE, MAX_PAGE)?;
    let mut entries = audit::list(app.store(), query.after.map(|after| after.0), limit + 1).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = match entries.last() {
        Some(entry) if more => Some(entry.id.clone()),
        _ => None,
    };
    Ok(Json(AuditPage {
        entries: entries.into_iter().map(Into::into).collect(),
        next,
    }))
}
