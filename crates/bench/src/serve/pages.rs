//! Each page in turn, one request at a time.

use super::server::Server;

/// Measured paths; `{run}` is a finished run. The first is the server's floor: HTTP without the
/// store.
const PATHS: &[&str] = &[
    "/healthz",
    "/",
    "/?span=7d",
    "/runs",
    "/runs?status=failed",
    "/runs?status=completed&since=7d",
    "/runs?workflow=work",
    "/runs?queue=work&status=failed",
    "/runs?text=project-99",
    "/runs/{run}",
    "/projects",
    "/queues",
    "/workers",
    "/alerts",
    "/audit",
    "/settings",
    "/new?workflow=work",
    "/api/v1/runs?limit=50",
    "/api/v1/runs/{run}",
    "/metrics",
];

pub(super) async fn measure(server: &Server, run: &str, asked: usize) -> anyhow::Result<()> {
    println!("| page | p50 | slowest of {asked} | KB |");
    println!("|---|---|---|---|");
    for path in PATHS {
        let path = path.replace("{run}", run);
        server.get(&path).await?;
        let mut took = Vec::with_capacity(asked);
        let mut bytes = 0;
        for _ in 0..asked {
            let (time, size) = server.get(&path).await?;
            took.push(time.as_secs_f64() * 1000.0);
            bytes = bytes.max(size);
        }
        took.sort_by(f64::total_cmp);
        let shown = path.replace(run, "{id}");
        let slowest = took.last().copied().unwrap_or_default();
        println!(
            "| `{shown}` | {:.1} ms | {slowest:.1} ms | {:.0} |",
            took[asked / 2],
            bytes as f64 / 1000.0
        );
    }
    println!();
    Ok(())
}
