//! Values that every store refuses with the same error: a NUL in a name, and a value beyond the
//! limits.

use std::sync::Arc;

use serde_json::{Value, json};
use surefoot::document::{DocumentFilter, Expect, NewDocument};
use surefoot::store::{NewWorker, RecordFilter, RunFilter, Submission};
use surefoot::{AllowList, QueueLimits, RecordChange, WorkerId};

use crate::Scene;
use crate::scene::{LEASE, begin, first, forbidden, plan};

/// A NUL in a name or a key is refused by every store with the same error; a search for one finds
/// nothing.
pub async fn a_nul_is_refused(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let texts: [fn(&mut surefoot::Run) -> &mut Option<String>; 3] = [
        |run| &mut run.key,
        |run| &mut run.unique,
        |run| &mut run.concurrency_key,
    ];
    for text in texts {
        let mut run = scene.draft(&plan);
        *text(&mut run) = Some("a\0b".to_owned());
        let submission = Submission {
            queued: first(&run, scene.now()),
            started: None,
        };
        forbidden(scene.store.submit(submission).await, "holds a NUL");
    }
    let name = "w\0".to_owned();
    let version = "1".to_owned();
    let actions = Arc::default();
    let nameless = NewWorker {
        id: WorkerId::new(),
        name,
        lease: LEASE,
        version,
        actions,
        workflows: AllowList::default(),
        resources: Arc::default(),
    };
    forbidden(scene.store.register_worker(nameless).await, "holds a NUL");
    forbidden(
        scene
            .store
            .set_queue("q\0", QueueLimits::default(), false)
            .await,
        "holds a NUL",
    );
    forbidden(scene.store.pause_queue("q\0", true).await, "holds a NUL");
    let kind = "token".to_owned();
    let id = "\0".to_owned();
    let document = NewDocument {
        kind,
        id,
        expires_at: None,
        data: json!(1),
    };
    forbidden(
        scene.store.put_document(document, Expect::Anything).await,
        "holds a NUL",
    );
    let run = scene.start(worker, &plan).await;
    let put = RecordChange::Put {
        kind: "thing".to_owned(),
        name: "\0".to_owned(),
        data: json!(1),
    };
    let refused = scene.refused(&run, |edit| {
        let step = begin(edit)?;
        edit.complete_step(step, Value::Null, vec![put], None)
    });
    forbidden::<()>(Err(refused.await), "holds a NUL");
    let text = || Some("a\0".to_owned());
    for filter in [
        RunFilter {
            key: text(),
            ..RunFilter::default()
        },
        RunFilter {
            text: text(),
            ..RunFilter::default()
        },
        RunFilter {
            queue: text(),
            ..RunFilter::default()
        },
    ] {
        assert_eq!(scene.store.runs(filter).await.unwrap(), []);
    }
    let records = RecordFilter {
        name: text(),
        ..RecordFilter::default()
    };
    assert_eq!(scene.store.records(records).await.unwrap(), []);
    assert_eq!(scene.store.document("token", "\0").await.unwrap(), None);
    assert!(!scene.store.delete_document("token", "\0").await.unwrap());
    let after = DocumentFilter {
        kind: "token".to_owned(),
        after: text(),
        descending: false,
        limit: 9,
    };
    assert_eq!(scene.store.documents(after).await.unwrap(), []);
}

/// A value that could be written but never read again is refused, and nothing is written.
pub async fn values_beyond_the_limits_are_refused(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let nested = |levels: usize| (0..levels).fold(json!(1), |inside, _| json!([inside]));
    let mut run = scene.draft(&plan);
    run.parameters = nested(65);
    let submission = Submission {
        queued: first(&run, scene.now()),
        started: None,
    };
    forbidden(
        scene.store.submit(submission).await,
        "parameters is nested more than 64 levels",
    );
    let document = |data: Value| NewDocument {
        kind: "token".to_owned(),
        id: "1".to_owned(),
        expires_at: None,
        data,
    };
    forbidden(
        scene
            .store
            .put_document(document(nested(65)), Expect::Anything)
            .await,
        "nested",
    );
    forbidden(
        scene
            .store
            .put_document(document(json!("x".repeat(17 << 20))), Expect::Anything)
            .await,
        "16 MiB",
    );
    assert_eq!(
        scene
            .store
            .put_document(document(nested(64)), Expect::Anything)
            .await
            .unwrap(),
        Some(1)
    );
    assert_eq!(
        scene
            .store
            .document("token", "1")
            .await
            .unwrap()
            .unwrap()
            .data,
        nested(64)
    );
    let run = scene.start(worker, &plan).await;
    let put = RecordChange::Put {
        kind: "thing".to_owned(),
        name: "t".to_owned(),
        data: nested(65),
    };
    for (output, records) in [(nested(65), Vec::new()), (Value::Null, vec![put])] {
        let refused = scene.refused(&run, |edit| {
            let step = begin(edit)?;
            edit.complete_step(step, output, records, None)
        });
        forbidden::<()>(Err(refused.await), "nested");
    }
    let refused = scene.refused(&run, |edit| {
        let step = begin(edit)?;
        edit.checkpoint(step, nested(65))
    });
    forbidden::<()>(Err(refused.await), "the step's checkpoint is nested");
    let written = scene.commit(&run, |edit| {
        let step = begin(edit)?;
        edit.complete_step(step, nested(64), Vec::new(), None)
    });
    written.await;
    assert_eq!(scene.get(run.id).await.steps[0].output, Some(nested(64)));
}
