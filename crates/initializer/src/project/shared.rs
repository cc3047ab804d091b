//! Shared by the handlers of project initialization.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use surefoot::files;
use surefoot::{AddressPolicy, StepContext, StepError};

use super::ProjectConfig;
use super::content::{Content, ContentRequest};
use super::errors::OrStep;
use super::scratch::Scratch;
use crate::forge::{
    ForgeError, ForgeId, LOCAL_FORGE, LocalForge, Mark, NewRepository, Visibility, escaped,
};
use crate::gitops::Fleet;
use crate::template::LocalTemplates;

/// Name of the fleet's repository, and its project in the mark.
const FLEET: &str = "fleet";

/// Prefix of resources that are forges.
const FORGES: &str = "forge:";

/// Interval between two checks for a forge that has disappeared from its directory.
const ABSENT: Duration = Duration::from_secs(5);

/// Locations, derived from the configuration.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) forge: LocalForge,
    pub(super) forge_credential: Option<String>,
    pub(super) data_dir: PathBuf,
    pub(super) templates: LocalTemplates,
    addresses: AddressPolicy,
    fleet: Option<String>,
    repositories_url: String,
    /// True if clusters get an address that only this machine understands.
    is_local_url: bool,
    pace: Duration,
}

impl Shared {
    pub(super) fn new(config: ProjectConfig) -> Arc<Self> {
        let data_dir =
            std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        let forge = config.forge();
        let by_ssh = || format!("ssh://git@localhost{}", escaped(forge.folder()));
        let repositories_url = config.repositories_url.clone().unwrap_or_else(by_ssh);
        Arc::new(Self {
            templates: config.templates(),
            is_local_url: config.repositories_url.is_none(),
            repositories_url: repositories_url.trim_end_matches('/').to_owned(),
            forge,
            forge_credential: config.forge_credential,
            addresses: config.addresses,
            fleet: config.fleet,
            pace: config.pace.unwrap_or_default(),
            data_dir,
        })
    }

    /// The local forge of this run, if this worker has it. Otherwise the run is handed over to a
    /// worker that does.
    ///
    /// The mark is read each time: since the worker started, a mount may have disappeared and left
    /// an empty directory.
    pub(super) async fn local_forge(&self, context: &StepContext) -> Result<ForgeId, StepError> {
        let bound = context
            .requires()
            .iter()
            .find(|name| name.starts_with(FORGES) && *name != LOCAL_FORGE);
        let needed = bound.map_or(LOCAL_FORGE, String::as_str);
        if !context.has_resource(needed) {
            return Err(StepError::needs(needed));
        }
        let forge = self.forge.clone();
        let mark = tokio::task::spawn_blocking(move || forge.mark())
            .await?
            .or_step()?;
        let is_it = |id: &ForgeId| {
            let resource = id.resource();
            context.has_resource(&resource) && bound.is_none_or(|bound| *bound == resource)
        };
        let id = mark.map(|mark| mark.id).filter(is_it);
        id.ok_or_else(|| {
            let reason = format!(
                "the local forge, which is no longer in {} (is it mounted?)",
                self.forge.folder().display()
            );
            StepError::unavailable(reason, ABSENT)
        })
    }

    /// Address under which a cluster reaches the repository of a project.
    pub(super) fn cluster_url(&self, project: &str) -> String {
        format!("{}/{project}.git", self.repositories_url)
    }

    /// Returns whether the configuration has no address under which clusters reach the
    /// repositories.
    pub(super) fn has_only_a_local_url(&self) -> bool {
        self.is_local_url
    }

    /// Refuses a project whose repository would be the fleet's.
    pub(super) fn check_name(&self, project: &str) -> Result<(), StepError> {
        if project == FLEET && self.fleet.is_none() {
            return Err(StepError::fatal(
                "the name `fleet` is kept for the fleet repository: choose another name",
            ));
        }
        Ok(())
    }

    /// The fleet repository, with the forge's credential if it is behind HTTP; a local one may not
    /// exist yet.
    pub(super) fn fleet(&self, context: &StepContext) -> Result<Fleet, StepError> {
        let Some(url) = &self.fleet else {
            return Ok(Fleet::new(self.forge.path(FLEET).display().to_string()));
        };
        let fleet = Fleet::new(url);
        match &self.forge_credential {
            Some(name) if fleet.takes_token() => Ok(fleet.token(context.credential(name)?)),
            _ => Ok(fleet),
        }
    }

    /// Returns whether the fleet repository is in the local forge.
    pub(super) fn has_local_fleet(&self) -> bool {
        self.fleet.is_none()
    }

    /// Returns whether there is no fleet to search: it is local and was not created yet.
    pub(super) fn fleet_is_absent(&self) -> bool {
        self.fleet.is_none() && !self.forge.path(FLEET).exists()
    }

    /// The fleet repository; a local one is created if absent.
    pub(super) async fn open_fleet(&self, context: &StepContext) -> Result<Fleet, StepError> {
        if self.fleet.is_none() {
            let mark = Mark {
                project: "(fleet)".to_owned(),
                run: "(any)".to_owned(),
            };
            let new = NewRepository {
                name: FLEET,
                mark,
                by: &context.run_id().to_string(),
                description: "What Flux deploys: a folder for each project",
                visibility: Visibility::Private,
            };
            self.forge.create(&new).await.or_step()?;
        }
        self.fleet(context)
    }

    /// A directory for the work of this attempt.
    pub(super) async fn scratch(&self, context: &StepContext) -> Result<Scratch, StepError> {
        let folder = self.data_dir.join("scratch");
        let parent = folder.clone();
        let key = context.idempotency_key();
        files::blocking(move || Scratch::new(&parent, &key))
            .await
            .and_then(|made| made)
            .map_err(ForgeError::io(format!(
                "create a folder in {}",
                folder.display()
            )))
            .or_step()
    }

    /// Loads and renders the initial content of a project.
    pub(super) async fn content(
        &self,
        context: &StepContext,
        request: ContentRequest,
        scratch: &Scratch,
    ) -> Result<Content, StepError> {
        let source = self
            .templates
            .source(&request.template, request.reference())
            .or_step()?;
        let content = request
            .render(source, &scratch.sub("template")?, &self.addresses)
            .await
            .or_step()?;
        context.log(content.summary());
        Ok(content)
    }

    /// Reports progress, and waits for a third of the pace: each step reports three times.
    pub(super) async fn reached(
        &self,
        context: &StepContext,
        percent: u8,
        message: impl Into<String>,
    ) {
        context.progress(percent, message);
        if !self.pace.is_zero() {
            tokio::time::sleep(self.pace / 3).await;
        }
    }
}

/// The mark of this run on what it creates for a project.
pub(super) fn mark(context: &StepContext, project: &str) -> Mark {
    Mark {
        project: project.to_owned(),
        run: context.run_id().to_string(),
    }
}
