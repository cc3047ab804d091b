//! A store with a published workflow, and a plain SQL session beside it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::{Client, Run, RunId, Store, Workflow};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client as Sql, NoTls};
use uuid::Uuid;

/// Timeout of the store's operations, for a slow disk.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) url: String,
    pub(crate) database: String,
    /// Notifications received by all of its sessions.
    notifications: Arc<Mutex<Vec<String>>>,
    _sessions: JoinSet<()>,
}

/// A workflow with every feature that a submission checks.
pub(crate) fn workflow() -> Arc<Workflow> {
    let yaml = "
workflow: shop
queue: shops
unique: shop ${{ parameters.name }} in ${{ parameters.region.id }}
parameters:
  type: object
  required: [name]
  additionalProperties: false
  properties:
    name: { type: string, pattern: '^[a-z]+$' }
    size: { type: integer, default: 3 }
    kind: { enum: [small, large], default: small }
    tags: { type: [array, 'null'] }
    region:
      type: object
      default: { id: 1 }
      properties: { id: { type: integer }, zone: { type: string, default: a } }
steps:
  - { id: one, action: test.work, with: { name: '${{ parameters.name }}' } }
  - { id: two, action: test.work }
";
    Arc::new(Workflow::from_yaml(yaml).unwrap())
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let url = ScratchPostgres::shared().fresh_database().unwrap();
        let patient = PostgresStore::options(&url)
            .operation_timeout(PATIENCE)
            .connect_timeout(PATIENCE);
        let store = Arc::new(patient.open().await.unwrap());
        store.publish(&workflow()).await.unwrap();
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self {
            store,
            url,
            database,
            notifications: Arc::default(),
            _sessions: JoinSet::new(),
        }
    }

    /// Notifications received by the sessions since the last call.
    pub(crate) fn notifications(&self) -> Vec<String> {
        std::mem::take(&mut self.notifications.lock().unwrap())
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.store.clone() as Arc<dyn Store>)
    }

    /// A session of another client.
    pub(crate) async fn sql(&mut self) -> Sql {
        let url = self.url.clone();
        self.sql_at(&url).await
    }

    pub(crate) async fn sql_at(&mut self, url: &str) -> Sql {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let notifications = self.notifications.clone();
        self._sessions.spawn(async move {
            // Until the session ends.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(notification) = message {
                    notifications
                        .lock()
                        .unwrap()
                        .push(notification.payload().to_owned());
                }
            }
        });
        client
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.client().run(id).await.unwrap()
    }

    pub(crate) fn psql(&self, statement: &str) -> String {
        ScratchPostgres::shared()
            .psql(&self.database, statement)
            .unwrap()
    }
}

/// Submits a shop, with further arguments of the call.
pub(crate) async fn submit(sql: &Sql, parameters: &Value, more: &str) -> Result<RunId, String> {
    let call = format!("SELECT surefoot.submit('shop', $1::text::jsonb{more})");
    let rows = sql.query(&call, &[&parameters.to_string()]).await;
    let rows = rows.map_err(|error| {
        error
            .as_db_error()
            .map_or_else(|| error.to_string(), code_and_message)
    })?;
    Ok(RunId::from_bytes(*rows[0].get::<_, Uuid>(0).as_bytes()))
}

fn code_and_message(error: &tokio_postgres::error::DbError) -> String {
    format!("{} {}", error.code().code(), error.message())
}

pub(crate) fn shop(name: &str) -> Value {
    json!({ "name": name })
}
