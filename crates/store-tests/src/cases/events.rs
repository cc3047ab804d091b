//! The history of a run: numbered 1, 2, 3 without a gap, whichever process writes, and read in
//! pages.

use serde_json::json;
use surefoot::state::CancelMode;
use surefoot::{Event, RecordChange, RunId};
use tokio::task::JoinSet;

use crate::Scene;
use crate::scene::{SECOND, begin, plan, step};

#[track_caller]
fn gapless(events: &[Event]) {
    let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// Every event of every commit is kept, in order, with the time of the write.
pub async fn a_history_is_kept_in_order(scene: Scene) {
    let worker = scene.worker("w").await;
    scene.queue(&plan("a", &["one"])).await;
    let submitted_at = scene.now();
    scene.clock.advance(SECOND);
    let run = scene.claim_one(worker).await;
    let run = scene.commit(&run, step).await;
    scene.clock.advance(SECOND);
    let lines = vec!["größe".to_owned(), String::new()];
    let run = scene
        .commit(&run, |edit| {
            edit.report(0, Some((40, Some("half".to_owned()))), lines);
            Ok(())
        })
        .await;
    scene.complete(&run).await;

    let events = scene.events(run.id).await;
    gapless(&events);
    let story: Vec<(&str, Option<&str>)> = events
        .iter()
        .map(|event| (&*event.kind, event.step.as_deref()))
        .collect();
    let expected = [
        ("run.submitted", None),
        ("run.started", None),
        ("step.started", Some("one")),
        ("step.progress", Some("one")),
        ("step.log", Some("one")),
        ("step.completed", Some("one")),
        ("run.completed", None),
    ];
    assert_eq!(story, expected);
    assert_eq!(events[0].data, json!(null));
    assert_eq!(
        events[4].data,
        json!({ "attempt": 1, "lines": ["größe", ""] })
    );
    let at: Vec<u64> = events
        .iter()
        .map(|event| event.at.since(submitted_at).as_secs())
        .collect();
    assert_eq!(at, [0, 1, 1, 2, 2, 2, 2]);
}

/// Any page, from any position, is that part of the whole.
pub async fn a_history_is_read_in_pages(scene: Scene) {
    let worker = scene.worker("w").await;
    let mut run = scene.start(worker, &plan("a", &["one"])).await;
    run = scene.commit(&run, step).await;
    for count in 1..6 {
        // Commits of one event, of two and of many, so that pages begin and end within them.
        run = scene
            .commit(&run, |edit| {
                for line in 0..count {
                    edit.report(0, None, vec![format!("line {line}")]);
                }
                Ok(())
            })
            .await;
    }
    let all = scene.events(run.id).await;
    gapless(&all);
    assert_eq!(all.len(), 3 + 15);
    for after in 0..=all.len() + 1 {
        for limit in [0, 1, 2, 5, 100] {
            let page = scene
                .store
                .events(run.id, after as u64, limit)
                .await
                .unwrap();
            let expected: Vec<Event> = all.iter().skip(after).take(limit).cloned().collect();
            assert_eq!(page, expected, "after {after}, {limit} at most");
        }
    }
    assert_eq!(
        scene.store.events(run.id, u64::MAX >> 1, 5).await.unwrap(),
        []
    );
    assert_eq!(scene.store.events(RunId::new(), 0, 5).await.unwrap(), []);
}

/// A refused commit uses no sequence number.
pub async fn a_refused_commit_leaves_no_gap(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let put = || {
        vec![RecordChange::Put {
            kind: "k".to_owned(),
            name: "n".to_owned(),
            data: json!(1),
        }]
    };
    let owner = scene.start(worker, &plan).await;
    let publish = |edit: &mut surefoot::state::Edit| {
        let position = begin(edit)?;
        edit.complete_step(position, json!(1), put(), None)
    };
    scene.commit(&owner, publish).await;
    let run = scene.start(worker, &plan).await;
    scene.refused(&run, publish).await;
    scene.complete(&run).await;
    gapless(&scene.events(run.id).await);
}

/// A worker that reports and people who cancel write to one run concurrently.
pub async fn many_writers_leave_no_gap(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    let mut run = scene.commit(&run, step).await;
    let mut people = JoinSet::new();
    for _ in 0..20 {
        let store = scene.store.clone();
        let id = run.id;
        people.spawn(async move { store.cancel(id, CancelMode::Stop, "ann").await.unwrap() });
    }
    for line in 0..50 {
        run = scene
            .commit(&run, |edit| {
                edit.report(0, None, vec![line.to_string()]);
                Ok(())
            })
            .await;
    }
    people.join_all().await;
    let events = scene.events(run.id).await;
    gapless(&events);
    assert_eq!(events.len(), 3 + 20 + 50);
    let lines: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "step.log")
        .map(|event| &event.data["lines"])
        .collect();
    assert_eq!(
        lines,
        (0..50)
            .map(|line| json!([line.to_string()]))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
}
