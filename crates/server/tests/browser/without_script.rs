//! Every action of the dashboard in a browser without scripts: plain forms, plain pages.

use surefoot_server::auth::Role;

use crate::driver::{Browser, Kind};
use crate::site::Site;

const PLAIN: Kind = Kind {
    phone: false,
    chinese: false,
    without_script: true,
};

/// A browser without scripts in which a person has signed in.
async fn signed_in() -> (Site, Browser) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (site, token) = Site::with_token(Role::Admin).await;
    let browser = Browser::open(PLAIN).await;
    browser.go(&site.url("/queues")).await;
    browser.fill("#token", "sf_wrong").await;
    browser.click("main form button").await;
    browser.wait_text("The token is not known").await;
    browser.fill("#token", &token).await;
    browser.click("main form button").await;
    // The page that was requested before the sign-in.
    browser.wait_text("Queues").await;
    assert!(
        browser.url().await.ends_with("/queues"),
        "{}",
        browser.url().await
    );
    (site, browser)
}

/// Starts a run of a workflow without required fields.
async fn start(site: &Site, browser: &Browser, workflow: &str) -> String {
    browser
        .go(&site.url(&format!("/new?workflow={workflow}")))
        .await;
    browser.click("button[value=start]").await;
    browser.find("#h-steps").await;
    browser.url().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_chooses_a_language_and_signs_out() {
    let (site, browser) = signed_in().await;
    browser.wait_text("ann, administrator").await;
    browser.click("button[name=lang][value^=zh]").await;
    browser.find("html[lang^=zh]").await;
    assert!(browser.url().await.ends_with("/queues"));
    browser.click("button[name=lang][value=en]").await;
    browser.find("html[lang=en]").await;
    browser.click("button[name=theme][value=dark]").await;
    browser.find("html[data-theme=dark]").await;
    browser.click("form[action='/sign-out'] button").await;
    browser.find("#token").await;
    browser.go(&site.url("/runs")).await;
    browser.find("#token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_reports_errors_previews_and_submits() {
    let (site, browser) = signed_in().await;
    browser
        .go(&site.url("/new?workflow=project-initialization"))
        .await;
    browser.fill("#p-name", "kiln-api").await;
    browser.fill("#p-values", "{ no json").await;
    browser.click("button[value=start]").await;
    browser.wait_text("One value is invalid").await;
    browser.find("#p-values[aria-invalid=true]").await;
    browser.picture("without-script-form").await;
    browser.fill("#p-values", "{}").await;
    browser.click("button[value=dry]").await;
    browser.wait_text("A dry run: nothing was written.").await;
    browser.click("button[value=start]").await;
    browser.wait_flash("Submitted.").await;
    // By then the run has created something, which is undone.
    site.pass("kiln-api", "create_repository");
    browser.find("#step-push_template.running").await;
    browser.click_in("#ask-undo", "#b-undo").await;
    browser.wait_flash("Cancel with undo requested.").await;
    browser.find(".status.cancelled").await;
    browser.find("#step-create_repository.undone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_retried_answered_and_cancelled() {
    let (site, browser) = signed_in().await;
    let run = start(&site, &browser, "two-steps").await;
    browser.find("#b-retry").await;
    browser.click("#b-retry").await;
    browser
        .wait_flash("Retried: it runs as soon as a slot is free.")
        .await;
    browser.find("#b-retry").await;
    browser.go(&run).await;
    browser.wait_text("retried by ann").await;
    browser.click_in("#step-one", "#retry-one").await;
    browser.find("#b-retry").await;
    browser.wait_text("One: attempt 1 starts").await;
    browser.go(&site.url("/new?workflow=change")).await;
    browser.fill("#p-ticket", "OPS-8").await;
    browser.click("button[value=start]").await;
    browser.find("#answer-approve").await;
    browser.fill("#note-approve", "seen").await;
    browser.click("#answer-approve").await;
    browser.wait_flash("Answered.").await;
    browser.wait_text("3 of 3 steps done").await;
    start(&site, &browser, "slow").await;
    browser.click_in("#ask-cancel", "#b-cancel").await;
    browser.wait_flash("Cancel requested.").await;
    browser.find(".status.cancelled").await;
    browser.click_in("#ask-share", "#b-share").await;
    browser
        .wait_text("A link to the progress of this run")
        .await;
    browser.find("#share-url").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_alerts_and_many_runs_can_be_managed() {
    let (site, browser) = signed_in().await;
    for _ in 0..2 {
        start(&site, &browser, "slow").await;
    }
    browser.go(&site.url("/queues")).await;
    browser.click("#pause-slow").await;
    browser.wait_text("Queue slow is paused").await;
    browser.click("#pause-slow").await;
    browser.wait_text("Queue slow is resumed.").await;
    browser.click("#limits-slow > summary").await;
    browser.fill("#limit-concurrency-slow", "7").await;
    browser.fill("#limit-rate-slow", "5/1s").await;
    browser.click("#limits-slow button").await;
    browser
        .wait_text("The limits of queue slow were changed.")
        .await;
    browser.wait_text("7 at once").await;
    // Nothing chosen, some chosen, all that match.
    browser.go(&site.url("/runs?workflow=slow")).await;
    browser.click("button[name=action][value=cancel]").await;
    browser.wait_text("Nothing was chosen.").await;
    browser.click("input[name=run]").await;
    browser.click("button[name=action][value=cancel]").await;
    browser
        .wait_text("1 unfinished run will be cancelled.")
        .await;
    browser.click("main form button.danger").await;
    browser.wait_text("1 run is cancelled.").await;
    browser.click("input[value=matching]").await;
    browser.click("button[name=action][value=cancel]").await;
    browser
        .wait_text("1 unfinished run will be cancelled.")
        .await;
    browser.click("main form button.danger").await;
    browser.wait_text("1 run is cancelled.").await;
    browser.go(&site.url("/new?workflow=change")).await;
    browser.fill("#p-ticket", "OPS-1").await;
    browser.click("button[value=start]").await;
    browser.find("#answer-approve").await;
    browser
        .until(
            &site.url("/alerts"),
            "form[action='/alerts/acknowledge'] button",
        )
        .await;
    browser
        .click("form[action='/alerts/acknowledge'] button")
        .await;
    browser.wait_text("Acknowledged.").await;
    browser.find(".status.waiting").await;
}
