//! `surefoot drill`: proves the recovery on the machine that it runs on. Real worker processes of
//! this same executable initialise projects on a scratch store, something goes wrong, and what that
//! did is counted. See `docs/recovery.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "the drill works on folders of its own, in a process that does nothing else"
)]

mod count;
mod evidence;
mod faults;
mod ground;
mod inject;
mod ledger;
mod moves;
mod report;
mod sabotage;
mod scene;
mod soak;
mod witness;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use tempfile::TempDir;

use crate::app::App;
use crate::args::Drill;
use crate::errors::{Exit, Failure, unusable};
use crate::signals::Signals;
use crate::{out, shipped, summary};
use ground::{Ground, Site};
use inject::Came;
use report::{Report, Row};
use scene::Scene;

pub(crate) use faults::Fault;
pub(crate) use soak::{Loop, soak};
pub(crate) use witness::witnessed;

/// Nothing of a project moves for this long: it never will. Longer than a lease and every wait
/// between attempts.
const QUIET: Duration = Duration::from_secs(20);

/// Makes one thing after the other go wrong. The exit status says whether all came out as promised.
pub(crate) async fn drill(app: &App, args: &Drill) -> Result<Exit, Failure> {
    shipped::expect_tools(&shipped::workflow())?;
    let mut signals = Signals::install()?;
    let faults = if args.faults.is_empty() {
        Fault::value_variants()
    } else {
        &args.faults
    };
    let ground = Arc::new(Ground::of(args.postgres, &app.settings)?);
    let report = tokio::select! {
        report = rows(args, faults, &ground) => report?,
        exit = signals.next() => {
            // The processes of the drill have ended with its future; its schemas are removed here.
            let scenes = faults.iter().map(|fault| fault.name()).collect::<Vec<_>>();
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

async fn rows(args: &Drill, faults: &[Fault], ground: &Arc<Ground>) -> Result<Report, Failure> {
    let place = Place::new(args.keep.as_deref())?;
    announce(args, faults, &place, ground);
    let began = Instant::now();
    let mut rows = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let row = row(args, *fault, &place, ground)
            .await
            .unwrap_or_else(|failure| Row::broken(*fault, &failure));
        if args.small_disk.is_none() {
            out::say(&format!(
                "[{}/{}] {}: {}",
                index + 1,
                faults.len(),
                fault.title(),
                row.summary()
            ));
        }
        rows.push(row);
    }
    Ok(Report {
        store: ground.name().to_owned(),
        projects: args.projects,
        steps: shipped::workflow().steps().len(),
        seconds: began.elapsed().as_secs_f64().round(),
        clean: report::are_clean(&rows),
        faults: rows,
    })
}

fn announce(args: &Drill, faults: &[Fault], place: &Place, ground: &Ground) {
    if args.small_disk.is_some() {
        return;
    }
    // Three at a time, seven steps of which each takes a third of a second and its own work.
    let each = args.projects * 7 * 45 / 100 / 3 + 2;
    let seconds = faults
        .iter()
        .map(|fault| each + fault.seconds())
        .sum::<u32>();
    let count = faults.len();
    let s = if faults.len() == 1 { "" } else { "s" };
    let kept = if args.keep.is_some() {
        format!(", kept in {}", place.root().display())
    } else {
        String::new()
    };
    out::say(&format!(
        "drill: {count} fault{s}, {} projects of seven steps each, 3 at a time, on {}{kept}; up to {} minutes",
        args.projects,
        ground.name(),
        seconds.div_ceil(60)
    ));
}

/// Brings one fault about, waits for the end, and counts.
async fn row(
    args: &Drill,
    fault: Fault,
    place: &Place,
    ground: &Arc<Ground>,
) -> Result<Row, Failure> {
    let folder = &match args.small_disk {
        Some(_) => place.root().to_owned(),
        None => place.scene(&fault.name())?,
    };
    if fault == Fault::DiskFull && args.small_disk.is_none() {
        return inject::small_disk(args.projects, folder, ground).await;
    }
    let ground = match ground.site(fault)? {
        Site::On(ground) => ground,
        Site::Nowhere(why) => return Ok(Row::skipped(fault, &why)),
    };
    let disk = args.small_disk.as_deref().unwrap_or(folder);
    let mut scene = Scene::new(folder, &ground, disk).await?;
    let row = play(&mut scene, args, fault).await;
    scene.end().await?;
    row
}

async fn play(scene: &mut Scene, args: &Drill, fault: Fault) -> Result<Row, Failure> {
    scene.submit(args.projects).await?;
    let mut injected = match inject::inject(scene, fault).await? {
        Came::Of(injected) => *injected,
        Came::Skipped(why) => return Ok(Row::skipped(fault, &why)),
    };
    scene.settle(QUIET).await;
    let evidence = evidence::gather(scene, &injected.doomed).await?;
    if let Some(late) = &injected.late {
        let (reported, wrong) = count::late(&evidence, late);
        injected
            .notes
            .push(format!("{reported} steps reported an error when it woke"));
        injected.wrong.extend(wrong);
    }
    let moved = moves::longest(&injected.breaks, &evidence::histories(scene, &evidence));
    let limit = injected.limit.unwrap_or(scene.limit());
    Ok(Row::of(
        fault,
        count::count(&evidence),
        injected,
        moved,
        limit,
    ))
}

/// Folder of the scenarios: temporary, or kept.
enum Place {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(keep) = keep else {
            let folder = tempfile::Builder::new().prefix("surefoot-drill-").tempdir();
            return folder
                .map(Self::Temporary)
                .map_err(|error| unusable("make a folder in", &std::env::temp_dir(), &error));
        };
        std::fs::create_dir_all(keep).map_err(|error| unusable("make the folder", keep, &error))?;
        let keep =
            std::path::absolute(keep).map_err(|error| unusable("use the folder", keep, &error))?;
        Ok(Self::Kept(keep))
    }

    fn root(&self) -> &Path {
        match self {
            Self::Kept(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// A folder that is new: an old ledger would be counted again.
    fn scene(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.root().join(name);
        std::fs::create_dir(&folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::usage(format!("{} is there already", folder.display()))
                    .hint("an earlier drill was kept there: name another folder")
            }
            _ => unusable("make the folder", &folder, &error),
        })?;
        Ok(folder)
    }
}
