//! Traces of a completed step: records, workspace contents, and their retention.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot::store::RecordFilter;
use surefoot::{
    CHUNK, Digest, QueueLimits, Record, RecordChange, Retention, RetentionLimit, Run, Snapshot,
    StoreError, WorkerId,
};

use crate::Scene;
use crate::scene::{SECOND, begin, plan};

fn put(kind: &str, name: &str, data: Value) -> RecordChange {
    RecordChange::Put {
        kind: kind.to_owned(),
        name: name.to_owned(),
        data,
    }
}

fn remove(kind: &str, name: &str) -> RecordChange {
    RecordChange::Remove {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn publish(
    records: Vec<RecordChange>,
) -> impl FnOnce(&mut surefoot::state::Edit) -> Result<(), surefoot::state::RuleError> {
    move |edit| {
        let position = begin(edit)?;
        edit.complete_step(position, Value::Null, records, None)
    }
}

async fn names(scene: &Scene, filter: RecordFilter) -> Vec<(String, String)> {
    let records = scene.store.records(filter).await.unwrap();
    records
        .into_iter()
        .map(|record| (record.kind, record.name))
        .collect()
}

/// A record is owned by the run that published it first: only that run may change or remove it.
pub async fn a_record_has_an_owner(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one", "two", "three"]);
    let owner = scene.start(worker, &plan).await;
    let created_at = scene.now();
    let owner = scene
        .commit(
            &owner,
            publish(vec![put("project", "größe", json!({ "v": 1 }))]),
        )
        .await;
    scene.clock.advance(SECOND);
    let owner = scene
        .commit(&owner, publish(vec![put("project", "größe", json!(null))]))
        .await;
    let kind = "project".to_owned();
    let name = "größe".to_owned();
    let record = Record {
        kind,
        name,
        run: owner.id,
        data: json!(null),
        created_at,
        updated_at: scene.now(),
    };
    assert_eq!(
        scene.store.records(RecordFilter::default()).await.unwrap(),
        std::slice::from_ref(&record)
    );

    let other = scene.start(worker, &plan).await;
    let error = scene
        .refused(
            &other,
            publish(vec![
                put("x", "y", json!(1)),
                put("project", "größe", json!(2)),
            ]),
        )
        .await;
    match error {
        StoreError::RecordTaken {
            kind,
            name,
            owner: by,
        } => {
            assert_eq!((&*kind, &*name, by), ("project", "größe", owner.id));
        }
        error => panic!("{error:?}"),
    }
    let other = scene
        .commit(
            &other,
            publish(vec![
                remove("project", "größe"),
                put("repository", "größe", json!(3)),
            ]),
        )
        .await;
    assert_eq!(
        scene
            .store
            .records(RecordFilter {
                run: Some(owner.id),
                ..Default::default()
            })
            .await
            .unwrap(),
        [record]
    );

    scene
        .commit(
            &owner,
            publish(vec![remove("project", "größe"), remove("none", "such")]),
        )
        .await;
    scene
        .commit(&other, publish(vec![put("project", "größe", json!(4))]))
        .await;
    let all = [("project", "größe"), ("repository", "größe")]
        .map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    assert_eq!(
        names(
            &scene,
            RecordFilter {
                run: Some(other.id),
                ..Default::default()
            }
        )
        .await,
        all
    );
}

/// Records are listed by kind and name, in whatever order they were published.
pub async fn records_are_listed(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let pairs = [("b", "2"), ("a", "9"), ("b", "1"), ("a", "10"), ("B", "0")];
    scene
        .commit(
            &run,
            publish(pairs.map(|(kind, name)| put(kind, name, json!(1))).to_vec()),
        )
        .await;
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned()))
            .collect()
    };
    let of = |kind: Option<&str>, name: Option<&str>| RecordFilter {
        kind: kind.map(str::to_owned),
        name: name.map(str::to_owned),
        ..RecordFilter::default()
    };
    assert_eq!(
        names(&scene, of(None, None)).await,
        owned(&[("B", "0"), ("a", "10"), ("a", "9"), ("b", "1"), ("b", "2")])
    );
    assert_eq!(
        names(&scene, of(Some("b"), None)).await,
        owned(&[("b", "1"), ("b", "2")])
    );
    assert_eq!(
        names(&scene, of(None, Some("9"))).await,
        owned(&[("a", "9")])
    );
    assert_eq!(names(&scene, of(Some("a"), Some("1"))).await, owned(&[]));
}

