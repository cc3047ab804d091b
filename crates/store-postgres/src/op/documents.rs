//! Documents: compare-and-set, in one statement.

use surefoot::document::{Expect, NewDocument};

use crate::args::Args;
use crate::failure::Failure;
use crate::row::{count, get, json, micros, signed};
use crate::shared::Shared;

pub(crate) async fn put_document(
    shared: &Shared,
    document: &NewDocument,
    expect: Expect,
) -> Result<Option<u64>, Failure> {
    let expected = match expect {
        Expect::Anything => None,
        Expect::Nothing => Some(0),
        // No document has this version, so the expectation cannot be met.
        Expect::Version(0) => return Ok(None),
        Expect::Version(version) => Some(signed(version)),
    };
    let args = Args::none()
        .with(document.kind.as_str())
        .with(document.id.as_str())
        .with(shared.now().as_micros())
        .with(micros(document.expires_at))
        .with(json(&document.data)?)
        .with(expected);
    let rows = shared.query((&shared.sql.put_document, args)).await?;
    shared.notifier.changed(false);
    Ok(rows.first().map(|row| count(row, 0)).transpose()?)
}

/// Returns whether there was one that had not expired.
pub(crate) async fn delete_document(
    shared: &Shared,
    kind: &str,
    id: &str,
) -> Result<bool, Failure> {
    if kind.contains('\0') || id.contains('\0') {
        return Ok(false);
    }
    let args = Args::none()
        .with(kind)
        .with(id)
        .with(shared.now().as_micros());
    let rows = shared.query((&shared.sql.delete_document, args)).await?;
    Ok(rows
        .first()
        .map(|row| get(row, 0))
        .transpose()?
        .unwrap_or(false))
}
