//! The rules of state by themselves: what each allows in each state, and what holds after any
//! sequence of them.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use surefoot::state::{Answer, CancelMode, Edit, Interruption, RuleError, Undo, Wait};
use surefoot::workflow::OnInterrupt;
use surefoot::{Run, RunId, RunStatus, StepStatus, Timestamp, WorkerId, Workflow};
use surefoot_store_tests::search;

type Rule = fn(&mut Edit) -> Result<(), RuleError>;

const SECOND: Duration = Duration::from_secs(1);

/// Every rule, at the step that is next, by the name under which the table shows it.
const RULES: [(&str, Rule); 29] = [
    ("claim", |edit| edit.claim(WorkerId::from_bytes([1; 16]))),
    ("start_step", |edit| at_next(edit, Edit::start_step)),
    ("skip_step", |edit| {
        at_next(edit, |edit, step| {
            edit.skip_step(step, "its condition gave false")
        })
    }),
    ("complete_step", |edit| {
        at_next(edit, |edit, step| {
            edit.complete_step(step, json!(1), vec![], None)
        })
    }),
    ("complete_run", Edit::complete_run),
    ("retry_step", |edit| {
        at_next(edit, |edit, step| edit.retry_step(step, "it broke", SECOND))
    }),
    ("fail_step", |edit| {
        at_next(edit, |edit, step| edit.fail_step(step, "it broke"))
    }),
    ("sleep_step", |edit| {
        at_next(edit, |edit, step| {
            edit.sleep_step(step, SECOND, Value::Null)
        })
    }),
    ("defer_step", |edit| {
        at_next(edit, |edit, step| edit.defer_step(step, "a forge", SECOND))
    }),
    ("ask_step", |edit| {
        at_next(edit, |edit, step| edit.ask_step(step, "go on?", json!(1)))
    }),
    ("checkpoint", |edit| {
        at_next(edit, |edit, step| edit.checkpoint(step, json!(1)))
    }),
    ("interrupt", |edit| {
        edit.interrupt(Interruption::Crashed { in_flight: 1 }, "it crashed")
    }),
    ("hand_back", |edit| {
        edit.interrupt(Interruption::HandedBack, "it stops")
    }),
    ("crash_beside", |edit| {
        edit.interrupt(Interruption::Crashed { in_flight: 6 }, "it crashed")
    }),
    ("begin_next_undo", begin_next_undo),
    ("begin_undo", Edit::begin_undo),
    ("cancel", |edit| {
        edit.request_cancel(CancelMode::Stop, "ann")
    }),
    ("cancel undo", |edit| {
        edit.request_cancel(CancelMode::Undo, "ann")
    }),
    ("retry", |edit| edit.retry(None, "ann")),
    ("retry one", |edit| edit.retry(Some("one"), "ann")),
    ("retry three", |edit| edit.retry(Some("three"), "ann")),
    ("answer rerun", |edit| answer(edit, Answer::Rerun)),
    ("answer skip", |edit| answer(edit, Answer::Skip)),
    ("answer fail", |edit| answer(edit, Answer::Fail)),
    ("answer approve", |edit| answer(edit, Answer::Approve)),
    ("answer reject", |edit| answer(edit, Answer::Reject)),
    ("undo a step", |edit| undo(edit, None)),
    ("keep at an undo", keep),
    ("fail an undo", |edit| undo(edit, Some("it stays"))),
];

/// Returns true if it needs a lease; the others are a claim and the actions of people.
fn by_holder(name: &str) -> bool {
    !["claim", "cancel", "retry", "answer"]
        .iter()
        .any(|free| name == *free || name.starts_with(&format!("{free} ")))
}

fn at_next(
    edit: &mut Edit,
    rule: impl FnOnce(&mut Edit, usize) -> Result<(), RuleError>,
) -> Result<(), RuleError> {
    let step = edit
        .run()
        .next_step()
        .ok_or_else(|| RuleError("no step is left".to_owned()))?;
    rule(edit, step)
}

fn answer(edit: &mut Edit, answer: Answer) -> Result<(), RuleError> {
    let step = edit.run().next_step().unwrap_or(0);
    let id = edit.run().plan.steps()[step].id.clone();
    edit.answer(&id, answer, "ann", None)
}

