//! The run that a person means: by its id, the beginning of it, or its key.

use surefoot::store::RunFilter;
use surefoot::{Run, RunId, RunStatus, Store};

use crate::errors::Failure;

/// The fewest characters of an id that can mean a run.
const SHORTEST: usize = 8;
/// Runs read at a time.
const PAGE: usize = 200;

/// Finds the one run that `text` means.
pub(crate) async fn find(store: &dyn Store, text: &str) -> Result<Run, Failure> {
    if let Ok(id) = text.parse::<RunId>() {
        return store.run(id).await?.ok_or_else(|| none(text));
    }
    let by_id = by_prefix(store, text).await?;
    if !by_id.is_empty() {
        return sole(text, by_id);
    }
    let with_key = RunFilter {
        key: Some(text.to_owned()),
        limit: PAGE,
        ..RunFilter::default()
    };
    sole(text, current(store.runs(with_key).await?))
}

/// A cancelled run gives its key free: it is meant only when no other has the key.
fn current(mut runs: Vec<Run>) -> Vec<Run> {
    if runs
        .iter()
        .any(|run| run.head.status != RunStatus::Cancelled)
    {
        runs.retain(|run| run.head.status != RunStatus::Cancelled);
    } else {
        runs.truncate(1);
    }
    runs
}

/// Ids are in order of time, so those with one beginning stand together in the list of runs.
async fn by_prefix(store: &dyn Store, text: &str) -> Result<Vec<Run>, Failure> {
    let Some((first, last)) = bounds(text) else {
        return Ok(Vec::new());
    };
    let filter = RunFilter {
        before: Some(last),
        limit: PAGE,
        ..RunFilter::default()
    };
    Ok(store
        .runs(filter)
        .await?
        .into_iter()
        .filter(|run| (first..=last).contains(&run.id))
        .collect())
}

/// The lowest and the highest id that begin with `text`.
fn bounds(text: &str) -> Option<(RunId, RunId)> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    let fits = (SHORTEST..32).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let filled = |with: char| {
        digits
            .chars()
            .chain(std::iter::repeat(with))
            .take(32)
            .collect::<String>()
            .parse()
            .ok()
    };
    if fits {
        filled('0').zip(filled('f'))
    } else {
        None
    }
}

fn sole(text: &str, mut runs: Vec<Run>) -> Result<Run, Failure> {
    match runs.len() {
        0 => Err(none(text)),
        1 => Ok(runs.remove(0)),
        _ => {
            Err(Failure::usage(format!("`{text}` means {} runs", runs.len())).hint(several(&runs)))
        }
    }
}

fn several(runs: &[Run]) -> String {
    let line = |run: &Run| format!("{} ({}, {})", run.id, run.plan.name(), run.head.status);
    format!(
        "name one of {}",
        runs.iter().take(5).map(line).collect::<Vec<_>>().join(", ")
    )
}

fn none(text: &str) -> Failure {
    Failure::usage(format!("there is no run `{text}`"))
        .hint("name a run by its id, the first 8 or more characters of it, or its key; `surefoot runs` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_bounds_those_it_can_mean() {
        let check = |text: &str, expect: Option<(&str, &str)>| {
            let found = bounds(text).map(|(first, last)| (first.to_string(), last.to_string()));
            assert_eq!(
                found,
                expect.map(|(first, last)| (first.to_owned(), last.to_owned())),
                "{text}"
            );
        };
        let both = (
            "0198a2b3-c000-0000-0000-000000000000",
            "0198a2b3-cfff-ffff-ffff-ffffffffffff",
        );
        check("0198a2b3-c", Some(both));
        check("0198A2B3C", Some(both));
        check("0198a2b", None);
        check("my-service-name", None);
    }
}
