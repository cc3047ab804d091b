//! Tests the API against its own document with schemathesis: it sends requests that the document
//! allows and forbids, and checks that each response is documented.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use surefoot_server::auth::{Role, token};
use tokio::process::Command;

use crate::world::{PATIENCE, World};

/// Time for generating requests, and for the whole test: pending requests are finished, and slow
/// machines take long.
const SECONDS: &str = "45";
const BOUND: Duration = Duration::from_secs(300);

fn program() -> PathBuf {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/schemathesis/venv/bin/schemathesis");
    assert!(
        found.is_file(),
        "run `./dev test`, which installs {}",
        found.display()
    );
    found
}

/// Runs of each kind, so that there is data.
async fn fill(world: &World) {
    world.greet("ada").await;
    for workflow in ["failing", "asking"] {
        let made = world
            .post("/api/v1/runs", json!({ "workflow": workflow }))
            .await;
        assert_eq!(made.status(), StatusCode::CREATED, "{workflow}");
    }
}

/// Creates a token and waits until the server requires one.
async fn closed(world: &World) -> String {
    let made = token::create(world.store.as_ref(), "contract", Role::Admin, None, "test")
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while world.get("/api/v1/me").await.status() != StatusCode::UNAUTHORIZED {
        assert!(Instant::now() < deadline, "the server stays open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    made.secret.expose().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_is_documented() {
    let world = World::open().await;
    fill(&world).await;
    let token = closed(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command
        .arg("--config-file")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/api/openapi.json", world.url))
        .args(["--header", &format!("Authorization:Bearer {token}")])
        .args([
            "--checks",
            "all",
            "--max-time",
            SECONDS,
            "--request-timeout",
            "10",
            "--no-color",
        ])
        // This endpoint streams for as long as the client listens; there is no complete response to
        // check.
        .args(["--exclude-path", "/api/v1/events"])
        // A document cannot express that a name must exist or that two fields depend on each other,
        // so allowed requests may be refused.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--continue-on-failure", "--warnings", "off"])
        // The same requests each time, as far as time permits.
        .args(["--generation-deterministic", "--seed", "7"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output())
        .await
        .expect("it ends in time")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{said}");
    world.close().await;
}
