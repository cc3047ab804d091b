//! `GET /new` and `POST /new`: pick a workflow, fill in a form made from its schema, look at what would be done, start.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot::workflow::{ForecastStep, ParameterError, Runs};
use surefoot::{StepPlan, StoreError, Submit, SubmitError, Workflow};

use super::Fields;
use crate::actions;
use crate::dashboard::form::{self, Answers, Field};
use crate::dashboard::text::url;
use crate::dashboard::visitor::{Live, Visitor};
use crate::http::Problem;
use crate::state::App;
use crate::submission::{NotSubmitted, Refused, RefusedKind};

#[derive(Deserialize)]
pub(super) struct Asked {
    workflow: Option<String>,
    /// A run whose parameters fill in the form.
    from: Option<String>,
}

#[derive(Serialize)]
struct Choice {
    name: String,
    url_name: String,
    title: String,
    description: Option<String>,
    steps: usize,
}

#[derive(Serialize)]
struct Listing {
    workflows: Vec<Choice>,
}

#[derive(Serialize)]
struct View {
    workflow: Choice,
    fields: Vec<Field>,
    errors: Vec<Wrong>,
    options: Options,
    options_open: bool,
    steps: Vec<Step>,
    plan: Vec<Step>,
}

#[derive(Serialize)]
struct Wrong {
    /// The id of the field, to go to it.
    field: Option<String>,
    title: String,
    text: String,
}

#[derive(Clone, Default, Serialize)]
struct Options {
    key: String,
    priority: String,
}

#[derive(Serialize)]
struct Step {
    title: String,
    action: String,
    skipped: bool,
    when: Option<String>,
    with: Option<String>,
}

pub(super) async fn form(
    visitor: Visitor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let Some(name) = &asked.workflow else {
        let workflows = app
            .workflows()
            .iter()
            .filter(|workflow| visitor.actor.check(workflow).is_ok())
            .map(|workflow| Choice::new(&workflow))
            .collect();
        return visitor
            .page("new.html", Live::default(), Listing { workflows })
            .await;
    };
    let workflow = app
        .workflows()
        .get(name)
        .ok_or_else(|| Problem::not_found(format!("there is no workflow {name}")))?;
    visitor.actor.check(&workflow).map_err(StoreError::from)?;
    let schema = form::schema(workflow.parameters());
    let answers = match asked.from.as_deref() {
        Some(from) => Answers::of(
            workflow.parameters(),
            &schema,
            &parameters_of(&app, from, name).await?,
        ),
        None => Answers::defaults(&schema),
    };
    Filled::new(&visitor, &workflow, schema, answers)
        .page(StatusCode::OK, Vec::new())
        .await
}

/// The parameters of a run of the workflow, without what the run's own plan marks as secret: what the workflow of today says
/// of them may be another thing.
async fn parameters_of(app: &App, id: &str, workflow: &str) -> Result<Value, Problem> {
    let id = id.parse().map_err(|_| super::no_run(id))?;
    let run = app.client().run(id).await?;
    if run.plan.name() != workflow {
        return Err(Problem::not_found(format!(
            "run {id} is not one of workflow {workflow}"
        )));
    }
    Ok(run.shown_parameters())
}

pub(super) async fn submit(
    visitor: Visitor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let name = asked.workflow.unwrap_or_default();
    let workflow = app
        .workflows()
        .get(&name)
        .ok_or_else(|| Problem::not_found(format!("there is no workflow {name}")))?;
    visitor.actor.check(&workflow).map_err(StoreError::from)?;
    let what = fields.get("do").unwrap_or("start").to_owned();
    let option = |name: &str| fields.get(name).unwrap_or_default().trim().to_owned();
    let options = Options {
        key: option("o/key"),
        priority: option("o/priority"),
    };
    let answers: Answers = fields.0.into_iter().collect();
    let schema = form::schema(workflow.parameters());
    let mut filled = Filled {
        options,
        ..Filled::new(&visitor, &workflow, schema, answers)
    };
    if let Some(name) = what.strip_prefix("more:") {
        filled.answers.add_row(name);
        return filled.page(StatusCode::OK, Vec::new()).await;
    }
    let Some(parameters) = filled.read() else {
        return filled
            .page(StatusCode::UNPROCESSABLE_ENTITY, Vec::new())
            .await;
    };
    match what.as_str() {
        "dry" => filled.dry_run(&app, parameters).await,
        _ => filled.start(&app, parameters).await,
    }
}

/// A form as it was filled in.
struct Filled<'a> {
    visitor: &'a Visitor,
    workflow: &'a std::sync::Arc<Workflow>,
    /// Its parameters, as a form asks them.
    schema: Value,
    answers: Answers,
    options: Options,
    /// What is wrong, by the place of the parameter; an empty place is none in particular.
    faults: BTreeMap<String, String>,
}

impl<'a> Filled<'a> {
    fn new(
        visitor: &'a Visitor,
        workflow: &'a std::sync::Arc<Workflow>,
        schema: Value,
        answers: Answers,
    ) -> Self {
        Self {
            visitor,
            workflow,
            schema,
            answers,
            options: Options::default(),
            faults: BTreeMap::new(),
        }
    }

    /// The parameters, when they hold against the schema.
    fn read(&mut self) -> Option<Value> {
        let (parameters, faults) = form::read(&self.schema, &self.answers);
        for fault in faults {
            let text = self.visitor.t(fault.message, &[("detail", &fault.detail)]);
            self.faults.insert(fault.place, text);
        }
        if !self.options.priority.is_empty() && self.options.priority.parse::<i32>().is_err() {
            self.faults
                .insert(String::new(), self.visitor.t("form.priority_wrong", &[]));
        }
        match self.workflow.check_parameters(parameters) {
            Ok(parameters) if self.faults.is_empty() => return Some(parameters),
            Ok(_) => {}
            Err(errors) => self.wrong(errors),
        }
        None
    }

