//! Workspaces as they go to the store and come back: in chunks, within one memory budget, and never
//! half.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::state::{Edit, Interruption};
use surefoot::store::{NewWorker, Submission};
use surefoot::workflow::RetryPolicy;
use surefoot::{
    AllowList, CHUNK, Clock, CredentialError, CredentialSource, Digest, Handlers, Run, RunId,
    RunStatus, Secret, Snapshot, StepContext, StepError, Store, Submit, SystemClock, Timestamp,
    Worker, WorkerHandle, WorkerId, WorkerOptions, Workflow, handler_fn,
};
use surefoot_store_tests::{Fault, FaultyStore, MemoryStore};
use tokio::time::{Instant, sleep};

/// Goes with the time of the runtime, which some of these tests have stopped.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000) + self.0.elapsed()
    }
}

struct Vault;

impl CredentialSource for Vault {
    fn get(&self, _: &str) -> Result<Secret, CredentialError> {
        Ok(Secret::new("s3cr3t-token-of-the-forge"))
    }
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock)))
}

async fn worker(
    store: &Arc<FaultyStore>,
    handlers: Handlers,
    folder: &Path,
    snapshot_memory: usize,
) -> WorkerHandle {
    let options = WorkerOptions {
        workspaces: folder.to_owned(),
        snapshot_memory,
        credentials: Arc::new(Vault),
        grace: Duration::ZERO,
        ..WorkerOptions::default()
    };
    let store: Arc<dyn Store> = store.clone();
    Worker::start(store, handlers, options).await.unwrap()
}

/// Bytes of which no two blocks are the same, nor those of two seeds.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let mut content = vec![0xA5; length];
    for (number, block) in content.chunks_exact_mut(BLOCK).enumerate() {
        block[..8].copy_from_slice(&seed.to_le_bytes());
        block[8..16].copy_from_slice(&number.to_le_bytes());
    }
    content
}

/// Names and lengths of the files that `write` leaves and `read` expects.
const FILES: [(&str, usize); 5] = [
    ("empty", 0),
    ("small", 100),
    ("chunk", CHUNK),
    ("large", 2 * CHUNK + 5),
    ("twice", 2 * CHUNK + 5),
];

fn content(name: &str, length: usize) -> Vec<u8> {
    let name = if name == "twice" { "large" } else { name };
    let seed = name
        .bytes()
        .fold(7, |seed, byte| seed * 31 + u64::from(byte));
    noise(seed, length)
}

/// Steps that leave a workspace of some 5 MB, and that find it as it was left.
///
/// The step between them passes on the second worker alone.
fn handlers(passes: bool) -> Handlers {
    let write = handler_fn(async |context: StepContext, _: Value| {
        let folder = context.workspace().await?;
        std::fs::create_dir_all(folder.join("in/side"))?;
        for (name, length) in FILES {
            std::fs::write(folder.join("in").join(name), content(name, length))?;
        }
        Ok(())
    });
    let read = handler_fn(async |context: StepContext, _: Value| {
        let folder = context.workspace().await?;
        for (name, length) in FILES {
            let found = std::fs::read(folder.join("in").join(name))?;
            if found != content(name, length) {
                return Err(StepError::fatal(format!("{name} is not what it was")));
            }
        }
        if !folder.join("in/side").is_dir() {
            return Err(StepError::fatal("a folder is missing"));
        }
        Ok(())
    });
    let gate = handler_fn(move |_: StepContext, _: Value| async move {
        passes
            .then_some(())
            .ok_or_else(|| StepError::fatal("not here"))
    });
    Handlers::new()
        .with("write", write)
        .with("read", read)
        .with("gate", gate)
}

fn workflow(steps: &[&str]) -> Arc<Workflow> {
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let builder = steps
        .iter()
        .fold(Workflow::builder("files"), |builder, action| {
            let once = once.clone();
            builder.step_with(*action, *action, |step| step.retry(once))
        });
    Arc::new(builder.build().unwrap())
}

async fn finish(worker: &WorkerHandle, steps: &[&str]) -> Run {
    let submitted = worker.client().submit(Submit::new(workflow(steps))).await;
    worker
        .client()
        .wait(submitted.unwrap().run.id)
        .await
        .unwrap()
}

