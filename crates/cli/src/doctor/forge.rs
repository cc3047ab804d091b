//! The local forge: whether this host has the store's own, and whether a live worker does.

use surefoot::{Store, StoreError};
use surefoot_doctor::Finding;
use surefoot_initializer::forge::LOCAL_FORGE;

use crate::config::Settings;
use crate::forge::{Standing, place};

const SUBJECT: &str = "forge";

/// Looks at the folder of this host, and at what live workers offer.
pub(super) async fn examine(
    store: &dyn Store,
    settings: &Settings,
) -> Result<Vec<Finding>, StoreError> {
    let standing = Standing::look(store, settings).await?;
    let workers = store.workers().await?;
    let offered = workers
        .iter()
        .filter(|worker| worker.resources.contains(LOCAL_FORGE))
        .count();
    let mut findings = vec![of_this_host(&standing, settings)];
    if offered == 0 && !workers.is_empty() && !matches!(standing, Standing::Unclaimed) {
        let means = "new projects wait, and so do unfinished ones, until a worker has it";
        findings.push(
            Finding::warn(
                SUBJECT,
                "no live worker has the local forge of this store",
                means,
            )
            .advice("start a worker where its folder is; `surefoot forge` says where that was"),
        );
    }
    Ok(findings)
}

fn of_this_host(standing: &Standing, settings: &Settings) -> Finding {
    let here = place(settings);
    match (standing.warning(settings), standing) {
        (Some((warning, advice)), _) => {
            let means = "a worker of this host takes no run whose repository is, or will be, in the store's forge";
            let means = if matches!(standing, Standing::Own(_)) {
                "a copy passes as the original"
            } else {
                means
            };
            Finding::warn(SUBJECT, warning, means).advice(advice)
        }
        (None, Standing::Own(mark)) => {
            let means = "every worker that has this folder carries its projects on, whatever path it has there";
            Finding::ok(
                SUBJECT,
                format!("{here} is the local forge of this store ({})", mark.id),
                means,
            )
        }
        (None, _) => {
            let means = "the first worker that starts makes its folder the one for all";
            Finding::ok(SUBJECT, "the store has no local forge yet", means)
        }
    }
}
