//! An order and the run that ships it, in one transaction: neither is ever there without the other.
//!
//! Nothing of Surefoot is needed for it but its schema in the database: `surefoot.submit` is a function that any client in any
//! language calls. The workflow is known there since a worker, or `surefoot submit FILE`, has published it.

use tokio_postgres::{Client, Error};
use uuid::Uuid;

/// Writes an order and submits the run that ships it. The order's number is the run's key: the same order again, after an
/// answer that got lost, gives the same run.
///
/// # Errors
/// What the database says; nothing was written then, neither the order nor the run.
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
