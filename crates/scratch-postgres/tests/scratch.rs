//! Scratch clusters do what tests rely on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

use std::path::Path;

use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres, Stop};

fn ask(cluster: &ScratchPostgres, url: &str, statement: &str) -> Result<String, String> {
    let output = cluster.program("psql").args(["-X", "-A", "-t", "-d", url, "-c", statement]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_cluster_lives_dies_and_leaves_nothing() {
    let cluster = ScratchPostgres::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    assert_eq!(ask(&cluster, &url, "SHOW fsync").unwrap(), "on");
    ask(&cluster, &url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)").unwrap();

    for how in [Stop::Fast, Stop::Kill] {
        cluster.stop(how).unwrap();
        assert!(ask(&cluster, &url, "SELECT 1").unwrap_err().contains("refused"), "{how:?}");
        cluster.start_again().unwrap();
        assert_eq!(ask(&cluster, &url, "SELECT n FROM kept").unwrap(), "42", "what was committed survives {how:?}");
    }

    cluster.refuse().unwrap();
    assert!(ask(&cluster, &url, "SELECT 1").unwrap_err().contains("rejects connection"));
    cluster.accept().unwrap();
    assert_eq!(ask(&cluster, &url, "SELECT 1").unwrap(), "1");

    let (port, data) = (cluster.port(), cluster.data());
    let server = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let server = server.lines().next().unwrap().to_owned();
    drop(cluster);
    assert!(!data.exists(), "the folder is gone");
    assert!(!Path::new(&format!("/proc/{server}")).exists(), "the server is gone");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
}

#[test]
fn a_bouncer_pools_by_transaction() {
    let cluster = ScratchPostgres::shared();
    let url = cluster.fresh_database().unwrap();
    let database = url.rsplit('/').next().unwrap();
    let bouncer = ScratchBouncer::start(cluster, 2).unwrap();
    assert_eq!(ask(cluster, &bouncer.url_of(database), "SELECT current_database()").unwrap(), database);
    assert_eq!(
        ask(cluster, &bouncer.url_of("pgbouncer"), "SHOW CONFIG").map(|rows| rows.contains("pool_mode|transaction")),
        Ok(true)
    );
}
