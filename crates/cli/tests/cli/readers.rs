//! Every reader can read values that another accepts: generated workflows and parameters are stored
//! in both stores, and read back by the stores, by SQL and by the command line. The tests of the
//! dashboard do the same with the API and the pages.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use surefoot::store::RunFilter;
use surefoot::{Client, Run, Store, Submit, Workflow};
use surefoot_fuzz::{Grammar, fuzz};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use surefoot_sqlite::SqliteStore;

use crate::place::Place;

/// Workflows that are accepted, each with parameters that it accepts.
fn accepted(cases: u64) -> Vec<(Arc<Workflow>, Value)> {
    let found = Mutex::new(Vec::new());
    fuzz("readers", cases, |random| {
        let text = if random.chance(50) {
            Grammar { random }.mild_workflow().to_string()
        } else {
            Grammar { random }.workflow().to_string()
        };
        let Ok(workflow) = Workflow::from_yaml(&text) else {
            return;
        };
        let number = random.bits();
        let given = Grammar { random }.value(3);
        let parameters = [json!({ "given": given, "number": number }), json!({})];
        for parameters in parameters {
            if workflow.check_parameters(parameters.clone()).is_ok() {
                let workflow = Arc::new(workflow);
                found.lock().unwrap().push((workflow, parameters));
                return;
            }
        }
    });
    found.into_inner().unwrap()
}

async fn submit_all(store: Arc<dyn Store>, accepted: &[(Arc<Workflow>, Value)]) -> Vec<Run> {
    let client = Client::new(store);
    let mut runs = Vec::new();
    for (workflow, parameters) in accepted {
        let submit = Submit::new(workflow.clone()).parameters(parameters.clone());
        // What an expression of the workflow refuses is not stored; all else is.
        if let Ok(submitted) = client.submit(submit).await
            && runs.iter().all(|run: &Run| run.id != submitted.run.id)
        {
            runs.push(submitted.run);
        }
    }
    runs
}

/// Reads all runs with a store that has read none of them before.
async fn check_read(store: &dyn Store, runs: &[Run]) {
    let filter = RunFilter {
        limit: 100_000,
        ..RunFilter::default()
    };
    assert_eq!(store.runs(filter).await.unwrap().len(), runs.len());
    for run in runs {
        let read = store.run(run.id).await.unwrap().unwrap();
        assert_eq!(read.unreadable, None);
        assert_eq!(read.plan.json(), run.plan.json());
        assert_eq!(read.parameters, run.parameters);
    }
}

#[test]
fn everything_that_is_accepted_is_read_by_all() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    let accepted = accepted(400);
    assert!(accepted.len() > 20, "{} were accepted", accepted.len());
    let path = place.data().join("surefoot.db");
    let url = ScratchPostgres::shared().fresh_database().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let runs = runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        let runs = submit_all(store.clone(), &accepted).await;
        drop(store);
        check_read(&SqliteStore::open(&path).unwrap(), &runs).await;

        let store = Arc::new(PostgresStore::options(&url).open().await.unwrap());
        let there = submit_all(store.clone(), &accepted).await;
        drop(store);
        let store = PostgresStore::options(&url).open().await.unwrap();
        check_read(&store, &there).await;
        runs
    });
    assert!(runs.len() > 20, "{} were submitted", runs.len());

    let database = url.rsplit('/').next().unwrap();
    let question = "SELECT count(*) FILTER (WHERE r.parameters::jsonb IS NOT NULL AND p.json::jsonb IS NOT NULL)
        FROM surefoot.runs AS r JOIN surefoot.plans AS p ON p.id = r.plan";
    let counted = ScratchPostgres::shared().psql(database, question).unwrap();
    assert_eq!(counted.trim(), runs.len().to_string());
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    let question = "SELECT count(*) FROM runs JOIN plans ON plans.id = runs.plan
        WHERE json_valid(runs.parameters) AND json_valid(plans.json)";
    let counted: i64 = sqlite.query_row(question, [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(counted).unwrap(), runs.len());
    drop(sqlite);

    let listed = place.json(&["runs", "--limit", "10000"]);
    assert_eq!(listed.as_array().unwrap().len(), runs.len());
    for run in runs.iter().take(20) {
        let shown = place.json(&["show", &run.id.to_string()]);
        assert!(shown.get("unreadable").is_none(), "{shown}");
        let steps = shown["steps"].as_array().unwrap();
        assert_eq!(steps.len(), run.plan.steps().len());
    }
}
