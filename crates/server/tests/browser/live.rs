//! The state that a page keeps while it updates itself, and its event streams.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::driver::{Browser, Kind, PATIENCE};
use crate::world;

/// Records every stream that a page opens in `window.streams`.
const STREAMS: &str = "window.streams = [];
    window.EventSource = class extends EventSource {
      constructor(url) { super(url); window.streams.push(this); }
    };";

/// Waits until a script returns this.
async fn until(browser: &Browser, script: &str, expect: Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = browser.read(script).await;
        if seen == expect {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{script} gives {seen} and not {expect}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_runs_stay_chosen_when_another_run_appears() {
    let (site, browser) = world(Kind::default()).await;
    browser.disable_polling().await;
    let first = site.submit("slow", "first", json!({})).await;
    let id = first.rsplit('/').next().unwrap();
    // A list that was empty when loaded gets all of its parts.
    browser.go(&site.url("/runs?workflow=fails")).await;
    site.submit("fails", "other", json!({})).await;
    browser.find("button[name=action][value=retry]").await;
    browser.go(&site.url("/runs")).await;
    browser.click(&format!("input[value='{id}']")).await;
    let second = site.submit("slow", "second", json!({})).await;
    let second = second.rsplit('/').next().unwrap();
    browser.find(&format!("input[value='{second}']")).await;
    let chosen = "return [[...document.querySelectorAll('input[name=run]:checked')].map((box) => box.value),
                   document.querySelector('[data-chosen]').textContent, document.querySelector('[data-choose-all]').hidden]";
    assert_eq!(browser.script(chosen).await, json!([[id], "(1)", false]));
    // The action follows the reader's last choice.
    browser.click("input[value=matching]").await;
    let third = site.submit("slow", "third", json!({})).await;
    browser
        .find(&format!(
            "input[value='{}']",
            third.rsplit('/').next().unwrap()
        ))
        .await;
    assert_eq!(
        browser
            .script("return document.querySelector('input[value=matching]').checked")
            .await,
        true
    );
    assert_eq!(browser.script(chosen).await, json!([[id], "(1)", false]));
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_a_run_appears_without_reloading() {
    let (site, browser) = world(Kind::default()).await;
    browser.disable_polling().await;
    let run = site
        .submit("change", "with-output", json!({ "ticket": "OPS-9" }))
        .await;
    browser.go(&run).await;
    browser.find("#answer-approve").await;
    assert!(!browser.has("#h-output").await);
    browser.script("window.same = true").await;
    let answer = format!("/api/v1/runs/{}/answer", run.rsplit('/').next().unwrap());
    let approve = json!({ "step": "approve", "answer": "approve" });
    let sent = reqwest::Client::new()
        .post(site.url(&answer))
        .json(&approve)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);
    browser.find("#h-output").await;
    browser.wait_text("done for OPS-9").await;
    assert_eq!(browser.script("return window.same").await, true);
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_shows_a_notice_only_if_reconnecting_fails() {
    let (site, browser) = world(Kind::default()).await;
    browser.on_every_page(STREAMS).await;
    browser.go(&site.url("/queues")).await;
    until(
        &browser,
        "return streams.map((one) => one.readyState)",
        json!([1]),
    )
    .await;
    // Like a stream that the server ends: the page shows nothing while the browser reconnects, and
    // a notice if it does not.
    let breaks =
        "Object.defineProperty(streams[0], 'readyState', { value: EventSource.CONNECTING, configurable: true });
        streams[0].dispatchEvent(new Event('error'));
        return !!document.querySelector('.away')";
    assert_eq!(browser.script(breaks).await, false);
    browser.find(".away").await;
    browser
        .script("delete streams[0].readyState; streams[0].dispatchEvent(new Event('open'))")
        .await;
    until(
        &browser,
        "return !!document.querySelector('.away')",
        json!(false),
    )
    .await;
    // Like a proxy that responds in the server's place: the browser gives up, and the page does
    // not.
    browser
        .script("streams[0].close(); streams[0].dispatchEvent(new Event('error'))")
        .await;
    until(
        &browser,
        "return streams.map((one) => one.readyState)",
        json!([2, 1]),
    )
    .await;
    until(
        &browser,
        "return !!document.querySelector('.away')",
        json!(false),
    )
    .await;
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fetch_is_retried_before_a_notice_is_shown() {
    let (site, browser) = world(Kind::default()).await;
    browser.on_every_page(STREAMS).await;
    let fails = "window.asked = 0;
        window.said = null;
        const isSaid = () => !!document.querySelector('.away');
        const fetches = window.fetch.bind(window);
        window.fetch = (...all) => {
          window.asked += 1;
          if (window.asked === 1) return Promise.reject(new TypeError('gone'));
          window.said ??= isSaid();
          return fetches(...all);
        };
        const looks = new MutationObserver(() => { if (isSaid()) window.said ??= true; });
        looks.observe(document.body, { childList: true });
        streams[0].dispatchEvent(new Event('changed'));
        return streams[0].readyState";
    let deadline = Instant::now() + PATIENCE;
    loop {
        browser.go(&site.url("/queues")).await;
        until(
            &browser,
            "return streams.map((one) => one.readyState)",
            json!([1]),
        )
        .await;
        assert_eq!(browser.script(fails).await, 1);
        until(&browser, "return window.asked > 1", json!(true)).await;
        // True if the notice was shown when the second fetch began. A browser that was suspended
        // for seconds does both at once.
        if browser.script("return window.said").await == false {
            break;
        }
        assert!(Instant::now() < deadline, "it is always said first");
    }
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_tab_has_no_stream() {
    let (site, browser) = world(Kind::default()).await;
    browser.disable_polling().await;
    browser.on_every_page(STREAMS).await;
    browser.go(&site.url("/queues")).await;
    until(
        &browser,
        "return streams.map((one) => one.readyState)",
        json!([1]),
    )
    .await;
    let turn = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'));"
        )
    };
    browser.script(&turn(true)).await;
    until(
        &browser,
        "return streams.map((one) => one.readyState)",
        json!([2]),
    )
    .await;
    site.submit("slow", "meanwhile", json!({})).await;
    browser.script(&turn(false)).await;
    until(
        &browser,
        "return streams.map((one) => one.readyState)",
        json!([2, 1]),
    )
    .await;
    browser.find("#pause-slow").await;
    browser.find("#limits-slow").await;
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_widget_requests_once_and_fires_ended_once() {
    let (site, browser) = world(Kind::default()).await;
    let run = site.submit("fails", "ends", json!({})).await;
    browser.go(&run).await;
    browser.find("#b-retry").await;
    let link = format!("/api/v1/runs/{}/link", run.rsplit('/').next().unwrap());
    let made = reqwest::Client::new()
        .post(site.url(&link))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    let made: Value = made.json().await.unwrap();
    let src = made["progress_url"].as_str().unwrap();
    browser
        .script(&format!(
            "window.looks = 0; window.ends = 0;
             const get = window.fetch;
             window.fetch = (...all) => {{ if (String(all[0]).includes('/widget/')) looks += 1; return get(...all); }};
             addEventListener('surefoot-ended', () => (ends += 1));
             const box = document.createElement('div');
             box.innerHTML = `<surefoot-progress src='{src}'></surefoot-progress>`;
             document.body.append(box);
             import('/assets/widget.js');"
        ))
        .await;
    until(&browser, "return ends > 0", json!(true)).await;
    // A second request would have begun long before this one ended.
    assert_eq!(browser.script("return [looks, ends]").await, json!([1, 1]));
}