/// As a worker does it: one step at a time, and the run is cancelled after the last.
fn undo(edit: &mut Edit, error: Option<&str>) -> Result<(), RuleError> {
    edit.begin_undo()?;
    match (Edit::next_undo(edit.run()), error) {
        (Some(step), Some(error)) => edit.undo_failed(step, error),
        (Some(step), None) => edit.undo_step(step, Undo::Done, None),
        (None, _) => edit.end_undo(),
    }
    Ok(())
}

/// The undo of the next step is called.
fn begin_next_undo(edit: &mut Edit) -> Result<(), RuleError> {
    edit.begin_undo()?;
    let step = Edit::next_undo(edit.run())
        .ok_or_else(|| RuleError("nothing is left to undo".to_owned()))?;
    edit.undo_step(step, Undo::Running, None);
    Ok(())
}

/// The undo of the next step keeps what it made.
fn keep(edit: &mut Edit) -> Result<(), RuleError> {
    edit.begin_undo()?;
    let step = Edit::next_undo(edit.run())
        .ok_or_else(|| RuleError("nothing is left to undo".to_owned()))?;
    edit.undo_step(step, Undo::Kept, Some("it has no undo"));
    Ok(())
}

fn rule(name: &str) -> Rule {
    RULES
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no rule {name}"))
        .1
}

fn run(policy: OnInterrupt) -> Run {
    let workflow = Workflow::builder("w")
        .step_with("one", "a", |step| {
            step.on_interrupt(policy).max_interruptions(1).weight(3)
        })
        .step_with("two", "a", |step| step.on_interrupt(policy))
        .step("three", "a");
    let now = Timestamp::from_micros(1_000_000);
    Run::new(
        RunId::new(),
        Arc::new(workflow.build().expect("the workflow is well formed")),
        json!({}),
        now,
        now,
    )
}

/// The run after these rules, one commit each.
fn after(mut run: Run, rules: &str) -> Run {
    for name in rules.split(", ").filter(|name| !name.is_empty()) {
        run = apply(&run, rule(name)).unwrap_or_else(|error| panic!("{name} of {rules}: {error}"));
    }
    run
}

fn apply(run: &Run, rule: Rule) -> Result<Run, RuleError> {
    let mut edit = Edit::new(run.clone(), run.created_at + SECOND);
    rule(&mut edit)?;
    let (after, transition) = edit.finish();
    let mut written = run.clone();
    written.apply(&transition);
    assert_eq!(written, after, "a transition writes all that changed");
    Ok(after)
}

/// The states that the table has, and how a run gets there.
const STATES: [(&str, OnInterrupt, &str); 14] = [
    ("queued", OnInterrupt::Rerun, ""),
    ("running", OnInterrupt::Rerun, "claim"),
    ("running a step", OnInterrupt::Rerun, "claim, start_step"),
    (
        "running, between steps",
        OnInterrupt::Rerun,
        "claim, start_step, complete_step",
    ),
    (
        "running, all passed",
        OnInterrupt::Rerun,
        "claim, skip_step, skip_step, skip_step",
    ),
    (
        "running, to be undone",
        OnInterrupt::Rerun,
        "claim, start_step, cancel undo",
    ),
    (
        "waiting for a retry",
        OnInterrupt::Rerun,
        "claim, start_step, retry_step",
    ),
    (
        "waiting for approval",
        OnInterrupt::Rerun,
        "claim, start_step, ask_step",
    ),
    (
        "waiting, interrupted",
        OnInterrupt::Ask,
        "claim, start_step, interrupt",
    ),
    (
        "queued to be undone",
        OnInterrupt::Rerun,
        "claim, start_step, ask_step, cancel undo",
    ),
    (
        "completed",
        OnInterrupt::Rerun,
        "claim, skip_step, skip_step, skip_step, complete_run",
    ),
    (
        "failed",
        OnInterrupt::Rerun,
        "claim, start_step, complete_step, start_step, fail_step",
    ),
    (
        "cancelled",
        OnInterrupt::Rerun,
        "claim, start_step, retry_step, cancel",
    ),
    ("cancelled, never begun", OnInterrupt::Rerun, "cancel"),
];

