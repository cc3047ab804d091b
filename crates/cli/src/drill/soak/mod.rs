//! `surefoot soak`: submits runs for minutes while workers, and on PostgreSQL the server, are
//! killed, frozen and restarted at random; then everything is let finish, and the ledgers outside
//! the store are compared with it. See `docs/recovery.md`.

mod injector;
mod loops;
mod random;
mod report;
mod submitter;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use surefoot::{QueueLimits, RunId, Store};
use tokio_util::sync::CancellationToken;

use super::count::count;
use super::ground::Ground;
use super::ledger::{Line, What};
use super::scene::{Scene, Submitted};
use super::{Place, QUIET, evidence};
use crate::app::App;
use crate::args::Soak;
use crate::errors::{Exit, Failure};
use crate::signals::Signals;
use crate::{out, shipped, summary};
use injector::Injector;
use random::Random;
use report::{Report, Row};
use submitter::Submitter;

pub(crate) use loops::Loop;

/// Workers of a loop where several may work on the store.
const WORKERS: usize = 3;

/// Runs each loop. The exit status is 0 only when nothing in any of them was wrong.
pub(crate) async fn soak(app: &App, args: &Soak) -> Result<Exit, Failure> {
    shipped::expect_tools(&shipped::workflow())?;
    let mut signals = Signals::install()?;
    let loops = if args.loops.is_empty() {
        Loop::value_variants()
    } else {
        &args.loops
    };
    let ground = Arc::new(Ground::of(args.postgres, &app.settings)?);
    let report = tokio::select! {
        report = rows(args, loops, &ground) => report?,
        exit = signals.next() => {
            let scenes = loops.iter().map(|one| one.name()).collect::<Vec<_>>();
            ground.clean(&app.settings.store, &scenes).await;
            return Ok(exit);
        }
    };
    if app.json {
        summary::json(&report)?;
    } else {
        out::print(&report.text())?;
    }
    Ok(if report.clean {
        Exit::Done
    } else {
        Exit::RunFailed
    })
}

async fn rows(args: &Soak, loops: &[Loop], ground: &Arc<Ground>) -> Result<Report, Failure> {
    let place = Place::new(args.keep.as_deref())?;
    let seed = args.seed.unwrap_or_else(random::seed);
    out::say(&format!(
        "soak: {} of {} s each on {}, seed {seed}",
        loops
            .iter()
            .map(|one| one.name())
            .collect::<Vec<_>>()
            .join(", "),
        args.seconds,
        ground.name()
    ));
    let mut rows = Vec::new();
    for one in loops {
        let row = row(args, *one, seed, &place, ground).await;
        let row = row.unwrap_or_else(|failure| Row::broken(*one, &failure));
        out::say(&row.summary());
        rows.push(row);
    }
    Ok(Report {
        store: ground.name().to_owned(),
        seed,
        clean: !rows.is_empty() && rows.iter().all(|row| row.clean),
        loops: rows,
    })
}

/// Runs one loop on a scene of its own.
async fn row(
    args: &Soak,
    one: Loop,
    seed: u64,
    place: &Place,
    ground: &Arc<Ground>,
) -> Result<Row, Failure> {
    let folder = place.scene(&one.name())?;
    let mut scene = Scene::new(&folder, ground, &folder).await?;
    let row = play(&mut scene, args, one, seed).await;
    scene.end().await?;
    row
}

async fn play(scene: &mut Scene, args: &Soak, one: Loop, seed: u64) -> Result<Row, Failure> {
    let limits = QueueLimits {
        concurrency: Some(3),
        ..QueueLimits::default()
    };
    scene
        .store
        .set_queue(submitter::COMMANDS, limits, true)
        .await?;
    let began = Instant::now();
    let time = Duration::from_secs(args.seconds.into());
    let end = began + time;
    let settled = CancellationToken::new();
    let mut submitter = Submitter::new(scene, Random::new(seed))?;
    let store = scene.store.clone();
    let submissions = async {
        submitter.run(end).await?;
        let submitted = submitter::acknowledged(&submitter.ledger)?;
        settle(store.as_ref(), &submitted).await;
        settled.cancel();
        Ok(submitted)
    };
    let workers = if scene.is_embedded() { 1 } else { WORKERS };
    let injector = Injector::new(scene, one, workers, Random::new(seed.rotate_left(32)));
    let (submitted, injected) = tokio::try_join!(submissions, injector.run(end, &settled))?;
    scene.projects = submitted;
    let evidence = evidence::gather(scene, &[]).await?;
    let mut counts = count(&evidence);
    let commands = submitter::effects(&scene.folder)?;
    counts
        .wrong
        .extend(command_effects(&commands, &evidence.ledger));
    let lost = evidence
        .projects
        .iter()
        .filter(|project| project.run.is_none());
    let evidence = report::Evidence {
        time,
        settled: began.elapsed(),
        acknowledged: evidence.projects.len(),
        lost: lost.count(),
        counts,
        injected,
        histories: evidence::histories(scene, &evidence),
    };
    Ok(Row::of(one, evidence))
}

/// Waits until each acknowledged run has ended, or nothing of them has moved for so long that
/// nothing will.
async fn settle(store: &dyn Store, submitted: &[Submitted]) {
    let mut left = submitted.iter().map(|it| it.run).collect::<Vec<RunId>>();
    let mut last = (Instant::now(), String::new());
    while !left.is_empty() && last.0.elapsed() < QUIET {
        let mut picture = String::new();
        let mut unfinished = Vec::new();
        for id in left {
            match store.run(id).await {
                Ok(Some(run)) if run.head.status.is_ended() => {}
                Ok(Some(run)) => {
                    picture += &format!("{:?} {:?}\n", run.head.status, run.steps);
                    unfinished.push(id);
                }
                // A run that is not there is lost: waiting does not bring it back.
                Ok(None) => {}
                Err(_) => unfinished.push(id),
            }
        }
        left = unfinished;
        if picture != last.1 {
            last = (Instant::now(), picture);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Compares what commands wrote themselves with what was written when their handlers were called.
fn command_effects(commands: &[(String, String)], ledger: &[Line]) -> Vec<String> {
    let mut calls: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for line in ledger.iter().filter(|line| line.what == What::Begin) {
        calls.entry((&line.run, &line.step)).or_default().0 += 1;
    }
    for (run, step) in commands {
        calls.entry((run, step)).or_default().1 += 1;
    }
    let beyond = calls.iter().filter(|(_, (called, ran))| ran > called);
    beyond
        .map(|((run, step), (called, ran))| {
            format!("{run}: the command of {step} ran {ran} times, its handler {called} times")
        })
        .collect()
}

/// The folder's file of this name, whole lines only.
fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| crate::errors::unusable("read", path, &error))?,
    };
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    Ok(whole.lines().map(str::to_owned).collect())
}
