//! Documents, as readers see them.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use surefoot::document::{Document, DocumentFilter};
use surefoot::{StoreError, Timestamp};

use crate::error::store_error;
use crate::row::{count, parse_json, time};
use crate::sql;

pub(crate) fn get(conn: &Connection, kind: &str, id: &str, now: Timestamp) -> Result<Option<Document>, StoreError> {
    let read = || {
        let mut statement = conn.prepare_cached(sql::DOCUMENT)?;
        statement.query_row(params![kind, id, now.as_micros()], document).optional()
    };
    read().map_err(|error| store_error(&error))?.transpose()
}

pub(crate) fn list(conn: &Connection, filter: &DocumentFilter, now: Timestamp) -> Result<Vec<Document>, StoreError> {
    let statement = if filter.descending { sql::DOCUMENTS_DESCENDING } else { sql::DOCUMENTS };
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let read = || -> rusqlite::Result<Vec<Result<Document, StoreError>>> {
        let mut statement = conn.prepare_cached(statement)?;
        statement.query_map(params![filter.kind, filter.after, now.as_micros(), limit], document)?.collect()
    };
    read().map_err(|error| store_error(&error))?.into_iter().collect()
}

fn document(row: &Row<'_>) -> rusqlite::Result<Result<Document, StoreError>> {
    let data = parse_json(row.get_ref(5)?.as_str()?);
    let expires_at = row.get::<_, Option<i64>>(4)?.map(Timestamp::from_micros);
    let (kind, id, version, updated_at) = (row.get(0)?, row.get(1)?, count(row, 2)?, time(row, 3)?);
    Ok(data.map(|data| Document { kind, id, version, updated_at, expires_at, data }))
}
