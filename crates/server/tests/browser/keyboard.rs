//! The dashboard without a mouse: every control is reachable by Tab, and updates of a page do not
//! move the focus.

use serde_json::json;

use crate::driver::{Key, Kind};
use crate::site::HELD;
use crate::{start, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_and_cancelled_with_keys_alone() {
    let (site, browser) = world(Kind::default()).await;
    browser.go(&site.url("/new?workflow=slow")).await;
    browser.press(Key::Tab).await;
    let skip = browser
        .script("return document.activeElement.className")
        .await;
    assert_eq!(skip, "skip", "the first stop leads past the navigation");
    browser.press(Key::Enter).await;
    browser.tab_to("button[value=start]").await;
    browser.press(Key::Enter).await;
    browser.find("#h-steps").await;

    browser.tab_to("#ask-cancel > summary").await;
    browser.press(Key::Enter).await;
    browser.find("#ask-cancel[open]").await;
    browser.press(Key::Escape).await;
    browser.find("#ask-cancel:not([open])").await;
    let focus = "return document.activeElement.matches('#ask-cancel > summary')";
    assert_eq!(
        browser.script(focus).await,
        true,
        "the focus is where the sheet was opened"
    );
    browser.press(Key::Enter).await;
    browser.tab_to("#b-cancel").await;
    browser.press(Key::Enter).await;
    browser.find(".status.cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn focus_and_open_sheets_survive_page_updates() {
    let (site, browser) = world(Kind::default()).await;
    browser.disable_polling().await;
    let run = site
        .submit(
            "project-initialization",
            "kiln-web",
            json!({ "name": "kiln-web" }),
        )
        .await;
    browser.go(&run).await;
    browser.tab_to("#ask-share > summary").await;
    browser.press(Key::Enter).await;
    browser.tab_to("#b-share").await;
    for step in HELD {
        browser.find(&format!("#step-{step}.running")).await;
        let kept = "return [document.activeElement.id, document.querySelector('#ask-share').open]";
        assert_eq!(
            browser.script(kept).await,
            json!(["b-share", true]),
            "while {step} runs"
        );
        site.pass("kiln-web", step);
    }
    browser.press(Key::Escape).await;
    browser.find("#ask-share:not([open])").await;
    // Text being typed stays, too.
    start(&site, &browser, "two-steps").await;
    browser.find("#b-retry").await;
    browser.go(&site.url("/runs")).await;
    browser.tab_to("#f-text").await;
    let broken = site.submit("fails", "broken", json!({})).await;
    let box_of_it = format!("input[value='{}']", broken.rsplit('/').next().unwrap());
    browser
        .find(&format!("tr:has({box_of_it}) .status.failed"))
        .await;
    assert_eq!(
        browser.script("return document.activeElement.id").await,
        "f-text"
    );
}
