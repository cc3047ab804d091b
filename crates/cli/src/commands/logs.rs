//! `surefoot logs RUN`: what a run's steps logged.

use std::io::Write as _;

use serde_json::Value;
use surefoot::{Client, Event, Run};

use crate::app::App;
use crate::args::Logs;
use crate::errors::{Exit, Failure};
use crate::progress::clean;
use crate::refer;
use crate::view::LogView;

/// Events read at a time.
const PAGE: usize = 500;

/// Prints the log, and goes on with it when asked to.
pub(crate) async fn logs(app: &App, args: &Logs) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = refer::find(client.store().as_ref(), &args.run.run).await?;
    if let Some(step) = &args.step {
        expect_step(&run, step)?;
    }
    let printer = Printer {
        json: app.json,
        step: args.step.as_deref(),
    };
    // A reader that is gone (`| head`) is no failure.
    match args.follow {
        true => printer.follow(&client, &run).await?,
        false => printer.past(&client, &run).await?,
    };
    Ok(Exit::Done)
}

fn expect_step(run: &Run, step: &str) -> Result<(), Failure> {
    if run.plan.position(step).is_some() {
        return Ok(());
    }
    let known = run
        .plan
        .steps()
        .iter()
        .map(|plan| plan.id.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Err(
        Failure::usage(format!("run {} has no step `{step}`", run.id))
            .hint(format!("it has {known}")),
    )
}

struct Printer<'a> {
    json: bool,
    step: Option<&'a str>,
}

/// Returns true while standard output has a reader.
#[derive(PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

impl Printer<'_> {
    async fn past(&self, client: &Client, run: &Run) -> Result<Reader, Failure> {
        let mut last = 0;
        loop {
            let events = client.store().events(run.id, last, PAGE).await?;
            for event in &events {
                if self.print(event) == Reader::Gone {
                    return Ok(Reader::Gone);
                }
            }
            match events.last() {
                Some(event) => last = event.seq,
                None => return Ok(Reader::There),
            }
        }
    }

    async fn follow(&self, client: &Client, run: &Run) -> Result<Reader, Failure> {
        let mut watch = client.watch(run.id, 0);
        while let Some(event) = watch.next().await? {
            if self.print(&event) == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::There)
    }

    fn print(&self, event: &Event) -> Reader {
        let wanted = self
            .step
            .is_none_or(|step| event.step.as_deref() == Some(step));
        if event.kind != "step.log" || !wanted {
            return Reader::There;
        }
        let lines = event.data["lines"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let text = lines
            .iter()
            .filter_map(Value::as_str)
            .map(|line| self.line(event, line))
            .collect::<String>();
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            Ok(()) => Reader::There,
            Err(_) => Reader::Gone,
        }
    }

    fn line(&self, event: &Event, line: &str) -> String {
        let at = event.at.to_string();
        let step = event.step.as_deref();
        if !self.json {
            return format!("{at} {}: {}\n", step.unwrap_or("run"), clean(line));
        }
        let view = LogView {
            at,
            step,
            attempt: event.data["attempt"].as_u64().unwrap_or(0),
            line,
        };
        serde_json::to_string(&view)
            .map(|json| format!("{json}\n"))
            .unwrap_or_default()
    }
}
