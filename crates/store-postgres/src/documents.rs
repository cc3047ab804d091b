//! Reads of documents.

use surefoot::StoreError;
use surefoot::document::{Document, DocumentFilter};
use surefoot::unreadable::parse_content;
use tokio_postgres::Row;

use crate::args::Args;
use crate::failure::Failure;
use crate::read::before_nul;
use crate::row::{count, get, optional_time, time};
use crate::shared::Shared;

pub(crate) async fn get_one(
    shared: &Shared,
    kind: &str,
    id: &str,
) -> Result<Option<Document>, Failure> {
    if kind.contains('\0') || id.contains('\0') {
        return Ok(None);
    }
    let args = Args::none()
        .with(kind)
        .with(id)
        .with(shared.now().as_micros());
    let rows = shared.query((&shared.sql.document, args)).await?;
    Ok(rows.first().map(document).transpose()?)
}

pub(crate) async fn list(
    shared: &Shared,
    filter: &DocumentFilter,
) -> Result<Vec<Document>, Failure> {
    if filter.kind.contains('\0') {
        return Ok(Vec::new());
    }
    let statement = if filter.descending {
        &shared.sql.documents_descending
    } else {
        &shared.sql.documents
    };
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let args = Args::none()
        .with(filter.kind.as_str())
        .with(filter.after.as_deref().map(before_nul));
    let rows = shared
        .query((statement, args.with(shared.now().as_micros()).with(limit)))
        .await?;
    Ok(rows.iter().map(document).collect::<Result<_, _>>()?)
}

fn document(row: &Row) -> Result<Document, StoreError> {
    Ok(Document {
        kind: get(row, 0)?,
        id: get(row, 1)?,
        version: count(row, 2)?,
        updated_at: time(row, 3)?,
        expires_at: optional_time(row, 4)?,
        data: parse_content(get(row, 5)?),
    })
}
