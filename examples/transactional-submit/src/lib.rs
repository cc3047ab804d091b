//! An order and the run that ships it, in one transaction: neither ever exists without the other.
//!
//! This needs only Surefoot's schema in the database: `surefoot.submit` is a function that any
//! client in any language can call. The workflow is known there once a worker, or
//! `surefoot submit FILE`, has published it.

use tokio_postgres::{Client, Error};
use uuid::Uuid;

/// Writes an order and submits the run that ships it. The order's number is the run's key:
/// repeating the order after a lost answer returns the same run.
///
/// # Errors
/// Returns the database's error; then neither the order nor the run was written.
pub async fn place_order(client: &mut Client, order: i64, item: &str) -> Result<Uuid, Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute(
            "INSERT INTO orders (id, item) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            &[&order, &item],
        )
        .await?;
    let submit = "SELECT surefoot.submit('ship-order', jsonb_build_object('order', $1::bigint, 'item', $2::text), key => $3)";
    let run = transaction
        .query_one(submit, &[&order, &item, &format!("order-{order}")])
        .await?
        .get(0);
    transaction.commit().await?;
    Ok(run)
}
