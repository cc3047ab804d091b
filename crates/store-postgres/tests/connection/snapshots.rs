//! Workspaces that are far larger than what one statement may carry.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use surefoot::{
    CHUNK, Handlers, RunStatus, StepContext, StepError, Submit, Worker, WorkerOptions, Workflow,
    handler_fn,
};
use surefoot_scratch_postgres::ScratchPostgres;

use crate::support::{database, open, options};

const MEBIBYTES: u64 = 200;

/// A chunk of a file: no two are equal, and none can be compressed.
fn chunk(number: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ number;
    let word = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..CHUNK / 8).flat_map(word).collect()
}

/// Each operation has two seconds, in which the whole workspace cannot be sent.
#[tokio::test]
async fn a_workspace_of_200_mib_fits_a_short_timeout() {
    let (name, url) = database();
    drop(open(&url).await);
    let store = options(&url).operation_timeout(Duration::from_secs(2));
    let store = Arc::new(store.open().await.unwrap());
    let write = handler_fn(async |context: StepContext, (): ()| {
        let mut file = File::create(context.workspace().await?.join("large"))?;
        for number in 0..MEBIBYTES {
            file.write_all(&chunk(number))?;
        }
        Ok(())
    });
    let read = handler_fn(async |context: StepContext, (): ()| {
        if context.attempt() == 1 {
            // The folder is trusted no more: the next attempt has it from the database.
            context.workspace().await?;
            return Err(StepError::from("half-way"));
        }
        let mut file = File::open(context.workspace().await?.join("large"))?;
        let mut found = vec![0; CHUNK];
        for number in 0..MEBIBYTES {
            file.read_exact(&mut found)?;
            assert!(found == chunk(number), "chunk {number}");
        }
        Ok(file.read(&mut found)?)
    });
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions {
        workspaces: folder.path().to_owned(),
        snapshot_memory: 0,
        ..WorkerOptions::default()
    };
    let handlers = Handlers::new().with("write", write).with("read", read);
    let worker = Worker::start(store.clone(), handlers, options)
        .await
        .unwrap();
    let plan = Workflow::builder("large")
        .step("write", "write")
        .step("read", "read");
    let client = worker.client();
    let submit = Submit::new(Arc::new(plan.build().unwrap()));
    let run = client.submit(submit).await.unwrap().run.id;
    let run = tokio::time::timeout(Duration::from_secs(500), client.wait(run));
    let run = run.await.unwrap().unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert_eq!((run.steps[0].attempt, run.steps[1].attempt), (1, 2));
    let largest = ScratchPostgres::shared().psql(
        &name,
        "SELECT count(*), max(length(content)) FROM surefoot.blobs",
    );
    assert_eq!(
        largest.unwrap().trim(),
        format!("{}|{CHUNK}", MEBIBYTES + 1)
    );
    worker.stop().await;
}
