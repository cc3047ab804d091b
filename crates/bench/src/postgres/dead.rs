//! Dead rows during a load: the backlog of vacuum. Afterwards vacuum has caught up, and a count
//! would mean nothing.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use surefoot_scratch_postgres::ScratchPostgres;

/// Sampling interval. The server's statistics lag by up to a second.
const EVERY: Duration = Duration::from_secs(1);

/// Dead rows of `runs` and `steps` during a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Dead {
    runs: Vec<u64>,
    steps: Vec<u64>,
}

/// Runs `work` and samples the dead rows meanwhile.
pub(super) fn sampled<T>(
    cluster: &ScratchPostgres,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Dead)> {
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        let looks = scope.spawn(move || {
            let mut dead = Dead::default();
            while is_done.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                dead.look(cluster)?;
            }
            anyhow::Ok(dead)
        });
        let worked = work();
        drop(done);
        let dead = looks
            .join()
            .map_err(|_| anyhow::anyhow!("the look at dead rows panicked"))??;
        Ok((worked?, dead))
    })
}

impl Dead {
    fn look(&mut self, cluster: &ScratchPostgres) -> anyhow::Result<()> {
        let asked = "SELECT n_dead_tup FROM pg_stat_user_tables \
                     WHERE schemaname = 'surefoot' AND relname IN ('runs', 'steps') ORDER BY relname";
        let rows = cluster.psql("postgres", asked)?;
        let mut rows = rows
            .lines()
            .map(|row| row.parse::<u64>().context("a count of dead rows"));
        self.runs.push(rows.next().context("no row of runs")??);
        self.steps.push(rows.next().context("no row of steps")??);
        Ok(())
    }
}

pub(super) fn print(rounds: &[Dead]) {
    let of = |samples: fn(&Dead) -> &Vec<u64>| {
        let mut all = rounds.iter().flat_map(samples).copied().collect::<Vec<_>>();
        all.sort_unstable();
        let middle = all.get(all.len() / 2).copied().unwrap_or_default();
        format!(
            "{middle} in the middle, {} at most",
            all.last().copied().unwrap_or_default()
        )
    };
    println!(
        "dead rows while two workers do 7 steps, 256 at once: runs {}; steps {}",
        of(|dead| &dead.runs),
        of(|dead| &dead.steps)
    );
}
