//! Submission: keys and unique values, and immediate starts.

use std::time::Duration;

use surefoot::state::CancelMode;
use surefoot::store::{Submission, Submitted};
use surefoot::{QueueLimits, Run, Store, WorkerId};
use tokio::task::JoinSet;

use crate::Scene;
use crate::scene::{SECOND, first, forbidden, plan, taken};

fn keyed(scene: &Scene, workflow: &str, key: Option<&str>, unique: Option<&str>) -> Run {
    let mut run = scene.draft(&plan(workflow, &["one"]));
    run.key = key.map(str::to_owned);
    run.unique = unique.map(str::to_owned);
    run
}

/// A key belongs to one run of the workflow until that run is cancelled.
pub async fn a_key_gives_the_same_run(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = keyed(&scene, "a", Some("k"), None);
    assert_eq!(scene.submit(&run).await, Submitted::Queued);
    let same = |run: Run| Submitted::SameKey(Box::new(run));
    assert_eq!(
        scene.submit(&keyed(&scene, "a", Some("k"), None)).await,
        same(run.clone())
    );
    assert_eq!(
        scene.submit(&keyed(&scene, "a", Some("K"), None)).await,
        Submitted::Queued
    );
    assert_eq!(
        scene.submit(&keyed(&scene, "b", Some("k"), None)).await,
        Submitted::Queued
    );
    assert_eq!(
        scene.submit(&keyed(&scene, "a", None, Some("k"))).await,
        Submitted::Queued
    );

    let held = scene.claim(worker, 1).await.runs.remove(0);
    let failed = scene.fail(&held).await;
    assert_eq!(
        scene.submit(&keyed(&scene, "a", Some("k"), None)).await,
        same(failed.clone())
    );
    assert_eq!(
        scene
            .submit_on(worker, &keyed(&scene, "a", Some("k"), None))
            .await,
        same(failed)
    );
    let cancelled = scene.cancel(&run, CancelMode::Stop).await;
    let next = keyed(&scene, "a", Some("k"), None);
    assert_eq!(scene.submit(&next).await, Submitted::Queued);
    assert_eq!(
        scene.submit(&keyed(&scene, "a", Some("k"), None)).await,
        same(next)
    );
    assert_eq!(scene.get(run.id).await, cancelled);
}

/// A unique value belongs to one run of the workflow, whatever its key.
pub async fn a_unique_value_is_taken_once(scene: Scene) {
    let run = keyed(&scene, "a", Some("k"), Some("u"));
    assert_eq!(scene.submit(&run).await, Submitted::Queued);
    let taken = Submitted::SameUnique(Box::new(run.clone()));
    assert_eq!(
        scene.submit(&keyed(&scene, "a", None, Some("u"))).await,
        taken
    );
    assert_eq!(
        scene
            .submit(&keyed(&scene, "a", Some("other"), Some("u")))
            .await,
        taken
    );
    assert_eq!(
        scene.submit(&keyed(&scene, "b", None, Some("u"))).await,
        Submitted::Queued
    );
    let same = Submitted::SameKey(Box::new(run.clone()));
    assert_eq!(
        scene
            .submit(&keyed(&scene, "a", Some("k"), Some("u")))
            .await,
        same,
        "the key comes first"
    );
    scene.cancel(&run, CancelMode::Stop).await;
    assert_eq!(
        scene.submit(&keyed(&scene, "a", None, Some("u"))).await,
        Submitted::Queued
    );
}

/// Of many concurrent submissions with one key, one is added.
pub async fn a_race_for_a_key_has_one_winner(scene: Scene) {
    let mut race = JoinSet::new();
    for _ in 0..20 {
        let store = scene.store.clone();
        let run = keyed(&scene, "a", Some("k"), None);
        let queued = first(&run, scene.now());
        race.spawn(async move {
            (
                run,
                submit_at_last(
                    &*store,
                    Submission {
                        queued,
                        started: None,
                    },
                )
                .await,
            )
        });
    }
    let all = race.join_all().await;
    let winners: Vec<&Run> = all
        .iter()
        .filter(|(_, became)| *became == Submitted::Queued)
        .map(|(run, _)| run)
        .collect();
    assert_eq!(winners.len(), 1);
    for (run, became) in &all {
        if run.id != winners[0].id {
            assert_eq!(*became, Submitted::SameKey(Box::new(winners[0].clone())));
        }
    }
    assert_eq!(scene.picture().await.runs.len(), 1);
}

