//! Less common actions on the dashboard: duplicate, retry many, answer for interrupted steps; also
//! on a phone, and signed in.

use serde_json::json;
use surefoot_server::auth::Role;

use crate::driver::{Browser, Kind};
use crate::site::Site;
use crate::{start, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_has_the_same_parameters_but_no_secret() {
    let (site, browser) = world(Kind::default()).await;
    let run = site
        .submit(
            "change",
            "first",
            json!({ "ticket": "OPS-42", "password": "hunter22" }),
        )
        .await;
    browser.go(&run).await;
    browser.click("#b-duplicate").await;
    browser.find("#p-ticket").await;
    let filled = "return [document.querySelector('#p-ticket').value, document.querySelector('#p-password').value]";
    assert_eq!(browser.script(filled).await, json!(["OPS-42", ""]));
    let page = browser
        .script("return document.documentElement.outerHTML")
        .await;
    assert!(
        !page.as_str().unwrap().contains("hunter22"),
        "a secret is on the page"
    );
    browser.click("button[value=start]").await;
    // Without the password the last step has nothing to do.
    browser.click("#answer-approve").await;
    browser.find(".step.skipped#step-roll").await;
    assert_ne!(browser.url().await, run, "it is a run of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_failed_runs_are_retried_after_a_preview() {
    let (site, browser) = world(Kind::default()).await;
    for key in ["one", "two"] {
        let run = site.submit("fails", key, json!({})).await;
        browser.go(&run).await;
        browser.find("#b-retry").await;
    }
    browser
        .go(&site.url("/runs?workflow=fails&status=failed"))
        .await;
    browser.click("[data-choose-all]").await;
    browser.wait_text("(2)").await;
    browser.click("button[name=action][value=retry]").await;
    browser
        .wait_text("2 failed runs will be retried from the step that failed.")
        .await;
    browser.click("main form button.primary").await;
    browser.wait_text("2 runs are retried.").await;
    browser.go(&site.url("/audit")).await;
    browser.wait_text("runs.retry").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_answers_for_an_interrupted_step() {
    let (mut site, browser) = world(Kind::default()).await;
    let mut runs = Vec::new();
    for answer in ["rerun", "skip", "fail"] {
        let run = site.submit("pays", answer, json!({})).await;
        browser.go(&run).await;
        browser.find("#step-pay.running").await;
        browser.wait_text("paid").await;
        runs.push((answer, run));
    }
    site.kill();
    site.start().await;
    for (answer, run) in &runs {
        browser.go(run).await;
        browser
            .wait_text("was interrupted: what should happen?")
            .await;
        for choice in ["#answer-rerun", "#answer-skip", "#answer-fail"] {
            assert!(browser.has(choice).await, "{choice}");
        }
        if *answer == "rerun" {
            browser.axe().await;
            browser.picture("run-interrupted").await;
        }
        browser.fill("#note-pay", "looked at the bank").await;
        browser.click(&format!("#answer-{answer}")).await;
        browser.wait_text("Answered.").await;
        let then = match *answer {
            "rerun" => "#step-pay.running",
            "skip" => "#step-pay.skipped",
            _ => "#step-pay.failed",
        };
        browser.find(then).await;
        browser.wait_text("looked at the bank").await;
    }
    browser.go(&runs[1].1).await;
    browser.find("#step-thank.completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_no() {
    let (site, browser) = world(Kind::default()).await;
    browser
        .go(&site
            .submit("change", "no", json!({ "ticket": "OPS-9" }))
            .await)
        .await;
    browser.fill("#note-approve", "not on a Friday").await;
    browser.click("#answer-reject").await;
    browser.find("#step-approve.failed").await;
    browser.wait_text("not on a Friday").await;
    browser.find("#b-retry").await;
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_works_on_a_phone() {
    const PHONE: u32 = 390;
    let (site, browser) = world(Kind {
        phone: true,
        ..Kind::default()
    })
    .await;
    browser.go(&site.url("/new?workflow=change")).await;
    browser.fits(PHONE).await;
    browser.fill("#p-ticket", "OPS-3").await;
    browser.click("button[value=start]").await;
    browser.click("#answer-approve").await;
    browser.wait_text("3 of 3 steps done").await;
    start(&site, &browser, "slow").await;
    browser.click("#ask-cancel > summary").await;
    browser.find("#ask-cancel[open] #b-cancel").await;
    browser.fits(PHONE).await;
    browser.picture("phone-cancel").await;
    browser.click("#b-cancel").await;
    browser.find(".status.cancelled").await;
    start(&site, &browser, "slow").await;
    browser.go(&site.url("/runs?workflow=slow")).await;
    browser.click("input[name=run]").await;
    browser.click("button[name=action][value=cancel]").await;
    browser.wait_text("will be cancelled.").await;
    browser.fits(PHONE).await;
    browser.click("main form button.danger").await;
    browser.wait_text("1 run is cancelled.").await;
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_signed_in_person_is_shown_until_sign_out() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (site, token) = Site::with_token(Role::Operator).await;
    let browser = Browser::open(Kind::default()).await;
    let run = site.url("/runs?workflow=slow");
    browser.go(&run).await;
    browser.fill("#token", "sf_wrong").await;
    browser.click("main form button").await;
    browser.wait_text("The token is not known").await;
    browser.fill("#token", &token).await;
    browser.click("main form button").await;
    browser.wait_text("ann, operator").await;
    assert_eq!(browser.url().await, run, "where the person wanted to go");
    let started = start(&site, &browser, "slow").await;
    browser.click_in("#ask-cancel", "#b-cancel").await;
    browser.wait_text("cancelled by ann").await;
    // Actions beyond the operator's role are neither shown nor performed.
    browser.go(&site.url("/queues")).await;
    browser.find("#pause-slow").await;
    assert!(!browser.has("#limits-slow").await);
    browser.go(&site.url("/audit")).await;
    assert!(!browser.text().await.contains("run.cancel"));
    browser.console().await;
    browser.go(&started).await;
    browser.click("form[action='/sign-out'] button").await;
    browser.find("#token").await;
    browser.go(&started).await;
    browser.find("#token").await;
    assert!(!browser.text().await.contains("sleep"));
}
