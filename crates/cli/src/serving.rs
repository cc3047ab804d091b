//! Options of the server from the settings.

use std::sync::Arc;

use surefoot::{BoxError, Workflow};
use surefoot_initializer::process;
use surefoot_initializer::project::{self, SubmissionError};
use surefoot_initializer::template::{ForeignTemplate, LoadError};
use surefoot_server::alerts::{CommandCall, RunCommand};
use surefoot_server::{Checkup, Refused, RefusedKind, ServerOptions, SubmissionCheck, Workflows};

use crate::app::App;
use crate::credentials::EnvironmentAndFiles;
use crate::errors::Failure;
use crate::{config, doctor, shipped};

/// Builds the options of the server. Reads the folder of workflows and the server's own secrets.
pub(crate) fn options(app: &App) -> Result<ServerOptions, Failure> {
    let settings = &app.settings;
    let mut workflows = Workflows::new(vec![shipped::workflow()])
        .checked_by(shipped::handlers(settings), app.is_shared());
    if let Some(folder) = &settings.server.workflows {
        workflows = workflows
            .with_folder(folder.clone())
            .map_err(|error| Failure::usage(error.to_string()))?;
    }
    app.make_data_dir()?;
    let credentials = EnvironmentAndFiles::new(settings.credentials.clone());
    let mut options = ServerOptions::new(
        settings.auth.options(&settings.data_dir, &credentials)?,
        workflows,
    );
    options.auth.trusted_proxies = settings
        .server
        .trusted_proxies
        .iter()
        .map(|proxy| proxy.0)
        .collect();
    options.auth.lists = settings.auth.lists();
    options.public_url.clone_from(&settings.server.public_url);
    options.alerts = settings.alerts.clone();
    options.settings_view = config::view(settings);
    let examined = app.clone();
    options.checkup = Some(Checkup::new(move || {
        let app = examined.clone();
        async move { doctor::findings(app).await }
    }));
    options.submission_check = Some(submission_check(app));
    Ok(options)
}

/// Checks the template of a project when it is submitted, as far as this process reaches it.
fn submission_check(app: &App) -> SubmissionCheck {
    let config = shipped::config(&app.settings);
    let is_shared = app.is_shared();
    let shipped = shipped::workflow();
    SubmissionCheck::new(move |workflow: Arc<Workflow>, parameters| {
        // A workflow of the folder that has the shipped one's name may have other parameters.
        let checked = (workflow.digest() == shipped.digest()).then(|| config.clone());
        async move {
            let Some(config) = checked else { return Ok(()) };
            match project::check_submission(&config, &parameters).await {
                // A worker on another host may have the folder that this one has not.
                Err(wrong) if is_shared && matches!(*wrong.error, LoadError::Unknown(_)) => Ok(()),
                checked => checked.map_err(refused),
            }
        }
    })
}

fn refused(wrong: SubmissionError) -> Refused {
    let kind = match wrong.error.as_ref() {
        LoadError::Foreign(ForeignTemplate { tool, file }) => RefusedKind::ForeignTemplate {
            tool: (*tool).to_owned(),
            file: file.clone(),
        },
        LoadError::Values(_) => RefusedKind::Values,
        _ if wrong.parameter == "template" => RefusedKind::Template,
        _ => RefusedKind::Other,
    };
    Refused {
        parameter: wrong.parameter.to_owned(),
        message: wrong.error.to_string(),
        kind,
    }
}

/// Runs a notifier's program as steps run theirs: nothing of it outlives this process, and it
/// inherits no credential.
pub(crate) fn run_command() -> RunCommand {
    RunCommand::new(|call: CommandCall| async move {
        let (program, arguments) = call
            .command
            .split_first()
            .ok_or("there is no program to run")?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        process::allow_environment(&mut command, &[]);
        command.envs(call.environment.iter().map(|(name, value)| (name, value)));
        let mut said = Vec::new();
        let ended = process::run(
            &mut command,
            Some(&call.input),
            &call.cancellation,
            |_, piece| {
                said.extend_from_slice(piece);
                let excess = said.len().saturating_sub(LAST_WORDS);
                said.drain(..excess);
            },
        );
        let ended = ended
            .await
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if ended.status.success() {
            Ok(said)
        } else {
            Err(BoxError::from(format!(
                "{program}: {}: {said}",
                ended.status
            )))
        }
    })
}

/// Bytes that are kept of what a notifier's program says.
const LAST_WORDS: usize = 2000;