/// Records of one kind are listed in pages, and by a prefix of their name.
pub async fn records_are_listed_in_pages(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let pairs = [
        ("a", "x1"),
        ("a", "x2"),
        ("a", "x3"),
        ("a", "y"),
        ("b", "x"),
    ];
    scene
        .commit(
            &run,
            publish(pairs.map(|(kind, name)| put(kind, name, json!(1))).to_vec()),
        )
        .await;
    let found = async |after: Option<&str>, prefix: Option<&str>, limit| {
        let after = after.map(str::to_owned);
        let prefix = prefix.map(str::to_owned);
        let filter = RecordFilter {
            kind: Some("a".to_owned()),
            after,
            prefix,
            limit,
            ..RecordFilter::default()
        };
        names(&scene, filter)
            .await
            .into_iter()
            .map(|(_, name)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(found(None, None, Some(2)).await, ["x1", "x2"]);
    assert_eq!(found(Some("x2"), None, Some(2)).await, ["x3", "y"]);
    assert_eq!(found(Some("x1"), Some("x"), None).await, ["x2", "x3"]);
    assert_eq!(found(None, Some("y"), None).await, ["y"]);
    assert_eq!(found(None, Some("Y"), None).await, [""; 0]);
    assert_eq!(found(None, None, Some(0)).await, [""; 0]);
}

fn snapshot(files: &[&[u8]]) -> Snapshot {
    let needs: Vec<Digest> = files.iter().map(|content| Digest::of(content)).collect();
    let contents = files
        .iter()
        .map(|content| (Digest::of(content), content.to_vec()))
        .collect();
    Snapshot {
        digest: needs[0],
        needs,
        contents,
    }
}

/// Completes a run whose step leaves these contents, the manifest first.
async fn leave(scene: &Scene, worker: WorkerId, queue: &str, files: &[&[u8]]) -> Run {
    let run = scene.start(worker, &plan(queue, &["one"])).await;
    scene
        .commit(&run, |edit| {
            let position = begin(edit)?;
            edit.complete_step(position, Value::Null, Vec::new(), Some(snapshot(files)))?;
            edit.complete_run()
        })
        .await
}

async fn kept(scene: &Scene, content: &[u8]) -> bool {
    let part = scene.store.blob_part(Digest::of(content), 0).await.unwrap();
    assert!(
        part.as_deref().is_none_or(|part| part == content),
        "what is kept is what was given"
    );
    part.is_some()
}

/// The contents of a workspace are written with the commit, each content once.
pub async fn contents_are_kept(scene: Scene) {
    let worker = scene.worker("w").await;
    let large = vec![0xFF; CHUNK - 100];
    let run = leave(&scene, worker, "a", &[b"manifest", b"", &large]).await;
    assert_eq!(
        scene.get(run.id).await.steps[0].snapshot,
        Some(Digest::of(b"manifest"))
    );
    for content in [b"manifest".as_slice(), b"", &large] {
        assert!(kept(&scene, content).await);
    }
    leave(&scene, worker, "a", &[b"manifest", &large]).await;
    assert!(!kept(&scene, b"other").await);
}

/// A step is completed only if the store has every content that its snapshot needs.
pub async fn a_snapshot_that_lacks_a_content_is_refused(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let mut lacking = snapshot(&[b"manifest", b"file"]);
    let file = lacking.contents.remove(1);
    let completes = |snapshot: Snapshot| {
        move |edit: &mut surefoot::state::Edit| {
            let position = begin(edit)?;
            edit.complete_step(position, Value::Null, Vec::new(), Some(snapshot))
        }
    };
    let error = scene.refused(&run, completes(lacking.clone())).await;
    let expect = format!("a snapshot needs {}", file.0);
    assert!(
        matches!(&error, StoreError::Fault(message) if message.contains(&expect)),
        "{error:?}"
    );
    assert!(!kept(&scene, b"manifest").await);
    upload(&scene, &run, &[b"file"]).await.unwrap();
    scene.commit(&run, completes(lacking)).await;
    assert!(kept(&scene, b"file").await);
}

/// Contents of `size` bytes that differ by their first.
fn chunk(number: u8, size: usize) -> Vec<u8> {
    let mut chunk = vec![0x5A; size];
    chunk[0] = number;
    chunk
}

async fn upload(scene: &Scene, run: &Run, files: &[&[u8]]) -> Result<(), StoreError> {
    let contents = snapshot(files).contents;
    let lease = run.lease().expect("the run is held");
    scene.store.put_blobs(lease, Arc::new(contents)).await
}

/// Completes the run with a snapshot that needs `files`, the manifest first, and brings the
/// manifest alone.
async fn complete_with(scene: &Scene, run: &Run, files: &[&[u8]]) -> Run {
    let mut snapshot = snapshot(files);
    snapshot.contents.truncate(1);
    scene
        .commit(run, |edit| {
            let position = begin(edit)?;
            edit.complete_step(position, Value::Null, Vec::new(), Some(snapshot))?;
            edit.complete_run()
        })
        .await
}

/// A workspace that is too large for one commit comes in chunks, each once.
pub async fn uploaded_contents_are_kept(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let before = scene.get(run.id).await;
    let chunks = [1, 2, 3].map(|number| chunk(number, CHUNK));
    for chunk in &chunks {
        upload(&scene, &run, &[chunk]).await.unwrap();
        // The answer got lost.
        upload(&scene, &run, &[chunk]).await.unwrap();
    }
    let small: Vec<Vec<u8>> = (0..200)
        .map(|number| chunk(number, 1 + CHUNK / 256))
        .collect();
    let small: Vec<&[u8]> = small.iter().map(Vec::as_slice).collect();
    upload(&scene, &run, &small).await.unwrap();
    assert_eq!(scene.get(run.id).await, before, "the run itself stays");
    let large = chunks.iter().map(Vec::as_slice);
    let all: Vec<&[u8]> = [b"manifest".as_slice()]
        .into_iter()
        .chain(large)
        .chain(small)
        .collect();
    complete_with(&scene, &run, &all).await;
    assert_eq!(scene.store.prune(10).await.unwrap(), 0);
    for content in all {
        assert!(kept(&scene, content).await);
    }
    let read = async |offset| {
        let digest = Digest::of(&chunks[1]);
        scene.store.blob_part(digest, offset).await.unwrap()
    };
    assert_eq!(read(5).await.as_deref(), Some(&chunks[1][5..]));
    assert_eq!(read(CHUNK as u64 - 1).await.as_deref(), Some(&[0x5A][..]));
    for beyond in [CHUNK as u64, CHUNK as u64 + 1, 1 << 40] {
        assert_eq!(read(beyond).await.as_deref(), Some(&[][..]), "{beyond}");
    }
}

/// Earlier builds kept each file whole.
pub async fn a_large_content_of_an_earlier_build_is_read_in_parts(scene: Scene) {
    if !scene.can_damage() {
        return;
    }
    let worker = scene.worker("w").await;
    let run = leave(&scene, worker, "a", &[b"manifest"]).await;
    scene.damage("UPDATE {schema}blobs SET content = {zeros}", run.id);
    let mut whole = Vec::new();
    let mut parts = Vec::new();
    loop {
        let digest = Digest::of(b"manifest");
        let part = scene.store.blob_part(digest, whole.len() as u64).await;
        let part = part.unwrap().unwrap();
        parts.push(part.len());
        if part.is_empty() {
            break;
        }
        whole.extend(part);
    }
    assert_eq!(parts, [CHUNK, CHUNK, 2_500_000 - 2 * CHUNK, 0]);
    assert!(whole.iter().all(|byte| *byte == 0));
}

/// Nothing is uploaded without the exact lease: it would never be removed.
pub async fn an_upload_needs_the_lease(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let held = scene.start(worker, &plan).await;
    let refused = async |run: &Run| {
        let done = upload(&scene, run, &[b"content"]).await;
        assert!(matches!(done, Err(StoreError::LeaseLost)), "{done:?}");
        assert!(!kept(&scene, b"content").await);
    };
    let mut other = held.clone();
    other.head.epoch += 1;
    refused(&other).await;
    other = held.clone();
    other.head.worker = Some(WorkerId::new());
    refused(&other).await;
    other = scene.draft(&plan);
    other.head = held.head.clone();
    refused(&other).await;
    scene.fail(&held).await;
    refused(&held).await;
}

/// A call takes no more than a chunk: so it always fits the time that a database has for it.
pub async fn more_than_a_chunk_is_refused(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let large = chunk(1, CHUNK);
    let refused = |error: StoreError| {
        let StoreError::Rule(why) = &error else {
            panic!("{error:?}");
        };
        assert!(why.0.contains("1024 KiB at a time"), "{why}");
    };
    refused(
        upload(&scene, &run, &[&large, &[0; 600]])
            .await
            .unwrap_err(),
    );
    let completes = |edit: &mut surefoot::state::Edit| {
        let position = begin(edit)?;
        let snapshot = snapshot(&[&[0; 600], &large]);
        edit.complete_step(position, Value::Null, Vec::new(), Some(snapshot))
    };
    refused(scene.refused(&run, completes).await);
    assert!(!kept(&scene, &large).await);
}

/// An upload that no commit followed is removed once no worker holds the run; what another run
/// needs stays.
pub async fn an_upload_that_was_cut_short_is_removed(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let [half, whole, gives_back] = [
        scene.start(worker, &plan).await,
        scene.start(worker, &plan).await,
        scene.start(worker, &plan).await,
    ];
    upload(&scene, &half, &[b"shared", b"lost"]).await.unwrap();
    upload(&scene, &whole, &[b"shared", b"file", b"before a crash"])
        .await
        .unwrap();
    upload(&scene, &gives_back, &[b"lost too"]).await.unwrap();
    let present = async |content: &[u8], expect: bool| {
        let content_is = kept(&scene, content).await;
        assert_eq!(content_is, expect, "{}", content.escape_ascii());
    };
    scene.store.prune(10).await.unwrap();
    for content in [
        &b"shared"[..],
        b"lost",
        b"file",
        b"before a crash",
        b"lost too",
    ] {
        present(content, true).await;
    }
    scene.fail(&half).await;
    scene
        .commit(&gives_back, |edit| {
            begin(edit)?;
            edit.interrupt(surefoot::state::Interruption::HandedBack, "it stops")
        })
        .await;
    complete_with(&scene, &whole, &[b"manifest", b"file", b"shared"]).await;
    assert_eq!(scene.store.prune(10).await.unwrap(), 0, "no details went");
    for content in [&b"shared"[..], b"file", b"manifest"] {
        present(content, true).await;
    }
    for content in [&b"lost"[..], b"lost too", b"before a crash"] {
        present(content, false).await;
    }
    // The run that was given back begins again, and finds nothing of its own.
    let again = scene.claim_one(worker).await;
    upload(&scene, &again, &[b"lost too"]).await.unwrap();
    complete_with(&scene, &again, &[b"manifest", b"lost too"]).await;
    scene.store.prune(10).await.unwrap();
    present(b"lost too", true).await;
}

/// No prune removes a content that an upload in progress, or the snapshot after it, needs.
pub async fn a_prune_beside_an_upload_takes_nothing_that_is_needed(scene: Scene) {
    let scene = &scene;
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    for round in 0..25u8 {
        let shared: Vec<Vec<u8>> = (0..4).map(|part| vec![round, part]).collect();
        let shared: Vec<&[u8]> = shared.iter().map(Vec::as_slice).collect();
        let [gone, stays] = [
            scene.start(worker, &plan).await,
            scene.start(worker, &plan).await,
        ];
        upload(scene, &gone, &shared).await.unwrap();
        scene.fail(&gone).await;
        let stays = async {
            for content in &shared {
                upload(scene, &stays, &[content]).await.unwrap();
            }
            let all: Vec<&[u8]> = [b"manifest".as_slice()]
                .into_iter()
                .chain(shared.clone())
                .collect();
            complete_with(scene, &stays, &all).await;
        };
        let pruned = async {
            for _ in 0..3 {
                scene.store.prune(10).await.unwrap();
            }
        };
        tokio::join!(stays, pruned);
        for content in &shared {
            assert!(kept(scene, content).await, "round {round}");
        }
    }
}

/// A refused commit leaves no content behind.
pub async fn a_refused_commit_leaves_no_content(scene: Scene) {
    let worker = scene.worker("w").await;
    let owner = scene.start(worker, &plan("a", &["one", "two"])).await;
    scene
        .commit(&owner, publish(vec![put("k", "n", json!(1))]))
        .await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene
        .refused(&run, |edit| {
            let position = begin(edit)?;
            edit.complete_step(
                position,
                json!(1),
                vec![put("k", "n", json!(2))],
                Some(snapshot(&[b"lost"])),
            )
        })
        .await;
    assert!(!kept(&scene, b"lost").await);
}

fn keep(completed: RetentionLimit) -> QueueLimits {
    QueueLimits {
        retention: Retention {
            completed,
            ..Retention::default()
        },
        ..QueueLimits::default()
    }
}

/// Returns which of the runs still have their details.
async fn detailed(scene: &Scene, runs: &[Run]) -> Vec<bool> {
    let mut detailed = Vec::new();
    for run in runs {
        assert_eq!(scene.get(run.id).await, *run, "the run itself stays");
        detailed.push(!scene.events(run.id).await.is_empty());
    }
    detailed
}

/// Details beyond the maximum age are deleted. Runs, steps and records stay, and so do contents
/// that another run needs.
pub async fn details_go_by_age(scene: Scene) {
    let worker = scene.worker("w").await;
    scene
        .limits(
            "a",
            keep(RetentionLimit {
                age: Some(SECOND * 10),
                count: None,
            }),
        )
        .await;
    let old = leave(&scene, worker, "a", &[b"m1", b"shared"]).await;
    scene.clock.advance(SECOND * 5);
    scene.heartbeat(worker).await;
    let young = leave(&scene, worker, "a", &[b"m2", b"shared"]).await;
    let elsewhere = leave(&scene, worker, "b", &[b"m3"]).await;
    let runs = [old, young, elsewhere];
    assert_eq!(scene.store.prune(10).await.unwrap(), 0);
    scene.clock.advance(SECOND * 6);
    scene.heartbeat(worker).await;
    assert_eq!(scene.store.prune(10).await.unwrap(), 1);
    assert_eq!(detailed(&scene, &runs).await, [false, true, true]);
    assert!(!kept(&scene, b"m1").await && kept(&scene, b"shared").await);
    assert_eq!(scene.store.prune(10).await.unwrap(), 0);
    scene.clock.advance(SECOND * 600);
    assert_eq!(scene.store.prune(10).await.unwrap(), 1);
    assert_eq!(detailed(&scene, &runs).await, [false, false, true]);
    assert!(!kept(&scene, b"shared").await && kept(&scene, b"m3").await);
}

/// The newest runs of each outcome keep their details. One call prunes at most the requested
/// number.
pub async fn details_go_by_count(scene: Scene) {
    let worker = scene.worker("w").await;
    scene
        .limits(
            "a",
            keep(RetentionLimit {
                age: None,
                count: Some(2),
            }),
        )
        .await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(leave(&scene, worker, "a", &[b"manifest"]).await);
        scene.clock.advance(SECOND);
    }
    let failed = scene.start(worker, &plan("a", &["one"])).await;
    runs.push(scene.fail(&failed).await);
    let live = scene.start(worker, &plan("a", &["one"])).await;
    runs.push(live.clone());
    assert_eq!(scene.store.prune(2).await.unwrap(), 2);
    assert_eq!(
        detailed(&scene, &runs)
            .await
            .iter()
            .filter(|detailed| **detailed)
            .count(),
        5
    );
    assert_eq!(scene.store.prune(10).await.unwrap(), 1);
    assert_eq!(
        detailed(&scene, &runs).await,
        [false, false, false, true, true, true, true]
    );
    runs[6] = scene.complete(&live).await;
    assert_eq!(scene.store.prune(10).await.unwrap(), 1);
    assert_eq!(
        detailed(&scene, &runs).await,
        [false, false, false, false, true, true, true]
    );
}

/// A pruned run that is retried continues its event sequence, and has details again.
pub async fn a_pruned_run_goes_on(scene: Scene) {
    let worker = scene.worker("w").await;
    let retention = Retention {
        failed: RetentionLimit {
            age: Some(Duration::ZERO),
            count: None,
        },
        ..Retention::default()
    };
    scene
        .limits(
            "a",
            QueueLimits {
                retention,
                ..QueueLimits::default()
            },
        )
        .await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    scene.fail(&run).await;
    let last = scene.events(run.id).await.pop().unwrap().seq;
    scene.clock.advance(SECOND);
    assert_eq!(scene.store.prune(10).await.unwrap(), 1);
    assert_eq!(scene.events(run.id).await, []);
    scene.store.retry(run.id, None, "ann").await.unwrap();
    let seqs: Vec<u64> = scene
        .events(run.id)
        .await
        .iter()
        .map(|event| event.seq)
        .collect();
    assert_eq!(seqs, [last + 1]);
    let held = scene.claim_one(worker).await;
    scene.fail(&held).await;
    assert_eq!(scene.store.prune(10).await.unwrap(), 0, "it ended just now");
    scene.clock.advance(SECOND);
    assert_eq!(scene.store.prune(10).await.unwrap(), 1);
}