/// For each state the rules that it allows. What is not named is refused.
fn allowed() -> String {
    let mut table = String::new();
    for (name, policy, path) in STATES {
        let run = after(run(policy), path);
        let allowed: Vec<&str> = RULES
            .iter()
            .filter(|(_, rule)| apply(&run, *rule).is_ok())
            .map(|(name, _)| *name)
            .collect();
        table.push_str(format!("{name}: {}", allowed.join(", ")).trim_end());
        table.push('\n');
    }
    table
}

#[test]
fn each_state_allows_these_rules_and_no_other() {
    // A queued or waiting run is skipped and failed by an answer; only the store keeps workers from
    // it.
    let expected = "
queued: claim, skip_step, fail_step, cancel, cancel undo
running: start_step, skip_step, fail_step, interrupt, hand_back, crash_beside, begin_undo, cancel, cancel undo, undo a step, fail an undo
running a step: complete_step, retry_step, fail_step, sleep_step, defer_step, ask_step, checkpoint, interrupt, hand_back, crash_beside, begin_next_undo, begin_undo, cancel, cancel undo, undo a step, keep at an undo, fail an undo
running, between steps: start_step, skip_step, fail_step, interrupt, hand_back, crash_beside, begin_next_undo, begin_undo, cancel, cancel undo, undo a step, keep at an undo, fail an undo
running, all passed: complete_run, interrupt, hand_back, crash_beside, begin_undo, cancel, cancel undo, undo a step, fail an undo
running, to be undone: complete_step, retry_step, fail_step, sleep_step, defer_step, ask_step, checkpoint, interrupt, hand_back, crash_beside, begin_next_undo, begin_undo, cancel, cancel undo, undo a step, keep at an undo, fail an undo
waiting for a retry: claim, skip_step, fail_step, cancel, cancel undo
waiting for approval: claim, skip_step, fail_step, cancel, cancel undo, answer approve, answer reject
waiting, interrupted: claim, skip_step, fail_step, cancel, cancel undo, answer rerun, answer skip, answer fail
queued to be undone: claim, skip_step, fail_step, cancel, cancel undo
completed:
failed: cancel, cancel undo, retry, retry one
cancelled: cancel undo
cancelled, never begun:
";
    assert_eq!(allowed(), expected.trim_start());
}

/// Invariants of every run.
fn check(run: &Run) {
    let head = &run.head;
    let running = head.status == RunStatus::Running;
    let ended = head.status.is_ended();
    assert_eq!(
        running,
        head.worker.is_some(),
        "a worker holds a run exactly while it runs"
    );
    assert!(
        !running || head.epoch > 0 && head.started_at.is_some(),
        "it runs under a lease"
    );
    assert_eq!(
        ended,
        head.completed_at.is_some(),
        "it has an end exactly when it has ended"
    );
    match head.status {
        RunStatus::Queued => assert!(
            head.available_at.is_some(),
            "a queued run can be taken at some time"
        ),
        RunStatus::Waiting => {}
        _ => assert_eq!(
            head.available_at, None,
            "who runs or has ended cannot be taken"
        ),
    }
    assert_eq!(
        head.progress == 100,
        head.status == RunStatus::Completed,
        "100 % is completed"
    );
    assert!(
        head.status != RunStatus::Completed || run.next_step().is_none(),
        "completed is every step"
    );
    assert!(
        !ended || head.cancel.is_none() || head.status == RunStatus::Failed,
        "an end carries the cancel out"
    );

    let open = run
        .steps
        .iter()
        .filter(|step| matches!(step.status, StepStatus::Running | StepStatus::Waiting))
        .count();
    assert!(
        open <= usize::from(!ended),
        "one step is under way, and none when the run has ended"
    );
    for step in &run.steps {
        let step_ended = matches!(
            step.status,
            StepStatus::Completed | StepStatus::Failed | StepStatus::Skipped
        );
        assert!(
            step.status != StepStatus::Running || running,
            "a step runs only while its run does"
        );
        assert!(
            step.status != StepStatus::Running || step.attempt > 0 && step.started_at.is_some()
        );
        assert_eq!(
            step.status == StepStatus::Waiting,
            step.wait.is_some(),
            "who waits, waits for something"
        );
        assert_eq!(
            step_ended,
            step.completed_at.is_some(),
            "a step has an end exactly when it has ended"
        );
    }
    let asks = |wait| run.steps.iter().any(|step| step.wait == Some(wait));
    let to_ask = asks(Wait::Approval) || asks(Wait::Interrupted);
    let stuck = head.status == RunStatus::Waiting && head.available_at.is_none();
    assert!(!stuck || to_ask, "who waits for no time waits for a person");
}