/// Submits with retries: while another submission holds the key, a store may answer that the others
/// should try again.
async fn submit_at_last(store: &dyn Store, submission: Submission) -> Submitted {
    loop {
        match store.submit(submission.clone()).await {
            Err(error) if error.is_retryable() => {}
            done => return done.unwrap(),
        }
    }
}

/// A run that its submitter starts is held at once, in one commit.
pub async fn a_run_starts_at_once(scene: Scene) {
    let worker = scene.worker("w").await;
    let run = scene.start(worker, &plan("a", &["one"])).await;
    assert_eq!(
        run.lease().map(|lease| (lease.worker, lease.epoch)),
        Some((worker, 1))
    );
    assert_eq!(scene.story(run.id).await, ["run.submitted", "run.started"]);
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene.complete(&run).await;
}

/// No run is overtaken: a new run starts at once only before runs of a lower priority.
pub async fn no_queued_run_is_overtaken(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let waiting = scene.queue(&plan).await;
    let run = scene.draft(&plan);
    assert_eq!(scene.submit_on(worker, &run).await, Submitted::Queued);
    let mut urgent = scene.draft(&plan);
    urgent.priority = 1;
    assert_eq!(scene.submit_on(worker, &urgent).await, Submitted::Started);
    let elsewhere = scene.draft(&crate::scene::plan("b", &["one"]));
    assert_eq!(
        scene.submit_on(worker, &elsewhere).await,
        Submitted::Started
    );
    assert_eq!(scene.claim_ids(worker, 10).await, [waiting.id, run.id]);
    assert_eq!(
        scene.submit_on(worker, &scene.draft(&plan)).await,
        Submitted::Started
    );
}

/// Runs that wait for a later time block no other run before that time.
pub async fn delayed_runs_may_be_overtaken(scene: Scene) {
    let worker = scene.worker("w").await;
    let plan = plan("a", &["one"]);
    let mut later = scene.draft(&plan);
    later.head.available_at = Some(scene.now() + SECOND);
    assert_eq!(
        scene.submit_on(worker, &later).await,
        Submitted::Queued,
        "its own time has not come"
    );
    assert_eq!(
        scene.submit_on(worker, &scene.draft(&plan)).await,
        Submitted::Started
    );
    scene.clock.advance(SECOND);
    assert_eq!(
        scene.submit_on(worker, &scene.draft(&plan)).await,
        Submitted::Queued
    );
}

/// A pause and each limit hold back a new run just as they hold back a queued one.
pub async fn limits_hold_for_immediate_starts(scene: Scene) {
    let worker = scene.worker("w").await;
    scene.store.pause_queue("paused", true).await.unwrap();
    let paused = scene.draft(&plan("paused", &["one"]));
    assert_eq!(scene.submit_on(worker, &paused).await, Submitted::Queued);
    assert_eq!(
        scene.get(paused.id).await,
        paused,
        "it is added as it was to be queued"
    );

    scene
        .limits(
            "full",
            QueueLimits {
                concurrency: Some(2),
                ..QueueLimits::default()
            },
        )
        .await;
    let full = plan("full", &["one"]);
    let became = [scene.draft(&full), scene.draft(&full), scene.draft(&full)];
    assert_eq!(
        scene.submit_on(worker, &became[0]).await,
        Submitted::Started
    );
    assert_eq!(
        scene.submit_on(worker, &became[1]).await,
        Submitted::Started
    );
    assert_eq!(scene.submit_on(worker, &became[2]).await, Submitted::Queued);

    scene
        .limits(
            "keyed",
            QueueLimits {
                concurrency_per_key: Some(1),
                ..QueueLimits::default()
            },
        )
        .await;
    let tenant = |key: Option<&str>| {
        let mut run = scene.draft(&plan("keyed", &["one"]));
        run.concurrency_key = key.map(str::to_owned);
        run
    };
    for key in [Some("x"), Some("y"), None, None] {
        assert_eq!(
            scene.submit_on(worker, &tenant(key)).await,
            Submitted::Started,
            "{key:?}"
        );
    }
    assert_eq!(
        scene.submit_on(worker, &tenant(Some("x"))).await,
        Submitted::Queued
    );
}

