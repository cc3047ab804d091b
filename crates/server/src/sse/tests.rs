//! Two servers over one store: a client that moves between them misses nothing and receives nothing
//! twice.

use std::sync::Arc;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use surefoot::state::CancelMode;
use surefoot::store::{ClaimRequest, NewWorker};
use surefoot::{AllowList, Client, RunId, Store, Submit, SystemClock, WorkerId, Workflow};
use surefoot_store_tests::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::{Hub, stream};

struct Watching(BodyDataStream);

impl Watching {
    async fn of(hub: &Hub, run: RunId, seen: Option<u64>) -> Self {
        Self(
            stream(hub, run, seen)
                .await
                .unwrap()
                .into_body()
                .into_data_stream(),
        )
    }

    async fn next(&mut self) -> String {
        String::from_utf8(self.0.next().await.unwrap().unwrap().to_vec()).unwrap()
    }
}

async fn claim(store: &dyn Store) {
    let id = WorkerId::new();
    let actions = Arc::new(["work".to_owned()].into_iter().collect());
    let name = "w".to_owned();
    let version = "1".to_owned();
    let lease = std::time::Duration::from_secs(60);
    let worker = NewWorker {
        id,
        name,
        lease,
        version,
        actions: Arc::clone(&actions),
        workflows: AllowList::default(),
        resources: Arc::default(),
    };
    store.register_worker(worker).await.unwrap();
    assert_eq!(
        store
            .claim(ClaimRequest {
                worker: id,
                limit: 1,
                actions,
                workflows: AllowList::default(),
                resources: Arc::default()
            })
            .await
            .unwrap()
            .runs
            .len(),
        1
    );
}

// Paused time advances only when all tasks wait, so the second reader stays behind until the test
// waits for it.
#[tokio::test(start_paused = true)]
async fn a_client_moving_to_a_lagging_server_receives_nothing_twice() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let hub = || Hub::new(store.clone(), CancellationToken::new());
    let ahead = hub();
    let behind = hub();
    let workflow = Arc::new(Workflow::builder("w").step("only", "work").build().unwrap());
    let run = Client::new(store.clone())
        .submit(Submit::new(workflow))
        .await
        .unwrap()
        .run
        .id;
    let mut stays = Watching::of(&behind, run, None).await;
    assert!(stays.next().await.contains("id: 1\nevent: snapshot"));

    claim(store.as_ref()).await;
    let mut moves = Watching::of(&ahead, run, None).await;
    let received = moves.next().await;
    assert!(received.contains("id: 2\nevent: snapshot"), "{received}");
    let mut moved = Watching::of(&behind, run, Some(2)).await;
    let mut stranger = Watching::of(&behind, run, Some(99)).await;
    assert_eq!(
        moved.next().await,
        "retry: 1000\n\n",
        "it has seen every event"
    );
    assert!(
        stranger.next().await.contains("event: snapshot"),
        "no event has that number"
    );

    store.cancel(run, CancelMode::Stop, "ann").await.unwrap();
    let received = moved.next().await;
    assert!(
        received.starts_with("id: 3\nevent: change") && !received.contains("id: 2\n"),
        "{received}"
    );
    let received = stays.next().await;
    assert!(received.starts_with("id: 2\nevent: change"), "{received}");
}