/// A completed step never changes and progress only grows, except when a person retries a step.
fn check_step_by_step(before: &Run, after: &Run, rule: &str) {
    let named = rule.starts_with("retry ");
    for (before, after) in before.steps.iter().zip(&after.steps) {
        if before.status == StepStatus::Completed && !named {
            let undone = surefoot::state::StepState {
                undo: after.undo,
                undo_note: after.undo_note.clone(),
                error: after.error.clone(),
                interruptions: after.interruptions,
                crashes: after.crashes,
                isolation: after.isolation,
                ..before.clone()
            };
            assert_eq!(*after, undone, "a completed step stays completed");
        }
        let counts_on =
            after.attempt >= before.attempt && after.interruptions >= before.interruptions;
        assert!(
            counts_on || named || rule == "retry",
            "{rule} forgets what was"
        );
    }
    assert!(after.head.epoch >= before.head.epoch);
    assert!(
        after.head.progress >= before.head.progress || named,
        "progress goes back with {rule}"
    );
}

fn any_policy() -> impl Strategy<Value = OnInterrupt> {
    prop_oneof![
        Just(OnInterrupt::Rerun),
        Just(OnInterrupt::Ask),
        Just(OnInterrupt::Fail)
    ]
}

/// Any rules in any order: what is refused changes nothing, what is allowed leaves a run as it must
/// be.
#[test]
fn a_run_is_always_as_it_must_be() {
    search(
        2_000,
        &(any_policy(), vec(0..RULES.len(), 1..80)),
        |(policy, rules)| {
            let mut run = run(policy);
            check(&run);
            for index in rules {
                let (name, rule) = RULES[index];
                // The store sees to it that only the holder of a lease writes as one.
                if by_holder(name) && run.head.status != RunStatus::Running {
                    continue;
                }
                if let Ok(next) = apply(&run, rule) {
                    check(&next);
                    check_step_by_step(&run, &next, name);
                    run = next;
                }
            }
            Ok(())
        },
    );
}

#[test]
fn an_interruption_spends_no_attempt_and_a_failure_does() {
    let attempt = |rules| after(run(OnInterrupt::Rerun), rules).steps[0].attempt;
    assert_eq!(
        attempt("claim, start_step, interrupt, claim, start_step"),
        1
    );
    assert_eq!(
        attempt("claim, start_step, sleep_step, claim, start_step"),
        1
    );
    assert_eq!(
        attempt("claim, start_step, ask_step, answer approve, claim, start_step"),
        1
    );
    assert_eq!(
        attempt("claim, start_step, defer_step, claim, start_step"),
        1
    );
    assert_eq!(
        attempt("claim, start_step, retry_step, claim, start_step"),
        2
    );
    assert_eq!(
        attempt("claim, start_step, fail_step, retry, claim, start_step"),
        1,
        "a person's retry resets the step"
    );
}

#[test]
fn a_deferred_attempt_keeps_what_it_noted_and_counts_its_deferrals() {
    let deferrals = |rules| after(run(OnInterrupt::Rerun), rules).steps[0].deferrals;
    let twice = "claim, start_step, checkpoint, defer_step, claim, start_step, defer_step";
    let deferred = after(run(OnInterrupt::Rerun), twice);
    assert_eq!(
        (
            deferred.steps[0].deferred_for(),
            deferred.steps[0].deferrals
        ),
        (Some("a forge"), 2)
    );
    assert_eq!(deferred.steps[0].checkpoint, Some(json!(1)));
    let again = after(deferred, "claim, start_step");
    assert_eq!(
        (
            again.steps[0].deferred_for(),
            again.steps[0].error.as_deref()
        ),
        (None, None)
    );
    let approved = "claim, start_step, ask_step, answer approve, claim, start_step, defer_step";
    assert!(
        after(run(OnInterrupt::Rerun), approved).steps[0]
            .answer
            .is_some(),
        "the answer is not asked for again"
    );
    assert_eq!(
        deferrals("claim, start_step, defer_step, claim, start_step, sleep_step"),
        0
    );
    assert_eq!(
        deferrals(
            "claim, start_step, defer_step, claim, start_step, retry_step, claim, start_step"
        ),
        0
    );
}

