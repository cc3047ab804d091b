//! `surefoot run FILE.yaml`: run any workflow file to its end.

use serde_json::Value;
use surefoot::Submit;

use crate::app::App;
use crate::args::Run;
use crate::errors::{Exit, Failure};
use crate::{parameters, plan, shipped, submission};

/// Runs a workflow file. With a key, the same command again carries on the same run.
pub(crate) async fn run(app: &App, args: &Run) -> Result<Exit, Failure> {
    let workflow = plan::read(&args.file)?;
    plan::check(&workflow, &shipped::handlers(&app.settings))?;
    let given = parameters::parse(&args.parameters.parameters, workflow.parameters())?;
    let parameters = submission::fit(&workflow, Value::Object(given))?;
    if args.dry_run {
        let plan = plan::dry_run(&workflow, parameters, args.key.as_deref())?;
        return super::init::print_plan(app, &plan);
    }
    shipped::expect_tools(&workflow)?;
    let request = Submit::new(workflow.clone());
    let request = match &args.key {
        Some(key) => request.key(key),
        None => request,
    };
    submission::to_the_end(app, request, &workflow, parameters).await
}
