//! The HTTP API, version 1.

use axum::Router;

use crate::state::App;

/// Every route of the API.
pub(crate) fn router() -> Router<App> {
    Router::new()
}
