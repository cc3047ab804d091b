//! Honest books count as clean, and each kind of doctored ones is seen through.

use serde_json::Value;
use surefoot::Timestamp;

use super::*;

/// The seven steps, each begun 10 and completed 19 after the one before it.
const STEPS: [&str; 7] = [
    "credentials",
    "create",
    "push",
    "environments",
    "records",
    "gitops",
    "finalize",
];

fn line(at: i64, what: What, step: &str, thing: &str) -> Line {
    Line {
        at,
        what,
        pid: 1,
        run: "r".to_owned(),
        project: "shop".to_owned(),
        step: step.to_owned(),
        attempt: 1,
        key: format!("r/{step}"),
        thing: thing.to_owned(),
    }
}

fn event(at: i64, kind: &str, step: &str) -> Event {
    let at = Timestamp::from_micros(at);
    let step = Some(step.to_owned());
    Event {
        seq: 1,
        at,
        kind: kind.to_owned(),
        step,
        data: Value::Null,
    }
}

/// A project for which everything went well.
fn honest() -> Evidence {
    let mut evidence = Evidence::default();
    let mut events = Vec::new();
    for (number, step) in (1..).zip(STEPS) {
        evidence
            .ledger
            .push(line(number * 10, What::Begin, step, ""));
        evidence
            .ledger
            .push(line(number * 10 + 8, What::End, step, "ok"));
        events.push(event(number * 10 + 9, "step.completed", step));
    }
    evidence
        .ledger
        .push(line(25, What::Effect, "create", "repository 7 70"));
    evidence
        .ledger
        .push(line(35, What::Effect, "push", "commit c1"));
    let records = [
        "project",
        "repository",
        "environment",
        "environment",
        "environment",
    ];
    evidence.projects.push(Project {
        name: "shop".to_owned(),
        run: Some(Told {
            status: RunStatus::Completed,
            error: None,
            steps: STEPS.len(),
            events,
        }),
        commits: Some(1),
        fleet_commits: 1,
        records: records.map(str::to_owned).to_vec(),
        doomed: false,
        initializes: true,
    });
    evidence
}

fn told(evidence: &mut Evidence) -> &mut Told {
    evidence.projects[0].run.as_mut().unwrap()
}

/// Counts for altered evidence: stuck, rerun, duplicates, failed.
fn check(doctor: impl FnOnce(&mut Evidence), expect: (usize, usize, usize, usize)) {
    let mut evidence = honest();
    doctor(&mut evidence);
    let counts = count(&evidence);
    assert_eq!(
        (counts.stuck, counts.rerun, counts.duplicates, counts.failed),
        expect,
        "{counts:?}"
    );
    assert!(!counts.are_clean(), "{counts:?}");
    assert!(!counts.wrong.is_empty(), "what is counted is also said");
}

#[test]
fn honest_books_are_clean() {
    let counts = count(&honest());
    assert!(counts.are_clean(), "{counts:?}");
    assert_eq!(counts, Counts::default());
}

#[test]
fn a_step_that_was_interrupted_may_run_again() {
    let mut evidence = honest();
    evidence
        .ledger
        .push(line(15, What::Begin, "credentials", ""));
    evidence
        .ledger
        .push(line(26, What::Effect, "create", "repository 7 70"));
    told(&mut evidence)
        .events
        .push(event(14, "step.interrupted", "credentials"));
    let counts = count(&evidence);
    assert!(counts.are_clean(), "{counts:?}");
    assert_eq!(counts.interrupted, 1);
}

#[test]
fn a_completed_step_that_began_again_is_seen() {
    check(
        |books| books.ledger.push(line(30, What::Begin, "create", "")),
        (0, 1, 0, 0),
    );
    check(
        |books| {
            books.ledger.extend([
                line(90, What::Begin, "create", ""),
                line(91, What::Begin, "push", ""),
            ])
        },
        (0, 2, 0, 0),
    );
    // The store reports two completions, although the ledger has none.
    check(
        |books| told(books).events.push(event(95, "step.completed", "push")),
        (0, 1, 0, 0),
    );
    // A completion in both the ledger and the store counts once.
    check(
        |books| {
            books.ledger.push(line(90, What::Begin, "create", ""));
            told(books)
                .events
                .push(event(95, "step.completed", "create"));
        },
        (0, 1, 0, 0),
    );
    // A failed project's completed steps are as sacred.
    check(
        |books| {
            books.projects[0].doomed = true;
            told(books).status = RunStatus::Failed;
            told(books).error = Some("no".to_owned());
            books.ledger.push(line(90, What::Begin, "create", ""));
        },
        (0, 1, 0, 0),
    );
}

#[test]
fn clocks_that_differ_are_no_excuse_and_no_proof() {
    let ahead = |books: &mut Evidence| {
        books.skew = 1000;
        for event in &mut told(books).events {
            event.at = Timestamp::from_micros(event.at.as_micros() + 1000);
        }
    };
    let mut books = honest();
    ahead(&mut books);
    assert!(count(&books).are_clean());
    check(
        |books| {
            ahead(books);
            books.ledger.push(line(30, What::Begin, "create", ""));
        },
        (0, 1, 0, 0),
    );
}

