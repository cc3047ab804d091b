//! Reads of documents.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use surefoot::document::{Document, DocumentFilter};
use surefoot::unreadable::parse_content;
use surefoot::{StoreError, Timestamp};

use crate::error::store_error;
use crate::row::{count, time};
use crate::sql;

pub(crate) fn get(
    conn: &Connection,
    kind: &str,
    id: &str,
    now: Timestamp,
) -> Result<Option<Document>, StoreError> {
    let read = || {
        let mut statement = conn.prepare_cached(sql::DOCUMENT)?;
        statement
            .query_row(params![kind, id, now.as_micros()], document)
            .optional()
    };
    read().map_err(|error| store_error(&error))
}

pub(crate) fn list(
    conn: &Connection,
    filter: &DocumentFilter,
    now: Timestamp,
) -> Result<Vec<Document>, StoreError> {
    let statement = if filter.descending {
        sql::DOCUMENTS_DESCENDING
    } else {
        sql::DOCUMENTS
    };
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let read = || -> rusqlite::Result<Vec<Document>> {
        let mut statement = conn.prepare_cached(statement)?;
        statement
            .query_map(
                params![filter.kind, filter.after, now.as_micros(), limit],
                document,
            )?
            .collect()
    };
    read().map_err(|error| store_error(&error))
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        kind: row.get(0)?,
        id: row.get(1)?,
        version: count(row, 2)?,
        updated_at: time(row, 3)?,
        expires_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_micros),
        data: parse_content(row.get_ref(5)?.as_str()?),
    })
}