#[test]
fn interruptions_have_a_cap() {
    let once = after(run(OnInterrupt::Rerun), "claim, start_step, interrupt");
    assert_eq!(
        (once.head.status, once.steps[0].interruptions),
        (RunStatus::Queued, 1)
    );
    let twice = after(once, "claim, start_step, interrupt");
    assert_eq!(
        (twice.head.status, twice.steps[0].status),
        (RunStatus::Failed, StepStatus::Failed)
    );
    let resumed = after(twice, "retry, claim, start_step, interrupt");
    assert_eq!(
        resumed.head.status,
        RunStatus::Queued,
        "a person's retry forgets them"
    );
}

#[test]
fn a_question_is_answered_once() {
    let asked = after(run(OnInterrupt::Ask), "claim, start_step, ask_step");
    let interrupted = after(run(OnInterrupt::Ask), "claim, start_step, interrupt");
    for (asked, first, second) in [
        (
            &asked,
            "answer approve",
            ["answer approve", "answer reject"],
        ),
        (&interrupted, "answer rerun", ["answer skip", "answer fail"]),
    ] {
        let answered = after(asked.clone(), first);
        for (run, name) in [answered.clone(), after(answered, "claim")]
            .iter()
            .zip(second)
        {
            let error = apply(run, rule(name)).unwrap_err().to_string();
            assert!(
                error.contains("is answered already: ann answered"),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn the_answer_to_an_interruption_is_no_approval_and_replaces_none() {
    let run = after(
        run(OnInterrupt::Ask),
        "claim, start_step, ask_step, answer approve, claim, start_step, interrupt",
    );
    let approved = run.steps[0].answer.clone().expect("it was approved");
    assert_eq!(
        (approved["answer"].as_str(), &run.steps[0].decision),
        (Some("approve"), &None)
    );
    let again = after(run, "answer rerun");
    assert_eq!(again.steps[0].answer, Some(approved));
    assert_eq!(
        again.steps[0]
            .decision
            .as_ref()
            .and_then(|given| given["answer"].as_str()),
        Some("rerun")
    );
    let later = after(again, "claim, start_step, interrupt");
    assert_eq!(later.steps[0].status, StepStatus::Failed, "past its cap");
}

#[test]
fn an_undo_says_what_was_kept() {
    let failed = after(
        run(OnInterrupt::Rerun),
        "claim, start_step, complete_step, start_step, fail_step, cancel undo",
    );
    let undone = after(
        failed.clone(),
        "claim, undo a step, undo a step, undo a step",
    );
    assert_eq!(
        undone.head.error.as_deref(),
        Some("cancelled, and what it made is undone")
    );
    let kept = after(failed, "claim, keep at an undo, undo a step, undo a step");
    assert_eq!(
        (kept.steps[1].undo, kept.steps[1].undo_note.as_deref()),
        (Some(Undo::Kept), Some("it has no undo"))
    );
    assert_eq!(
        kept.head.error.as_deref(),
        Some("cancelled, and undone except for what these steps made: two")
    );
    let error = apply(&kept, rule("cancel undo")).unwrap_err().to_string();
    assert!(error.contains("left nothing to undo"), "{error}");
}

#[test]
fn only_a_crash_while_alone_counts() {
    let shutdowns = after(
        run(OnInterrupt::Rerun),
        &"claim, start_step, hand_back, ".repeat(20),
    );
    assert_eq!(
        (shutdowns.head.status, shutdowns.steps[0].crashes),
        (RunStatus::Queued, 0)
    );
    let mut beside = shutdowns;
    for isolation in [None, Some(3), Some(2), Some(1), Some(1), Some(1)] {
        beside = after(beside, "claim, start_step, crash_beside");
        assert_eq!(
            (beside.steps[0].crashes, beside.isolation()),
            (0, isolation)
        );
    }
    let alone = after(beside.clone(), "claim, start_step, interrupt");
    assert_eq!((alone.steps[0].crashes, alone.isolation()), (1, Some(1)));
    assert_eq!(
        after(alone, "claim, start_step, interrupt").head.status,
        RunStatus::Failed
    );
    let returned = after(beside, "claim, start_step, retry_step");
    assert_eq!(
        returned.isolation(),
        None,
        "a handler that returned is no suspect"
    );
}

#[test]
fn interruptions_of_an_undo_have_a_cap_of_their_own() {
    let crashed = after(
        run(OnInterrupt::Rerun),
        "claim, start_step, interrupt, claim, start_step, fail_step, cancel undo",
    );
    let once = after(crashed, "claim, begin_next_undo, interrupt");
    let step = &once.steps[0];
    assert_eq!(
        (once.head.status, step.undo, step.crashes),
        (RunStatus::Queued, Some(Undo::Interrupted), 1)
    );
    let shutdown = after(once, "claim, begin_next_undo, hand_back");
    assert_eq!(shutdown.steps[0].crashes, 1);
    let twice = after(shutdown, "claim, begin_next_undo, interrupt");
    assert_eq!(
        (twice.head.status, twice.steps[0].undo),
        (RunStatus::Failed, Some(Undo::Failed))
    );
    let error = twice.head.error.clone().unwrap_or_default();
    assert_eq!(
        error,
        "undo of step one: interrupted 2 times, more than the 1 allowed; last: it crashed"
    );
    let again = after(twice, "retry, claim, begin_next_undo, interrupt");
    assert_eq!(
        (again.head.status, again.steps[0].crashes),
        (RunStatus::Queued, 1)
    );
}

#[test]
fn isolation_lasts_as_long_as_the_handler_or_the_undo() {
    let beside = after(
        run(OnInterrupt::Rerun),
        "claim, start_step, crash_beside, claim, start_step, crash_beside",
    );
    let running = after(beside, "claim, start_step, cancel undo");
    assert_eq!(running.isolation(), Some(3), "its handler still runs");
    let undoing = after(running.clone(), "begin_next_undo");
    assert_eq!(
        undoing.isolation(),
        None,
        "an undo that has crashed no worker is no suspect"
    );
    let lost = after(running, "interrupt, claim");
    assert_eq!(lost.isolation(), None, "nor is one that has not begun");
    let suspect = after(
        undoing,
        "crash_beside, claim, begin_next_undo, crash_beside, claim",
    );
    assert_eq!(suspect.isolation(), Some(3), "before the undo runs again");
    let again = after(suspect, "begin_next_undo");
    assert_eq!(again.isolation(), Some(3), "and while it runs");
    for end in ["keep at an undo", "fail an undo"] {
        assert_eq!(after(again.clone(), end).steps[0].isolation, None, "{end}");
    }
}

#[test]
fn an_undo_that_failed_can_be_given_up() {
    let failed = after(
        run(OnInterrupt::Rerun),
        "claim, start_step, complete_step, start_step, fail_step, cancel undo",
    );
    let stuck = after(failed, "claim, begin_next_undo, fail an undo");
    let left = after(stuck, "cancel");
    assert_eq!(
        (left.head.status, left.head.cancel),
        (RunStatus::Cancelled, None)
    );
    let error = left.head.error.clone().unwrap_or_default();
    assert_eq!(
        error,
        "cancelled by ann, its undo given up: what these steps made stays: one, two"
    );
    let again = after(left, "cancel undo");
    assert_eq!(
        (again.head.status, again.head.cancel),
        (RunStatus::Queued, Some(CancelMode::Undo))
    );
}

#[test]
fn an_undo_that_a_person_asked_for_is_not_lost() {
    let asked = after(
        run(OnInterrupt::Ask),
        "claim, start_step, ask_step, cancel undo",
    );
    for name in ["answer approve", "answer reject"] {
        let error = apply(&asked, rule(name)).unwrap_err();
        assert!(error.to_string().contains("is being cancelled"), "{error}");
    }
    let held = after(asked, "claim, undo a step, interrupt, claim");
    assert_eq!(
        held.head.cancel,
        Some(CancelMode::Undo),
        "the next holder continues it"
    );
    assert_eq!(after(held, "undo a step").head.status, RunStatus::Cancelled);
}
