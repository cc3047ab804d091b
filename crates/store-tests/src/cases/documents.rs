//! Documents: compare-and-set, listing, expiry.

use serde_json::{Value, json};
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};

use crate::Scene;
use crate::scene::SECOND;

fn note(id: &str, data: Value) -> NewDocument {
    NewDocument {
        kind: "note".to_owned(),
        id: id.to_owned(),
        expires_at: None,
        data,
    }
}

async fn put(scene: &Scene, document: NewDocument, expect: Expect) -> Option<u64> {
    scene.store.put_document(document, expect).await.unwrap()
}

async fn get(scene: &Scene, id: &str) -> Option<Document> {
    scene.store.document("note", id).await.unwrap()
}

/// A document is read as it was written, and each write increments its version.
pub async fn a_document_is_kept(scene: Scene) {
    assert_eq!(get(&scene, "größe").await, None);
    for (version, data) in [
        (1, json!({"a": [1, null, "ü"]})),
        (2, json!("other")),
        (3, Value::Null),
    ] {
        scene.clock.advance(SECOND);
        assert_eq!(
            put(&scene, note("größe", data.clone()), Expect::Anything).await,
            Some(version)
        );
        let kind = "note".to_owned();
        let id = "größe".to_owned();
        let updated_at = scene.now();
        let kept = Document {
            kind,
            id,
            version,
            updated_at,
            expires_at: None,
            data,
        };
        assert_eq!(get(&scene, "größe").await, Some(kept));
    }
    assert_eq!(
        scene.store.document("other", "größe").await.unwrap(),
        None,
        "kinds are apart"
    );
    assert!(scene.store.delete_document("note", "größe").await.unwrap());
    assert!(!scene.store.delete_document("note", "größe").await.unwrap());
    assert_eq!(get(&scene, "größe").await, None);
}

/// Of several writers that expect the same version, exactly one succeeds.
pub async fn a_document_is_written_as_expected(scene: Scene) {
    assert_eq!(
        put(&scene, note("a", json!(0)), Expect::Version(1)).await,
        None
    );
    assert_eq!(
        put(&scene, note("a", json!(1)), Expect::Nothing).await,
        Some(1)
    );
    assert_eq!(
        put(&scene, note("a", json!(2)), Expect::Nothing).await,
        None
    );
    assert_eq!(
        put(&scene, note("a", json!(3)), Expect::Version(2)).await,
        None
    );
    assert_eq!(
        get(&scene, "a").await.unwrap().data,
        json!(1),
        "what was refused changed nothing"
    );
    assert_eq!(
        put(&scene, note("a", json!(4)), Expect::Version(1)).await,
        Some(2)
    );
    for expect in [Expect::Version(2), Expect::Nothing] {
        let id = format!("{expect:?}");
        put(&scene, note(&id, json!("first")), Expect::Anything).await;
        put(&scene, note(&id, json!("second")), Expect::Anything).await;
        if expect == Expect::Nothing {
            scene.store.delete_document("note", &id).await.unwrap();
        }
        let writers =
            (0..8).map(|writer| scene.store.put_document(note(&id, json!(writer)), expect));
        let written = futures_of(writers).await;
        assert_eq!(
            written.iter().filter(|version| version.is_some()).count(),
            1,
            "{expect:?}: {written:?}"
        );
        let winner = written.iter().position(Option::is_some);
        assert_eq!(get(&scene, &id).await.unwrap().data, json!(winner));
    }
}

/// Runs all futures concurrently.
async fn futures_of<T>(
    futures: impl Iterator<Item = impl Future<Output = Result<T, surefoot::StoreError>>>,
) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pending
            .iter_mut()
            .zip(&mut done)
            .filter(|(_, done)| done.is_none())
        {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value.expect("the store is sound"));
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Every method treats an expired document as absent, and a prune deletes it.
pub async fn a_document_expires(scene: Scene) {
    let session = |data| NewDocument {
        expires_at: Some(scene.now() + SECOND),
        ..note("a", data)
    };
    assert_eq!(
        put(&scene, session(json!(1)), Expect::Nothing).await,
        Some(1)
    );
    scene.clock.advance(SECOND / 2);
    assert_eq!(get(&scene, "a").await.unwrap().data, json!(1));
    assert_eq!(put(&scene, session(json!(2)), Expect::Nothing).await, None);
    scene.clock.advance(SECOND / 2);
    assert_eq!(get(&scene, "a").await, None);
    assert_eq!(list(&scene, None, false, 10).await, [""; 0]);
    assert!(!scene.store.delete_document("note", "a").await.unwrap());
    assert_eq!(
        put(&scene, session(json!(3)), Expect::Version(1)).await,
        None
    );
    assert_eq!(
        put(&scene, session(json!(4)), Expect::Nothing).await,
        Some(1)
    );
    scene.clock.advance(SECOND);
    put(&scene, note("b", json!(5)), Expect::Nothing).await;
    scene.store.prune(10).await.unwrap();
    assert_eq!(list(&scene, None, false, 10).await, ["b"]);
}

async fn list(scene: &Scene, after: Option<&str>, descending: bool, limit: usize) -> Vec<String> {
    let filter = DocumentFilter {
        kind: "note".to_owned(),
        after: after.map(str::to_owned),
        descending,
        limit,
    };
    scene
        .store
        .documents(filter)
        .await
        .unwrap()
        .into_iter()
        .map(|document| document.id)
        .collect()
}

/// Lists are ordered by the bytes of the id, in pages, in both directions.
pub async fn documents_are_listed(scene: Scene) {
    for id in ["b", "B", "10", "9", "ä"] {
        put(&scene, note(id, json!({})), Expect::Nothing).await;
    }
    let other = NewDocument {
        kind: "other".to_owned(),
        ..note("c", json!({}))
    };
    put(&scene, other, Expect::Nothing).await;
    assert_eq!(
        list(&scene, None, false, 10).await,
        ["10", "9", "B", "b", "ä"]
    );
    assert_eq!(
        list(&scene, None, true, 10).await,
        ["ä", "b", "B", "9", "10"]
    );
    assert_eq!(list(&scene, Some("9"), false, 2).await, ["B", "b"]);
    assert_eq!(list(&scene, Some("B"), true, 1).await, ["9"]);
    assert_eq!(list(&scene, Some("ä"), false, 1).await, [""; 0]);
}