/// The manifest, and every content that it names, as the store has them.
async fn contents(store: &dyn Store, manifest: Digest) -> Vec<(Digest, usize)> {
    let list = store.blob_part(manifest, 0).await.unwrap().unwrap();
    let mut found = vec![(manifest, list.len())];
    let entries: Vec<Value> = serde_json::from_slice(&list).unwrap();
    for entry in entries {
        let chunks = entry["chunks"].as_array().into_iter().flatten();
        for digest in chunks.chain(entry.get("digest")) {
            let digest: Digest = digest.as_str().unwrap().parse().unwrap();
            let part = store.blob_part(digest, 0).await.unwrap().unwrap();
            found.push((digest, part.len()));
        }
    }
    found
}

#[tokio::test]
async fn a_large_workspace_goes_in_chunks_and_comes_back_on_another_machine() {
    let store = Arc::new(FaultyStore::sound(memory()));
    let here = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let first = worker(&store, handlers(false), here.path(), 0).await;
    let run = finish(&first, &["write", "gate", "read"]).await;
    assert_eq!(run.head.status, RunStatus::Failed, "{:?}", run.head.error);
    first.stop().await;
    // Three full chunks in a call each, and the rest with the commit.
    assert_eq!(store.times_of("put_blobs").len(), 3);
    let kept = contents(store.as_ref(), run.steps[0].snapshot.unwrap()).await;
    assert!(kept.iter().all(|(_, length)| *length <= CHUNK), "{kept:?}");
    let digests: BTreeSet<Digest> = kept.iter().map(|(digest, _)| *digest).collect();
    assert_eq!((kept.len(), digests.len()), (10, 7), "kept once");

    let second = worker(&store, handlers(true), elsewhere.path(), 0).await;
    let client = second.client();
    client.retry(run.id, Some("gate"), "me").await.unwrap();
    let run = client.wait(run.id).await.unwrap();
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    second.stop().await;
}

/// A small workspace costs no call of its own, and its manifest is as earlier builds wrote it.
#[tokio::test]
async fn a_small_workspace_goes_with_its_commit() {
    let (store, folder) = (
        Arc::new(FaultyStore::sound(memory())),
        tempfile::tempdir().unwrap(),
    );
    let write = handler_fn(async |context: StepContext, _: Value| {
        let folder = context.workspace().await?;
        std::fs::write(folder.join("b"), vec![7; CHUNK / 2])?;
        std::os::unix::fs::symlink("b", folder.join("a"))?;
        Ok(())
    });
    let worker = worker(
        &store,
        Handlers::new().with("write", write),
        folder.path(),
        0,
    )
    .await;
    let before = store.writes();
    let run = finish(&worker, &["write"]).await;
    assert_eq!(
        run.head.status,
        RunStatus::Completed,
        "{:?}",
        run.head.error
    );
    assert_eq!(store.writes() - before, 2, "the submission and the end");
    assert!(store.times_of("put_blobs").is_empty());
    let manifest = store.blob_part(run.steps[0].snapshot.unwrap(), 0).await;
    let file = Digest::of(&vec![7; CHUNK / 2]);
    assert_eq!(
        String::from_utf8(manifest.unwrap().unwrap()).unwrap(),
        format!(
            r#"[{{"path":"a","kind":"link","target":"b"}},{{"path":"b","kind":"file","digest":"{file}","executable":false}}]"#
        )
    );
    worker.stop().await;
}

