//! Surefoot on PostgreSQL: a fresh cluster with fsync on, workers in processes of their own, and
//! pgbench on the same machine in the same invocation.

mod claims;
mod dead;
mod idle;
mod pgbench;
mod prepare;
mod processes;
mod table;
mod wanted;

use surefoot_scratch_postgres::ScratchPostgres;

use self::processes::Load;
pub(crate) use self::processes::{WorkerArgs, WorkloadArgs, worker, workload};
use crate::report::Figures;

#[derive(clap::Args)]
pub(crate) struct Suite {
    /// Rounds; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Finished runs in the database. Each value gets its own cluster and table; they alternate in
    /// each round.
    #[arg(long, value_delimiter = ',', default_value = "0,1000000")]
    history: Vec<u64>,
}

/// Loads in the order of measurement, from few runs at once to many.
const LOADS: [Load; 9] = [
    Load {
        steps: 1,
        workers: 1,
        at_once: 1,
    },
    Load {
        steps: 7,
        workers: 1,
        at_once: 1,
    },
    Load {
        steps: 1,
        workers: 1,
        at_once: 256,
    },
    Load {
        steps: 1,
        workers: 2,
        at_once: 256,
    },
    Load {
        steps: 1,
        workers: 4,
        at_once: 256,
    },
    Load {
        steps: 7,
        workers: 1,
        at_once: 256,
    },
    Load {
        steps: 7,
        workers: 2,
        at_once: 256,
    },
    Load {
        steps: 7,
        workers: 2,
        at_once: 512,
    },
    Load {
        steps: 7,
        workers: 4,
        at_once: 256,
    },
];

/// Turns of the comparison between histories. There are many, because one autovacuum that happens
/// to be active in one of them costs more than a history does.
const TURNS: usize = 9;

/// The load that compares histories and that claims are judged by.
const BUSIEST: Load = Load {
    steps: 7,
    workers: 2,
    at_once: 256,
};

/// Figures of all rounds over one history.
#[derive(Default)]
struct Rounds {
    commits: Vec<Figures>,
    one_commit: Vec<Figures>,
    /// Rows of a submission in one commit, with one step and with seven.
    one_submission: [Vec<Figures>; 2],
    /// The same with as many single-row commits in between as such a run has steps.
    among_others: [Vec<Figures>; 2],
    rows: Vec<Figures>,
    runs: Vec<Figures>,
    /// In the order of the loads.
    loads: [Vec<Figures>; LOADS.len()],
    /// Runs submitted in one process and executed in another: woken by NOTIFY, and by polling
    /// alone.
    notified: Vec<Figures>,
    polled: Vec<Figures>,
    /// Claims of one run out of many queued ones, and claims that find nothing.
    claims: Vec<Figures>,
    empty_claims: Vec<Figures>,
    /// Dead rows during the busiest load.
    dead: Vec<dead::Dead>,
    /// The busiest load, alternating with the other histories.
    turns: Vec<Figures>,
    /// Transactions of one idle worker.
    idle: Vec<Figures>,
}

/// The database with one history.
struct Ground {
    finished: u64,
    cluster: ScratchPostgres,
    all: Rounds,
}

impl Ground {
    fn new(finished: u64) -> anyhow::Result<Self> {
        let cluster = ScratchPostgres::start()?;
        eprintln!("filling a database with {finished} finished runs ...");
        prepare::prepare(&cluster, finished)?;
        Ok(Self {
            finished,
            cluster,
            all: Rounds::default(),
        })
    }
}

pub(crate) fn run(suite: &Suite) -> anyhow::Result<()> {
    println!(
        "Median of {} rounds, {} s each; workers are processes of their own.\n",
        suite.rounds, suite.seconds
    );
    let grounds = suite.history.iter().map(|finished| Ground::new(*finished));
    let mut grounds = grounds.collect::<anyhow::Result<Vec<_>>>()?;
    for round in 0..suite.rounds {
        // The histories alternate, so that a machine that becomes slower does so for all of them.
        for ground in &mut grounds {
            eprintln!(
                "round {} of {}, {} finished runs ...",
                round + 1,
                suite.rounds,
                ground.finished
            );
            measure(&ground.cluster, suite.seconds, &mut ground.all)?;
        }
    }
    take_turns(&mut grounds, suite.seconds)?;
    for ground in &mut grounds {
        // Last, because it needs autovacuum switched off.
        for _ in 0..suite.rounds {
            ground.all.idle.push(idle::measure(&ground.cluster)?);
        }
    }
    for ground in &grounds {
        table::print(ground.finished, &ground.all, &vacuum(&ground.cluster)?);
        claims::print(&ground.all);
        dead::print(&ground.all.dead);
        wanted::print(&ground.all);
    }
    wanted::print_cost(&grounds);
    Ok(())
}

/// Measures the busiest load over each history; each comes first in every other turn.
fn take_turns(grounds: &mut [Ground], seconds: u64) -> anyhow::Result<()> {
    let turns = if grounds.len() > 1 { TURNS } else { 0 };
    for _ in 0..turns {
        for ground in &mut *grounds {
            ground.all.turns.push(processes::together(
                &ground.cluster.url(),
                seconds,
                BUSIEST,
            )?);
        }
        grounds.reverse();
    }
    grounds.sort_by_key(|ground| ground.finished);
    Ok(())
}

fn measure(cluster: &ScratchPostgres, seconds: u64, all: &mut Rounds) -> anyhow::Result<()> {
    let url = cluster.url();
    all.commits
        .push(pgbench::run(cluster, &pgbench::COMMITS, seconds)?);
    all.one_commit
        .push(pgbench::run(cluster, &pgbench::ONE_COMMIT, seconds)?);
    for (script, figures) in pgbench::ONE_SUBMISSION.iter().zip(&mut all.one_submission) {
        figures.push(pgbench::run(cluster, script, seconds)?);
    }
    for ((script, steps), figures) in pgbench::ONE_SUBMISSION
        .iter()
        .zip([1, 7])
        .zip(&mut all.among_others)
    {
        figures.push(pgbench::among_others(cluster, script, steps, seconds)?);
    }
    all.rows
        .push(pgbench::run(cluster, &pgbench::ROWS, seconds)?);
    all.runs
        .push(pgbench::run(cluster, &pgbench::RUNS, seconds)?);
    for (load, figures) in LOADS.into_iter().zip(&mut all.loads) {
        if load == BUSIEST {
            let (found, dead) =
                dead::sampled(cluster, || processes::together(&url, seconds, load))?;
            figures.push(found);
            all.dead.push(dead);
        } else {
            figures.push(processes::together(&url, seconds, load)?);
        }
    }
    let (claims, empty) = claims::measure(&url)?;
    all.claims.push(claims);
    all.empty_claims.push(empty);
    all.notified
        .push(processes::hand_over(&url, seconds, false)?);
    all.polled.push(processes::hand_over(&url, seconds, true)?);
    Ok(())
}

/// Reports the dead rows that the load left and the autovacuum runs that followed.
fn vacuum(cluster: &ScratchPostgres) -> anyhow::Result<String> {
    let asked =
        "SELECT string_agg(relname || ': ' || n_dead_tup || ' dead of ' || n_live_tup + n_dead_tup || ', vacuumed '
                 || autovacuum_count || ' times', '; ' ORDER BY relname)
                 FROM pg_stat_user_tables WHERE schemaname = 'surefoot' AND relname IN ('runs', 'steps', 'events')";
    Ok(cluster.psql("postgres", asked)?)
}
