//! `sleep` and `approval`.

use serde_json::json;
use surefoot::state::Answer;

use crate::world::World;

#[tokio::test]
async fn a_sleep_ends_when_it_is_over() {
    let world = World::new().await;
    let run = world
        .run("- { id: nap, action: sleep, with: { duration: 300ms } }")
        .await;
    let step = &run.steps[0];
    let took = step
        .completed_at
        .unwrap()
        .since(step.started_at.unwrap())
        .as_millis();
    assert!(
        (300..60_000).contains(&took) && step.attempt == 1,
        "{took} ms, attempt {}",
        step.attempt
    );
    let (error, _) = world
        .failure("- { id: nap, action: sleep, with: { duration: \"${{ 'soon' }}\" } }")
        .await;
    assert!(error.starts_with("`soon` is not a duration"), "{error}");
}

#[tokio::test]
async fn a_sleep_goes_on_through_a_restart() {
    let mut world = World::new().await;
    let run = world
        .submit("- { id: nap, action: sleep, with: { duration: 500ms } }")
        .await;
    world.until(&run, "step.sleeping").await;
    world.restart().await;
    let run = world.wait(&run).await;
    let took = run.steps[0]
        .completed_at
        .unwrap()
        .since(run.steps[0].started_at.unwrap())
        .as_millis();
    assert_eq!(
        (
            run.head.status.to_string().as_str(),
            world.events(&run, "step.sleeping").await.len()
        ),
        ("completed", 1)
    );
    assert!(took >= 500, "{took} ms");
}

#[tokio::test]
async fn an_approval_waits_for_a_person() {
    let mut world = World::new().await;
    let run = world
        .submit("- { id: gate, action: approval, with: { question: 'ship it?' } }")
        .await;
    world.until(&run, "step.asking").await;
    assert_eq!(
        world.events(&run, "step.asking").await[0].data,
        json!({ "question": "ship it?" })
    );
    world.restart().await;
    world
        .client()
        .answer(run.id, "gate", Answer::Approve, "ada", Some("looks good"))
        .await
        .unwrap();
    let run = world.wait(&run).await;
    assert_eq!(
        run.steps[0].output,
        Some(json!({ "approved_by": "ada", "note": "looks good" }))
    );
}

#[tokio::test]
async fn a_rejection_fails_the_run() {
    let world = World::new().await;
    let run = world
        .submit("- { id: gate, action: approval, with: { message: 'ship it?' } }")
        .await;
    world.until(&run, "step.asking").await;
    world
        .client()
        .answer(run.id, "gate", Answer::Reject, "ada", None)
        .await
        .unwrap();
    let run = world.wait(&run).await;
    assert_eq!(
        (
            run.head.status.to_string().as_str(),
            run.steps[0].error.as_deref()
        ),
        ("failed", Some("rejected by ada"))
    );
}
