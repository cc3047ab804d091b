//! What no store keeps is refused by every store alike.

use std::sync::Arc;

use serde_json::{Value, json};
use surefoot::document::{DocumentFilter, Expect, NewDocument};
use surefoot::store::{NewWorker, RecordFilter, RunFilter, Submission};
use surefoot::{QueueLimits, RecordChange, WorkerId};

use crate::Scene;
use crate::scene::{LEASE, begin, first, forbidden, plan};

/// A NUL in a name or a key is refused by every store alike, and looked for in vain.
pub async fn a_nul_is_refused(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let texts: [fn(&mut surefoot::Run) -> &mut Option<String>; 3] =
        [|run| &mut run.key, |run| &mut run.unique, |run| &mut run.concurrency_key];
    for text in texts {
        let mut run = scene.draft(&plan);
        *text(&mut run) = Some("a\0b".to_owned());
        let submission = Submission { queued: first(&run, scene.now()), started: None };
        forbidden(scene.store.submit(submission).await, "holds a NUL");
    }
    let (name, version, actions) = ("w\0".to_owned(), "1".to_owned(), Arc::default());
    let nameless = NewWorker { id: WorkerId::new(), name, lease: LEASE, version, actions, resources: Arc::default() };
    forbidden(scene.store.register_worker(nameless).await, "holds a NUL");
    forbidden(scene.store.set_queue("q\0", QueueLimits::default(), false).await, "holds a NUL");
    forbidden(scene.store.pause_queue("q\0", true).await, "holds a NUL");
    let (kind, id) = ("token".to_owned(), "\0".to_owned());
    let document = NewDocument { kind, id, expires_at: None, data: json!(1) };
    forbidden(scene.store.put_document(document, Expect::Anything).await, "holds a NUL");
    let run = scene.start(worker, &plan).await;
    let put = RecordChange::Put { kind: "thing".to_owned(), name: "\0".to_owned(), data: json!(1) };
    let refused = scene.refused(&run, |edit| {
        let step = begin(edit)?;
        edit.complete_step(step, Value::Null, vec![put], None)
    });
    forbidden::<()>(Err(refused.await), "holds a NUL");
    let text = || Some("a\0".to_owned());
    for filter in [
        RunFilter { key: text(), ..RunFilter::default() },
        RunFilter { text: text(), ..RunFilter::default() },
        RunFilter { queue: text(), ..RunFilter::default() },
    ] {
        assert_eq!(scene.store.runs(filter).await.unwrap(), []);
    }
    let records = RecordFilter { name: text(), ..RecordFilter::default() };
    assert_eq!(scene.store.records(records).await.unwrap(), []);
    assert_eq!(scene.store.document("token", "\0").await.unwrap(), None);
    assert!(!scene.store.delete_document("token", "\0").await.unwrap());
    let after = DocumentFilter { kind: "token".to_owned(), after: text(), descending: false, limit: 9 };
    assert_eq!(scene.store.documents(after).await.unwrap(), []);
}