/// A run that a worker of an earlier build completed a step of, its file kept whole.
async fn submit_with_old_snapshot(store: &dyn Store, file: Digest) -> RunId {
    let id = WorkerId::new();
    let name = "old".to_owned();
    let version = "0".to_owned();
    let old = NewWorker {
        id,
        name,
        lease: Duration::from_secs(60),
        version,
        actions: Arc::default(),
        workflows: AllowList::everything(),
        resources: Arc::default(),
    };
    store.register_worker(old).await.unwrap();
    let now = store.now();
    let run = Run::new(
        RunId::at(now),
        workflow(&["write", "read"]),
        json!({}),
        now,
        now,
    );
    let mut edit = Edit::new(run.clone(), now);
    edit.submitted();
    let queued = edit.finish();
    let mut edit = Edit::new(run, now);
    edit.submitted();
    edit.claim(id).unwrap();
    edit.start_step(0).unwrap();
    let started = Some(edit.finish());
    let held = started.as_ref().unwrap().0.clone();
    let submission = Submission { queued, started };
    store.submit(submission).await.unwrap();
    let manifest =
        format!(r#"[{{"path":"large","kind":"file","digest":"{file}","executable":true}}]"#);
    let content = (Digest::of(manifest.as_bytes()), manifest.into_bytes());
    let snapshot = Snapshot {
        digest: content.0,
        needs: vec![content.0],
        contents: vec![content],
    };
    let lease = held.lease().unwrap();
    let mut edit = Edit::new(held, now);
    edit.complete_step(0, Value::Null, Vec::new(), Some(snapshot))
        .unwrap();
    edit.interrupt(Interruption::HandedBack, "it stops")
        .unwrap();
    let (run, transition) = edit.finish_as_holder();
    store.commit(lease, transition).await.unwrap();
    run.id
}

#[tokio::test]
async fn a_snapshot_of_an_earlier_build_is_restored() {
    let (store, folder) = (
        Arc::new(FaultyStore::sound(memory())),
        tempfile::tempdir().unwrap(),
    );
    let large = noise(1, 2 * CHUNK + 7);
    let digest = Digest::of(&large);
    store.damage_blob(digest, Some(large.clone()));
    let read = handler_fn(move |context: StepContext, _: Value| {
        let large = large.clone();
        async move {
            let found = std::fs::read(context.workspace().await?.join("large"))?;
            Ok(found == large)
        }
    });
    let never = handler_fn(async |_: StepContext, _: Value| Ok(false));
    let handlers = Handlers::new().with("read", read).with("write", never);
    let id = submit_with_old_snapshot(store.as_ref(), digest).await;
    let worker = worker(&store, handlers, folder.path(), 0).await;
    let run = worker.client().wait(id).await.unwrap();
    assert_eq!(
        run.steps[1].output,
        Some(json!(true)),
        "{:?}",
        run.head.error
    );
    worker.stop().await;
}

/// A snapshot that cannot be restored is an error that names the chunk. No step gets half a folder.
#[tokio::test]
async fn a_damaged_or_missing_chunk_is_an_error() {
    let changed = |mut content: Vec<u8>| {
        content[CHUNK / 2] ^= 1;
        Some(content)
    };
    let short = |content: Vec<u8>| Some(content[..CHUNK - 1].to_vec());
    let long = |content: Vec<u8>| Some([content, vec![1]].concat()[1..].to_vec());
    let gone = |_: Vec<u8>| None;
    let check = async |damage: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>, reason: &str| {
        let store = Arc::new(FaultyStore::sound(memory()));
        let here = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let first = worker(&store, handlers(false), here.path(), 0).await;
        let run = finish(&first, &["write", "gate", "read"]).await;
        first.stop().await;
        let large = content("large", 2 * CHUNK + 5);
        let second = large[CHUNK..2 * CHUNK].to_vec();
        let digest = Digest::of(&second);
        store.damage_blob(digest, damage(second));
        let worker = worker(&store, handlers(true), elsewhere.path(), 0).await;
        let client = worker.client();
        client.retry(run.id, Some("gate"), "me").await.unwrap();
        let run = client.wait(run.id).await.unwrap();
        let expect = format!("the workspace's snapshot is damaged: {digest}: {reason}");
        let error = run.head.error.unwrap();
        assert!(error.contains(&expect), "{error}");
        worker.stop().await;
    };
    let mismatch = "its content does not match its digest";
    check(&changed, mismatch).await;
    check(&short, mismatch).await;
    check(&long, mismatch).await;
    check(&gone, "it is missing from the store").await;
}

/// Many large workspaces at once take no more memory than one worker may give to all of them; the
/// others wait their turn.
#[tokio::test(start_paused = true)]
async fn all_runs_of_a_worker_share_one_budget() {
    let clock = Arc::new(Paused(Instant::now()));
    let store = Arc::new(FaultyStore::sound(Arc::new(MemoryStore::new(clock))));
    let folder = tempfile::tempdir().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let write = handler_fn(move |context: StepContext, _: Value| {
        let counted = counted.clone();
        async move {
            let number = context.parameters()["number"].as_u64().unwrap();
            let content = noise(number * 999_983, 3 * CHUNK);
            std::fs::write(context.workspace().await?.join("file"), content)?;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    // Two snapshots at a time.
    let worker = worker(
        &store,
        Handlers::new().with("write", write),
        folder.path(),
        4 * CHUNK,
    )
    .await;
    store.hold_uploads(true);
    let mut runs = Vec::new();
    for number in 1..=6 {
        let submit = Submit::new(workflow(&["write"])).parameters(json!({ "number": number }));
        runs.push(worker.client().submit(submit).await.unwrap().run.id);
    }
    // On stopped time this ends only when nothing goes on any more.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ended.load(Ordering::SeqCst), 6);
    assert_eq!(store.bytes_under_way(), (2 * CHUNK, 2 * CHUNK));
    store.hold_uploads(false);
    for id in runs {
        let run = worker.client().wait(id).await.unwrap();
        assert_eq!(
            run.head.status,
            RunStatus::Completed,
            "{:?}",
            run.head.error
        );
    }
    assert_eq!(store.bytes_under_way(), (0, 2 * CHUNK));
    assert_eq!(store.times_of("put_blobs").len(), 6 * 3);
    worker.stop().await;
}

/// The budget is given back by the commit, also while undo or the next step open workspaces of
/// their own.
#[tokio::test]
async fn the_smallest_budget_is_enough() {
    let (store, folder) = (
        Arc::new(FaultyStore::sound(memory())),
        tempfile::tempdir().unwrap(),
    );
    let worker = worker(&store, handlers(true), folder.path(), 0).await;
    let client = worker.client();
    let mut runs = Vec::new();
    for _ in 0..5 {
        let steps = workflow(&["write", "read", "gate"]);
        runs.push(client.submit(Submit::new(steps)).await.unwrap().run.id);
    }
    for id in runs {
        let run = client.wait(id).await.unwrap();
        assert_eq!(
            run.head.status,
            RunStatus::Completed,
            "{:?}",
            run.head.error
        );
    }
    worker.stop().await;
}

/// Nothing of a workspace is uploaded before all of it was searched for secrets, also over the end
/// of a chunk.
#[tokio::test]
async fn nothing_is_uploaded_of_a_workspace_that_holds_a_secret() {
    let (store, folder) = (
        Arc::new(FaultyStore::sound(memory())),
        tempfile::tempdir().unwrap(),
    );
    let write = handler_fn(async |context: StepContext, _: Value| {
        let token = context.credential("token")?;
        let folder = context.workspace().await?;
        std::fs::write(folder.join("before"), noise(3, 3 * CHUNK))?;
        let mut file = noise(5, 2 * CHUNK);
        file[CHUNK - 9..][..token.expose().len()].copy_from_slice(token.expose().as_bytes());
        std::fs::write(folder.join("file"), file)?;
        Ok(())
    });
    let worker = worker(
        &store,
        Handlers::new().with("write", write),
        folder.path(),
        0,
    )
    .await;
    let run = finish(&worker, &["write"]).await;
    let error = run.head.error.unwrap();
    assert!(error.contains("file file holds a secret"), "{error}");
    assert!(store.times_of("put_blobs").is_empty());
    worker.stop().await;
}

/// A store that goes away, an answer that is lost and a worker that dies, at each write while a
/// workspace is stored.
#[tokio::test]
async fn a_fault_at_every_write_leaves_the_workspace_whole() {
    for fault in Fault::ALL {
        let mut at = 1;
        loop {
            let below = Arc::new(MemoryStore::new(Arc::new(SystemClock)).one_worker());
            let met = live(below.clone(), at, fault).await;
            live(below.clone(), 0, fault).await;
            let runs = below.runs(Default::default()).await.unwrap();
            let run = &runs[0];
            let what = format!("{fault:?} at write {at}: {:?}", run.head.error);
            assert_eq!(
                (runs.len(), run.head.status),
                (1, RunStatus::Completed),
                "{what}"
            );
            assert!(run.steps.iter().all(|step| step.attempt == 1), "{what}");
            below.prune(100).await.unwrap();
            let kept = contents(below.as_ref(), run.steps[0].snapshot.unwrap()).await;
            assert_eq!(kept.len(), 10, "{what}");
            if !met {
                break;
            }
            at += 1;
        }
        assert!(
            at > 6,
            "{fault:?}: a registration, a submission, three uploads and two commits, met {at}"
        );
    }
}

/// Drives the one run to its end, or to the crash.
async fn live(below: Arc<MemoryStore>, at: u64, fault: Fault) -> bool {
    let faulty = Arc::new(FaultyStore::new(below, at, fault));
    let folder = tempfile::tempdir().unwrap();
    let life = async {
        let options = || WorkerOptions {
            workspaces: folder.path().to_owned(),
            grace: Duration::ZERO,
            ..WorkerOptions::default()
        };
        let store: Arc<dyn Store> = faulty.clone();
        let worker = loop {
            if let Ok(worker) = Worker::start(store.clone(), handlers(true), options()).await {
                break worker;
            }
        };
        let submitted = loop {
            let submit = Submit::new(workflow(&["write", "read"])).key("the-one");
            if let Ok(submitted) = worker.client().submit(submit).await {
                break submitted;
            }
        };
        worker.client().wait(submitted.run.id).await.unwrap();
        worker.stop().await;
    };
    let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
    tokio::select! {
        () = life => {}
        () = faulty.until_met(), if crashes => {}
    }
    faulty.met()
}