    fn wrong(&mut self, errors: Vec<ParameterError>) {
        for error in errors {
            self.fault(error.parameter, error.message);
        }
    }

    /// What was found first at a place is said.
    fn fault(&mut self, place: String, message: String) {
        let place = if place == "(all)" {
            String::new()
        } else {
            place
        };
        self.faults.entry(place).or_insert(message);
    }

    async fn start(self, app: &App, parameters: Value) -> Result<Response, Problem> {
        let mut submit = Submit::new(self.workflow.clone()).parameters(parameters);
        if !self.options.key.is_empty() {
            submit = submit.key(self.options.key.clone());
        }
        submit = submit.priority(self.options.priority.parse().unwrap_or(0));
        match actions::submit(app, &self.visitor.actor, submit).await {
            Ok(submitted) => {
                let key = if submitted.existing {
                    "done.existing"
                } else {
                    "done.submitted"
                };
                Ok(self
                    .visitor
                    .done(&format!("/runs/{}", submitted.run.id), key, &[]))
            }
            Err(error) => self.not_submitted(error).await,
        }
    }

    /// The form again, with what is wrong.
    async fn not_submitted(mut self, error: NotSubmitted) -> Result<Response, Problem> {
        let mut status = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            NotSubmitted::Refused(refused) => self.refused(&refused),
            NotSubmitted::Submit(SubmitError::Parameters(errors)) => self.wrong(errors),
            NotSubmitted::Submit(SubmitError::Store(StoreError::NotPermitted(refusal))) => {
                status = StatusCode::FORBIDDEN;
                let text = self.visitor.not_permitted(&refusal);
                self.fault(String::new(), text);
            }
            NotSubmitted::Submit(SubmitError::Store(error)) => return Err(error.into()),
            NotSubmitted::Submit(error) => {
                status = StatusCode::CONFLICT;
                self.fault(String::new(), error.to_string());
            }
        }
        self.page(status, Vec::new()).await
    }

    /// Shows beside its field why a parameter cannot be used.
    fn refused(&mut self, refused: &Refused) {
        let detail = ("detail", refused.message.as_str());
        let text = match &refused.kind {
            RefusedKind::ForeignTemplate { tool, file } => self
                .visitor
                .t("form.template_foreign", &[("tool", tool), ("file", file)]),
            RefusedKind::Template => self.visitor.t("form.template_wrong", &[detail]),
            RefusedKind::Values => self.visitor.t("form.values_wrong", &[detail]),
            RefusedKind::Other => refused.message.clone(),
        };
        self.fault(refused.parameter.clone(), text);
    }

    async fn dry_run(mut self, app: &App, parameters: Value) -> Result<Response, Problem> {
        let key = Some(self.options.key.as_str()).filter(|key| !key.is_empty());
        if let Err(error) = actions::check(app, self.workflow, &parameters, key).await {
            return self.not_submitted(error).await;
        }
        match self.workflow.forecast(parameters, key) {
            Ok(steps) => {
                let plan = steps.iter().map(Step::foreseen).collect();
                self.page(StatusCode::OK, plan).await
            }
            Err(error) => {
                self.fault(String::new(), error.to_string());
                self.page(StatusCode::UNPROCESSABLE_ENTITY, Vec::new())
                    .await
            }
        }
    }

    async fn page(self, status: StatusCode, plan: Vec<Step>) -> Result<Response, Problem> {
        let fault = |place: &str| {
            self.faults
                .get(place)
                .filter(|_| !place.is_empty())
                .cloned()
        };
        let view = View {
            fields: form::fields(
                self.workflow.parameters(),
                &self.schema,
                &self.answers,
                &fault,
            ),
            errors: self.errors(),
            options_open: !self.options.key.is_empty() || !self.options.priority.is_empty(),
            options: self.options.clone(),
            steps: if plan.is_empty() {
                self.workflow.steps().iter().map(Step::planned).collect()
            } else {
                Vec::new()
            },
            plan,
            workflow: Choice::new(self.workflow),
        };
        self.visitor
            .page_with(status, "form.html", Live::default(), view)
            .await
    }

    fn errors(&self) -> Vec<Wrong> {
        let wrong = |(place, text): (&String, &String)| Wrong {
            field: (!place.is_empty()).then(|| form::id(&format!("{}/{place}", form::ROOT))),
            title: place.replace('/', " / "),
            text: text.clone(),
        };
        self.faults.iter().map(wrong).collect()
    }
}

impl Choice {
    fn new(workflow: &Workflow) -> Self {
        Self {
            name: workflow.name().to_owned(),
            url_name: url(workflow.name()),
            title: workflow.title().to_owned(),
            description: workflow.description().map(str::to_owned),
            steps: workflow.steps().len(),
        }
    }
}

impl Step {
    fn planned(step: &StepPlan) -> Self {
        Self {
            title: step.title.clone(),
            action: step.action.clone(),
            skipped: false,
            when: step.condition.clone(),
            with: None,
        }
    }

    fn foreseen(step: &ForecastStep) -> Self {
        let with = serde_json::to_string_pretty(&step.with).ok();
        Self {
            title: step.title.clone(),
            action: step.action.clone(),
            skipped: step.runs == Runs::No,
            when: match &step.runs {
                Runs::When(condition) => Some(condition.clone()),
                Runs::Yes | Runs::No => None,
            },
            with: with.filter(|_| !step.with.is_null()),
        }
    }
}