#[test]
fn what_was_made_twice_is_seen() {
    // The same name, another repository: it was removed and made again.
    check(
        |books| {
            books
                .ledger
                .push(line(27, What::Effect, "create", "repository 7 99"))
        },
        (0, 0, 1, 0),
    );
    check(
        |books| {
            books
                .ledger
                .push(line(37, What::Effect, "push", "commit c2"))
        },
        (0, 0, 1, 0),
    );
    check(|books| books.projects[0].commits = Some(3), (0, 0, 2, 0));
    check(|books| books.projects[0].fleet_commits = 2, (0, 0, 1, 0));
    check(
        |books| books.projects[0].records.push("environment".to_owned()),
        (0, 0, 1, 0),
    );
    check(
        |books| books.projects[0].records.push("repository".to_owned()),
        (0, 0, 1, 0),
    );
    check(
        |books| books.strays.push("shop-2.git".to_owned()),
        (0, 0, 1, 0),
    );
}

#[test]
fn what_did_not_end_is_stuck() {
    check(
        |books| told(books).status = RunStatus::Running,
        (1, 0, 0, 0),
    );
    check(|books| told(books).status = RunStatus::Queued, (1, 0, 0, 0));
    check(|books| books.projects[0].run = None, (1, 0, 0, 0));
    // A run that is made to fail must also end.
    check(
        |books| {
            books.projects[0].doomed = true;
            told(books).status = RunStatus::Waiting;
        },
        (1, 0, 0, 0),
    );
}

#[test]
fn what_ended_otherwise_than_it_should_is_seen() {
    check(|books| told(books).status = RunStatus::Failed, (0, 0, 0, 1));
    check(
        |books| told(books).status = RunStatus::Cancelled,
        (0, 0, 0, 0),
    );
    check(|books| books.projects[0].doomed = true, (0, 0, 0, 0));
    // Failed as it should be, and without a reason.
    check(
        |books| {
            books.projects[0].doomed = true;
            told(books).status = RunStatus::Failed;
        },
        (0, 0, 0, 0),
    );
}

#[test]
fn a_completed_project_that_lacks_something_is_seen() {
    check(|books| books.projects[0].commits = None, (0, 0, 0, 0));
    check(|books| books.projects[0].commits = Some(0), (0, 0, 0, 0));
    check(|books| books.projects[0].fleet_commits = 0, (0, 0, 0, 0));
    check(|books| drop(books.projects[0].records.pop()), (0, 0, 0, 0));
    check(|books| drop(told(books).events.pop()), (0, 0, 0, 0));
}

#[test]
fn an_idempotency_key_that_changes_is_seen() {
    check(
        |books| books.ledger[0].key = "other".to_owned(),
        (0, 0, 0, 0),
    );
}

#[test]
fn an_attempt_that_was_spent_on_an_outage_is_seen() {
    let retrying = |error: &str| Event {
        data: serde_json::json!({ "attempt": 1, "error": error }),
        ..event(15, "step.retrying", "credentials")
    };
    check(
        |books| {
            told(books)
                .events
                .push(retrying("cannot reach the database"))
        },
        (0, 0, 0, 0),
    );
    let mut books = honest();
    told(&mut books)
        .events
        .push(retrying("the drill: this step fails twice"));
    assert!(count(&books).are_clean());
}

#[test]
fn what_is_in_nobodys_name_is_not_forgiven() {
    // A ledger that lacks a step that the store calls completed was doctored, or the step was never
    // run.
    check(
        |books| books.ledger.retain(|line| line.step != "push"),
        (0, 0, 0, 0),
    );
}

#[test]
fn an_error_that_is_reported_late_is_judged_by_who_holds_the_lease() {
    let check = |told: bool, counted: bool, counts: bool, expect: &[&str]| {
        let mut books = honest();
        if told {
            books
                .ledger
                .push(line(12, What::End, "credentials", "the drill: too late"));
        }
        if counted {
            let data = serde_json::json!({ "attempt": 1, "error": "the drill: too late" });
            told_of(
                &mut books,
                Event {
                    data,
                    ..event(15, "step.retrying", "credentials")
                },
            );
        }
        let one = Late {
            pid: 1,
            error: "too late".to_owned(),
            counts,
        };
        assert_eq!(
            late(&books, &one),
            (
                usize::from(told),
                expect.iter().map(ToString::to_string).collect()
            )
        );
        // Another worker's errors are no evidence.
        assert_eq!(late(&books, &Late { pid: 2, ..one }).0, 0);
    };
    check(true, true, true, &[]);
    check(
        true,
        false,
        true,
        &["shop: the error of credentials is not in the store"],
    );
    check(true, false, false, &[]);
    check(
        true,
        true,
        false,
        &["shop: the error of credentials was not refused"],
    );
    check(
        false,
        false,
        true,
        &["no step of the woken worker reported its error: nothing is proven"],
    );
    check(
        false,
        false,
        false,
        &["no step of the woken worker reported its error: nothing is proven"],
    );
}

fn told_of(books: &mut Evidence, event: Event) {
    told(books).events.push(event);
}
