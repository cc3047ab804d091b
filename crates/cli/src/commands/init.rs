//! `surefoot init NAME`: initialise a project with the shipped workflow.

use serde_json::{Map, Value};
use surefoot::Submit;

use crate::app::App;
use crate::args::Init;
use crate::errors::{Exit, Failure};
use crate::shipped::LocalTemplate;
use crate::{out, parameters, plan, shipped, submission, summary};

/// Initialises a project and follows it to its end. The name is the run's key: the same command
/// again carries on.
pub(crate) async fn init(app: &App, args: &Init) -> Result<Exit, Failure> {
    let workflow = shipped::workflow();
    let mut parameters = submission::fit(&workflow, given(args, workflow.parameters())?)?;
    let template = LocalTemplate::settle(&mut parameters, &app.settings)?;
    if args.dry_run {
        submission::check_content(app, &parameters, None).await?;
        let plan = plan::dry_run(&workflow, parameters, Some(&args.name))?;
        return print_plan(app, &plan);
    }
    shipped::expect_tools(&workflow)?;
    submission::check_content(app, &parameters, Some(&args.name)).await?;
    app.make_data_dir()?;
    template.allow(&app.settings)?;
    let request = Submit::new(workflow.clone()).key(&args.name);
    submission::to_the_end(app, request, &workflow, parameters).await
}

/// Shows what would be done.
pub(super) fn print_plan(app: &App, plan: &plan::Plan) -> Result<Exit, Failure> {
    if app.json {
        summary::json(plan)?;
    } else {
        out::print(&plan.text())?;
    }
    Ok(Exit::Done)
}

fn given(args: &Init, schema: &Value) -> Result<Value, Failure> {
    let mut given = parameters::parse(&args.parameters.parameters, schema)?;
    parameters::add(&mut given, "name", args.name.clone().into(), "NAME")?;
    if let Some(template) = &args.template {
        parameters::add(
            &mut given,
            "template",
            template.clone().into(),
            "--template",
        )?;
    }
    if let Some(description) = &args.description {
        parameters::add(
            &mut given,
            "description",
            description.clone().into(),
            "--description",
        )?;
    }
    if !args.values.is_empty() {
        parameters::add(
            &mut given,
            "values",
            Value::Object(values(&args.values)?),
            "--values",
        )?;
    }
    Ok(Value::Object(given))
}

fn values(options: &[String]) -> Result<Map<String, Value>, Failure> {
    // A template's values have no schema here: what reads as a number or a boolean is one.
    parameters::parse(options, &Value::Null)
}
