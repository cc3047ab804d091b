//! Acknowledging alerts.

use serde_json::{Value, json};
use surefoot::StoreError;
use surefoot::document::{Document, Expect, NewDocument};

use crate::audit::audited;
use crate::auth::Actor;
use crate::state::App;

/// The kind of the documents in which alerts are kept.
pub(crate) const KIND: &str = "alert";

/// Says that somebody has seen an alert. The first one who did stays. `None` when there is no such alert.
pub(crate) async fn acknowledge(app: &App, actor: &Actor, id: &str) -> Result<Option<Document>, StoreError> {
    audited(app, actor, "alert.acknowledge", id, json!({}), async {
        loop {
            let Some(mut alert) = app.store().document(KIND, id).await? else { return Ok(None) };
            if !alert.data["acknowledged_by"].is_null() {
                return Ok(Some(alert));
            }
            alert.data["acknowledged_by"] = Value::from(actor.name.as_str());
            alert.data["acknowledged_at"] = Value::from(app.store().now().as_micros());
            let (data, expires_at) = (alert.data.clone(), alert.expires_at);
            let next = NewDocument { kind: KIND.to_owned(), id: id.to_owned(), expires_at, data };
            // Who wrote it meanwhile may have resolved it: that is kept.
            if let Some(version) = app.store().put_document(next, Expect::Version(alert.version)).await? {
                alert.version = version;
                return Ok(Some(alert));
            }
        }
    })
    .await
}
