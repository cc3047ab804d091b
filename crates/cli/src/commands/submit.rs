//! `surefoot submit WORKFLOW|FILE.yaml`: hand a run to the store and print its id.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use surefoot::{Store, Submit, Timestamp, Workflow, parse_duration};

use crate::app::App;
use crate::args;
use crate::errors::{Exit, Failure};
use crate::shipped::LocalTemplate;
use crate::view::RunView;
use crate::{follow, out, parameters, plan, queues, shipped, submission, summary};

/// Submits a run. Only its id goes to the standard output, or with `--json` the run.
pub(crate) async fn submit(app: &App, args: &args::Submit) -> Result<Exit, Failure> {
    let workflow = find(&args.workflow)?;
    plan::check(&workflow, &shipped::handlers(&app.settings))?;
    let given = parameters::parse(&args.parameters.parameters, workflow.parameters())?;
    let mut parameters = submission::fit(&workflow, Value::Object(given))?;
    let template = match workflow.name() {
        shipped::WORKFLOW => LocalTemplate::settle(&mut parameters, &app.settings)?,
        _ => LocalTemplate::default(),
    };
    shipped::expect_tools(&workflow)?;
    if workflow.name() == shipped::WORKFLOW {
        submission::check_content(app, &parameters, args.key.as_deref()).await?;
    }
    let store = app.store_with(workflow.clone()).await?;
    template.allow(&app.settings)?;
    queues::configure(store.as_ref(), &app.settings).await?;
    let request = request(args, &workflow, store.as_ref())?;
    let client = app.submitter(store, &workflow)?;
    let (run, existing) = submission::submit(app, &client, request, &parameters).await?;
    if existing {
        out::say(&format!(
            "the same run was submitted already; it is {}",
            run.head.status
        ));
    }
    let follows = args.wait && !run.head.status.is_ended();
    if !app.json {
        out::print(&format!("{}\n", run.id))?;
    } else if !follows {
        // A single value: a run that is followed is printed once it has ended.
        summary::json(&RunView::from(&run))?;
    }
    if follows {
        let seen = if existing {
            follow::last_event(client.store().as_ref(), run.id).await?
        } else {
            0
        };
        return super::changed(app, &client, run, seen, true).await;
    }
    super::say_who_works(&client, &run).await?;
    Ok(if args.wait {
        Exit::of(run.head.status)
    } else {
        Exit::Done
    })
}

/// A shipped workflow by its name, or a file. A word that could be neither is refused with what
/// there is.
fn find(word: &str) -> Result<Arc<Workflow>, Failure> {
    if word == shipped::WORKFLOW {
        return Ok(shipped::workflow());
    }
    let path = Path::new(word);
    if path.exists() || path.extension().is_some() || word.contains('/') {
        return plan::read(path);
    }
    Err(Failure::usage(format!(
        "`{word}` is neither a workflow file nor a shipped workflow"
    ))
    .hint(format!(
        "the shipped workflow is {}; a file ends in .yaml",
        shipped::WORKFLOW
    )))
}

fn request(
    args: &args::Submit,
    workflow: &Arc<Workflow>,
    store: &dyn Store,
) -> Result<Submit, Failure> {
    let mut request = Submit::new(workflow.clone()).priority(args.priority);
    if let Some(key) = &args.key {
        request = request.key(key);
    }
    if let Some(key) = &args.concurrency_key {
        request = request.concurrency_key(key);
    }
    if let Some(at) = &args.at {
        request = request.at(time(at, store.now())?);
    }
    Ok(request)
}

fn time(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let read = match text.strip_prefix('+') {
        Some(delay) => parse_duration(delay)
            .map(|delay| now + delay)
            .map_err(|error| error.to_string()),
        None => text.parse(),
    };
    read.map_err(|message| {
        Failure::usage(format!("--at: {message}")).hint("or from now on, such as +10m")
    })
}
