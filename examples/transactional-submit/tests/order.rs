//! The example on a real server, with a real worker: committed, rolled back, and repeated.

use std::sync::Arc;

use surefoot::{
    AllowList, AllowLists, Client, Handlers, QueueLimits, RunId, RunStatus, Store, Worker,
    WorkerOptions, Workflow, handler_fn,
};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use transactional_submit::place_order;

#[tokio::test]
async fn an_order_and_its_run_are_there_together_or_not_at_all() {
    let server = ScratchPostgres::shared();
    let url = server.fresh_database().expect("a database");
    let store = Arc::new(PostgresStore::options(&url).open().await.expect("a store"));
    let yaml = "
workflow: ship-order
parameters:
  type: object
  required: [order, item]
  properties: { order: { type: integer }, item: { enum: [boots, laces] } }
steps: [{ id: ship, action: ship, with: '${{ parameters.item }}' }]
";
    store
        .publish(&Arc::new(Workflow::from_yaml(yaml).expect("a workflow")))
        .await
        .expect("published");
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls)
        .await
        .expect("a session");
    let mut session = JoinSet::new();
    session.spawn(connection);
    client
        .batch_execute("CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL)")
        .await
        .expect("a table");

    let run = place_order(&mut client, 1, "boots").await.expect("placed");
    assert_eq!(
        place_order(&mut client, 1, "boots")
            .await
            .expect("the same"),
        run
    );
    // Parameters that the workflow refuses also undo the order.
    assert!(place_order(&mut client, 2, "umbrella").await.is_err());
    // So is what the workflow's queue does not permit.
    let others = QueueLimits {
        allow: AllowLists {
            workflows: AllowList::new(["invoice-*"]).expect("a list"),
            ..AllowLists::default()
        },
        ..QueueLimits::default()
    };
    let limit = async |limits| store.set_queue("ship-order", limits, false).await;
    limit(others).await.expect("a list for the queue");
    assert!(place_order(&mut client, 3, "laces").await.is_err());
    limit(QueueLimits::default())
        .await
        .expect("no list any more");
    let orders = client
        .query_one("SELECT count(*) FROM orders", &[])
        .await
        .expect("an answer");
    assert_eq!(orders.get::<_, i64>(0), 1);
    assert_eq!(store.runs(Default::default()).await.expect("runs").len(), 1);

    let handler =
        handler_fn(async |_: surefoot::StepContext, item: String| Ok(format!("shipped {item}")));
    let folder = tempfile::tempdir().expect("a folder");
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(
        store.clone(),
        Handlers::new().with("ship", handler),
        options,
    )
    .await
    .expect("a worker");
    let ended = Client::new(store as Arc<dyn Store>)
        .wait(RunId::from_bytes(*run.as_bytes()))
        .await
        .expect("it ends");
    assert_eq!(
        (ended.head.status, &ended.steps[0].output),
        (RunStatus::Completed, &Some("shipped boots".into()))
    );
    worker.stop().await;
}
