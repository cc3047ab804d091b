//! The local forge of this host: whether it is the store's own, and what to say when it is not.

use std::collections::{BTreeMap, BTreeSet};

use surefoot::store::RunFilter;
use surefoot::{Run, RunStatus, Store, StoreError};
use surefoot_initializer::forge::{
    ForgeError, ForgeId, ForgeMark, LOCAL_FORGE, LocalForge, StoreForge, resources,
};

use crate::app::host_name;
use crate::config::Settings;
use crate::shipped;

/// Relation of this host's folder of repositories to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The store's local forge.
    Own(ForgeMark),
    /// The store has another one.
    Foreign {
        /// The mark of the folder; `None` when it has none.
        mark: Option<ForgeMark>,
        /// The store's own.
        of_store: StoreForge,
    },
    /// The store has none yet: the first worker with a forge brings it.
    Unclaimed,
    /// The folder cannot be used, and why.
    Unusable(String),
}

impl Standing {
    /// Looks, and changes nothing.
    pub(crate) async fn look(store: &dyn Store, settings: &Settings) -> Result<Self, StoreError> {
        let mark = match off_runtime(shipped::forge(settings), LocalForge::mark).await {
            Ok(mark) => mark,
            Err(error) => return Ok(Self::Unusable(error)),
        };
        Ok(match (mark, StoreForge::of(store).await?) {
            (_, None) => Self::Unclaimed,
            (Some(mark), Some(of_store)) if mark.id == of_store.id => Self::Own(mark),
            (mark, Some(of_store)) => Self::Foreign { mark, of_store },
        })
    }

    /// Makes the mark where there is none, and this the store's forge where it has none.
    pub(crate) async fn establish(
        store: &dyn Store,
        settings: &Settings,
    ) -> Result<Self, StoreError> {
        // Looked at first: a folder beside the store's forge is not to become one.
        match Self::look(store, settings).await? {
            Self::Unclaimed => {}
            known => return Ok(known),
        }
        match off_runtime(shipped::forge(settings), LocalForge::establish).await {
            Ok(mark) => StoreForge::of_or_else(store, &mark.id, &place(settings))
                .await
                .map(drop)?,
            Err(error) => return Ok(Self::Unusable(error)),
        }
        Self::look(store, settings).await
    }

    /// The resources that a worker of this host offers by it, or would once it starts.
    pub(crate) fn resources(&self) -> BTreeSet<String> {
        match self {
            Self::Own(mark) => [mark.id.resource(), LOCAL_FORGE.to_owned()].into(),
            Self::Foreign {
                mark: Some(mark),
                of_store,
            } => resources(mark, of_store),
            Self::Unclaimed => [LOCAL_FORGE.to_owned()].into(),
            Self::Foreign { mark: None, .. } | Self::Unusable(_) => BTreeSet::new(),
        }
    }

    /// A warning, and what to do; `None` when all is well.
    pub(crate) fn warning(&self, settings: &Settings) -> Option<(String, String)> {
        let here = place(settings);
        let warning = match self {
            Self::Own(mark) if mark.is_copied => (
                format!("the local forge in {here} is a copy, was restored, or was moved to another file system"),
                "if the original is still in use, stop this worker: both would take runs for the same forge. Otherwise \
                 `surefoot forge adopt` ends this warning"
                    .to_owned(),
            ),
            Self::Own(_) | Self::Unclaimed => return None,
            Self::Foreign { of_store, .. } => (
                format!(
                    "the local forge of this store is not in {here}: it is {}, brought from {}",
                    of_store.id, of_store.place
                ),
                "runs that need it wait for a worker that has it. Share its folder with this host and name it in the \
                 configuration (`[forge] repositories = PATH`); or, when it is gone for good, make the folder here the \
                 store's own: `surefoot forge adopt`"
                    .to_owned(),
            ),
            Self::Unusable(why) => (
                format!("the local forge in {here} cannot be used: {why}"),
                "runs that need it wait for a worker that has it".to_owned(),
            ),
        };
        Some(warning)
    }
}

/// An unfinished run whose repository is in a forge that is not the store's own: only a worker with
/// that forge carries it on.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    pub(crate) run: Run,
    /// The forge that it is bound to.
    pub(crate) forge: ForgeId,
}

impl Elsewhere {
    /// The unfinished runs that are bound to another forge than `own`.
    pub(crate) async fn of(store: &dyn Store, own: &ForgeId) -> Result<Vec<Self>, StoreError> {
        let mut found = BTreeMap::new();
        // In the order in which runs move on, so that one that moves meanwhile is found twice
        // rather than not at all.
        for status in [RunStatus::Queued, RunStatus::Waiting, RunStatus::Running] {
            let mut before = None;
            loop {
                let filter = RunFilter {
                    status: Some(status),
                    before,
                    limit: PAGE,
                    ..RunFilter::default()
                };
                let page = store.runs(filter).await?;
                before = page.last().map(|run| run.id);
                let is_last = page.len() < PAGE;
                found.extend(page.into_iter().map(|run| (run.id, run)));
                if is_last {
                    break;
                }
            }
        }
        let bound = |run: Run| {
            let forge = ForgeId::of_run(&run.requires).filter(|forge| forge != own)?;
            Some(Self { run, forge })
        };
        Ok(found.into_values().filter_map(bound).collect())
    }

    /// The name by which people know the run.
    pub(crate) fn name(&self) -> String {
        self.run
            .key
            .clone()
            .unwrap_or_else(|| self.run.id.to_string())
    }
}

/// Runs that are read at a time.
const PAGE: usize = 200;

/// This host's folder of repositories, as people on other hosts read it.
pub(crate) fn place(settings: &Settings) -> String {
    format!(
        "{}:{}",
        host_name(),
        shipped::forge(settings).folder().display()
    )
}

/// Does with the folder what may block: it may be on a network.
pub(crate) async fn off_runtime<T: Send + 'static>(
    forge: LocalForge,
    work: impl FnOnce(&LocalForge) -> Result<T, ForgeError> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(move || work(&forge)).await;
    done.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}
