//! Documents: compare-and-set.

use rusqlite::{OptionalExtension as _, params};
use surefoot::document::{Expect, NewDocument};

use super::write::signed;
use crate::error::Failure;
use crate::row::{count, micros};
use crate::sql;
use crate::writer::Tx;

pub(crate) fn put_document(
    tx: &Tx<'_>,
    document: &NewDocument,
    data: &str,
    expect: Expect,
) -> Result<Option<u64>, Failure> {
    let NewDocument {
        kind,
        id,
        expires_at,
        ..
    } = document;
    let mut known = tx.conn.prepare_cached(sql::DOCUMENT_VERSION)?;
    let known = known
        .query_row(params![kind, id, tx.now.as_micros()], |row| count(row, 0))
        .optional()?;
    let fits = match expect {
        Expect::Anything => true,
        Expect::Nothing => known.is_none(),
        Expect::Version(version) => known == Some(version),
    };
    if !fits {
        return Ok(None);
    }
    let version = known.unwrap_or(0) + 1;
    let mut put = tx.conn.prepare_cached(sql::PUT_DOCUMENT)?;
    put.execute(params![
        kind,
        id,
        signed(version),
        tx.now.as_micros(),
        micros(*expires_at),
        data
    ])?;
    Ok(Some(version))
}

pub(crate) fn delete_document(tx: &Tx<'_>, kind: &str, id: &str) -> Result<bool, Failure> {
    let mut known = tx.conn.prepare_cached(sql::DOCUMENT_VERSION)?;
    let lived = known.exists(params![kind, id, tx.now.as_micros()])?;
    tx.conn
        .prepare_cached(sql::DELETE_DOCUMENT)?
        .execute([kind, id])?;
    Ok(lived)
}
