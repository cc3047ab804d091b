//! Steps that fail after they have done their work.

use super::super::sabotage::{Act, Sabotage};
use super::super::scene::{Injected, Scene};
use crate::errors::Failure;

/// So many projects are to fail.
const DOOMED: usize = 3;

/// Always, in three projects: they end with the reason and delay no other.
pub(super) async fn always(scene: &mut Scene) -> Result<Injected, Failure> {
    let doomed = scene
        .projects
        .iter()
        .step_by(2)
        .take(DOOMED)
        .map(|it| it.name.clone())
        .collect::<Vec<_>>();
    let act = Act::ours("this step always fails");
    scene.sabotage(&[Sabotage {
        projects: doomed.clone(),
        ..Sabotage::of("create_db_records", act)
    }])?;
    let notes = vec![format!(
        "{} projects failed with the reason, as they should",
        doomed.len()
    )];
    Ok(Injected {
        crew: scene.crew().await?,
        doomed,
        notes,
        ..Injected::default()
    })
}

/// Twice in each project; what it had made by then is found and not made again.
pub(super) async fn twice(scene: &mut Scene) -> Result<Injected, Failure> {
    let act = Act::ours("this step fails twice");
    scene.sabotage(&[
        Sabotage {
            attempts: 2,
            ..Sabotage::of("create_repository", act.clone())
        },
        Sabotage {
            attempts: 2,
            ..Sabotage::of("setup_gitops", act)
        },
    ])?;
    Ok(Injected {
        crew: scene.crew().await?,
        ..Injected::default()
    })
}
