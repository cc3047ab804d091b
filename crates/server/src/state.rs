//! Shared state of all handlers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRef;
use surefoot::{Client, Store};
use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, AuthError};
use crate::checkup::CheckupCache;
use crate::dashboard::PageCache;
use crate::options::ServerOptions;
use crate::sse::Hub;
use crate::workflows::Workflows;

/// Shared state of all handlers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    auth: Auth,
    options: ServerOptions,
    listen: SocketAddr,
    hub: Hub,
    checkups: CheckupCache,
    page_cache: PageCache,
    stop: CancellationToken,
}

impl App {
    pub(crate) async fn new(
        client: Client,
        options: ServerOptions,
        listen: SocketAddr,
        stop: CancellationToken,
    ) -> Result<Self, AuthError> {
        let store = client.store().clone();
        let hub = Hub::new(store.clone(), stop.clone());
        let auth = Auth::new(
            store,
            options.auth.clone(),
            listen,
            options.public_url.as_deref(),
        )
        .await?;
        let checkups = CheckupCache::new(options.checkup.clone());
        Ok(Self(Arc::new(Inner {
            client,
            auth,
            options,
            listen,
            hub,
            checkups,
            page_cache: PageCache::default(),
            stop,
        })))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.0.client.store().as_ref()
    }

    pub(crate) fn workflows(&self) -> &Workflows {
        &self.0.options.workflows
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.0.options
    }

    /// Cancelled when the server stops; streams then end.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// The watchers of runs.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The findings about the deployment.
    pub(crate) fn checkups(&self) -> &CheckupCache {
        &self.0.checkups
    }

    /// Values cached for pages.
    pub(crate) fn page_cache(&self) -> &PageCache {
        &self.0.page_cache
    }

    /// The public address of the server, without a trailing slash.
    pub(crate) fn public_url(&self) -> String {
        match &self.0.options.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.0.listen),
        }
    }
}

impl FromRef<App> for Auth {
    fn from_ref(app: &App) -> Self {
        app.auth().clone()
    }
}