/// The rate counts immediate starts like any other.
pub async fn the_rate_holds_for_immediate_starts(scene: Scene) {
    let worker = scene.worker("w").await;
    let rate = Some(surefoot::Rate {
        max: 2,
        per: SECOND,
    });
    scene
        .limits(
            "a",
            QueueLimits {
                rate,
                ..QueueLimits::default()
            },
        )
        .await;
    let plan = plan("a", &["one"]);
    scene.start(worker, &plan).await;
    scene.clock.advance(SECOND / 2);
    scene.start(worker, &plan).await;
    let held_back = scene.draft(&plan);
    assert_eq!(scene.submit_on(worker, &held_back).await, Submitted::Queued);
    scene.clock.advance(SECOND / 2 - Duration::from_micros(1));
    assert_eq!(scene.claim_ids(worker, 10).await, []);
    scene.clock.advance(Duration::from_micros(1));
    assert_eq!(scene.claim_ids(worker, 10).await, [held_back.id]);
    assert_eq!(
        scene.submit_on(worker, &scene.draft(&plan)).await,
        Submitted::Queued
    );
    scene.store.pause_queue("a", true).await.unwrap();
    a_late_start_counts_when_it_is_written(&scene, worker).await;
}

/// A delayed submission starts when it arrives, not when it was made.
async fn a_late_start_counts_when_it_is_written(scene: &Scene, worker: WorkerId) {
    let rate = Some(surefoot::Rate {
        max: 1,
        per: SECOND,
    });
    scene
        .limits(
            "late",
            QueueLimits {
                rate,
                ..QueueLimits::default()
            },
        )
        .await;
    let plan = plan("late", &["one"]);
    let run = scene.draft(&plan);
    let made = Submission {
        queued: first(&run, scene.now()),
        started: Some(taken(&run, worker, scene.now())),
    };
    scene.clock.advance(SECOND / 2);
    assert_eq!(scene.store.submit(made).await.unwrap(), Submitted::Started);
    let next = scene.queue(&plan).await;
    scene.clock.advance(SECOND - Duration::from_micros(1));
    assert_eq!(
        scene.claim_ids(worker, 1).await,
        [],
        "the first start is less than a second old"
    );
    scene.clock.advance(Duration::from_micros(1));
    assert_eq!(scene.claim_ids(worker, 1).await, [next.id]);
}

/// A key is one line of 1 to 255 characters; every store refuses others with the same error and
/// adds nothing.
pub async fn invalid_keys_are_refused(scene: Scene) {
    let plan = plan("a", &["one"]);
    let longest = "日".repeat(255);
    let mut run = scene.draft(&plan);
    run.key = Some(longest.clone());
    run.unique = Some(longest.clone());
    run.concurrency_key = Some(longest.clone());
    scene.submit(&run).await;
    assert_eq!(scene.get(run.id).await, run);
    let before = scene.picture().await;
    let too_long = format!("{longest}x");
    type Field = fn(&mut Run) -> &mut Option<String>;
    let cases: [(&str, Field, &str); 6] = [
        ("", |run| &mut run.key, "the key is empty"),
        (
            &too_long,
            |run| &mut run.key,
            "the key has 256 characters: 255 are allowed",
        ),
        ("a\nb", |run| &mut run.key, "holds a control character"),
        (
            "",
            |run| &mut run.concurrency_key,
            "the concurrency key is empty",
        ),
        (
            &too_long,
            |run| &mut run.concurrency_key,
            "the concurrency key has 256 characters",
        ),
        (
            &too_long,
            |run| &mut run.unique,
            "the value of `unique` has 256 characters",
        ),
    ];
    for (text, field, part) in cases {
        let mut run = scene.draft(&plan);
        *field(&mut run) = Some(text.to_owned());
        let submission = Submission {
            queued: first(&run, scene.now()),
            started: None,
        };
        forbidden(scene.store.submit(submission).await, part);
    }
    assert_eq!(scene.picture().await, before);
}
