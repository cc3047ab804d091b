//! The dashboard in a real Chromium, with a real server, worker and store. Screenshots are saved in
//! `target/browser`.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod acts;
mod driver;
mod keyboard;
mod live;
mod past;
mod site;
mod walk;
mod widget;
mod without_script;

use driver::{Browser, Kind};
use site::{HELD, Site};

async fn world(kind: Kind) -> (Site, Browser) {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    (Site::open().await, Browser::open(kind).await)
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
async fn a_project_is_started_by_the_form_and_recovers_when_its_worker_is_killed() {
    let (mut site, browser) = world(Kind::default()).await;
    browser
        .go(&site.url("/new?workflow=project-initialization"))
        .await;
    browser.axe().await;
    // Invalid values are reported before anything is sent.
    browser.fill("#p-name", "No Good").await;
    browser.click("button[value=start]").await;
    browser.find("#p-name[aria-invalid=true]").await;
    assert!(browser.url().await.contains("/new"));
    browser.fill("#p-name", "kiln-api").await;
    browser.click("button[value=dry]").await;
    browser.wait_text("A dry run: nothing was written.").await;
    browser.picture("dry-run").await;
    browser.click("button[value=start]").await;
    // Any step will do: the server is killed while it runs.
    browser.find("#step-create_repository.running").await;
    browser.picture("run-live").await;
    site.kill();
    browser.wait_text("No connection to the server").await;
    site.start().await;
    site.pass_all("kiln-api");
    browser.wait_text("Recovered from worker").await;
    browser.wait_text("7 of 7 steps done").await;
    browser.wait_text("kiln-api/production").await;
    let said = browser
        .script("return document.querySelector('#top .note.running strong').textContent")
        .await;
    let after = said
        .as_str()
        .unwrap()
        .rsplit_once(" after ")
        .expect("it says after how long")
        .1
        .to_owned();
    let words: Vec<&str> = after.split(' ').collect();
    let is_time = |words: &[&str]| matches!(words, [number, "ms" | "s" | "m"] if number.parse::<f64>().is_ok());
    assert!(words.chunks(2).all(is_time), "{said}");
    browser.axe().await;
    browser.picture("run-recovered").await;
    browser.go(&site.url("/projects")).await;
    browser.wait_text("kiln-api").await;
    let cells = "return [...document.querySelectorAll('#projects tbody tr > *')].map((cell) => cell.innerText.trim())";
    let cells = browser.script(cells).await;
    let cell = |at: usize| cells[at].as_str().unwrap_or_default();
    assert_eq!((cell(0), cell(1)), ("kiln-api", "Completed"), "{cells}");
    let (template, version) = cell(2)
        .split_once('\n')
        .expect("a template and its version");
    assert!(
        !template.is_empty() && !version.trim().is_empty(),
        "{cells}"
    );
    assert!(cell(3).contains("kiln-api.git"), "the repository: {cells}");
    assert!(cell(4).contains("production"), "the environments: {cells}");
    browser.axe().await;
    browser.picture("projects").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_answered_retried_cancelled_and_secrets_are_not_shown() {
    let (site, browser) = world(Kind::default()).await;
    browser.go(&site.url("/new?workflow=change")).await;
    browser.fill("#p-ticket", "OPS-7").await;
    browser.fill("#p-password", "hunter22").await;
    browser.click("button[value=start]").await;
    browser.wait_text("Roll it out?").await;
    browser.axe().await;
    browser.picture("run-asks").await;
    browser.fill("#note-approve", "looked at it").await;
    browser.click("#answer-approve").await;
    browser.wait_text("3 of 3 steps done").await;
    let page = browser
        .script("return document.documentElement.outerHTML")
        .await;
    assert!(
        !page.as_str().unwrap().contains("hunter22"),
        "a secret is on the page"
    );
    start(&site, &browser, "fails").await;
    browser.wait_text("about to fail").await;
    browser.find("#b-retry").await;
    browser.axe().await;
    browser.picture("run-failed").await;
    browser.click("#b-retry").await;
    browser.wait_text("retried by local").await;
    start(&site, &browser, "slow").await;
    browser.click_in("#ask-cancel", "#b-cancel").await;
    browser.wait_text("Cancelled").await;
    browser.go(&site.url("/audit")).await;
    browser.wait_text("run.answer").await;
    browser.wait_text("run.cancel").await;
    browser.axe().await;
    browser.picture("audit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_are_cancelled_after_a_preview() {
    let (site, browser) = world(Kind::default()).await;
    for _ in 0..3 {
        start(&site, &browser, "slow").await;
    }
    browser.go(&site.url("/runs?workflow=slow")).await;
    browser.axe().await;
    browser.picture("runs").await;
    browser.click("input[value=matching]").await;
    browser.click("button[name=action][value=cancel]").await;
    browser
        .wait_text("3 unfinished runs will be cancelled.")
        .await;
    browser.axe().await;
    browser.picture("bulk").await;
    browser.click("main form button.danger").await;
    browser.wait_text("3 runs are cancelled.").await;
    browser.go(&site.url("/queues")).await;
    browser.click("#pause-slow").await;
    browser.wait_text("Queue slow is paused").await;
    browser.axe().await;
    browser.picture("queues").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chinese_is_shown_if_the_browser_prefers_it() {
    let (site, browser) = world(Kind {
        chinese: true,
        ..Kind::default()
    })
    .await;
    start(&site, &browser, "fails").await;
    browser.wait_text("\u{5931}\u{8d25}\u{539f}\u{56e0}").await;
    browser.axe().await;
    browser.picture("chinese-run").await;
    browser.go(&site.url("/")).await;
    browser.wait_text("\u{603b}\u{89c8}").await;
    browser.picture("chinese-overview").await;
    browser.click("button[name=lang][value=en]").await;
    browser.wait_text("Overview").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_appear_at_once_without_reloading() {
    let (site, browser) = world(Kind::default()).await;
    browser.disable_polling().await;
    let run = site
        .submit(
            "project-initialization",
            "kiln-web",
            serde_json::json!({ "name": "kiln-web" }),
        )
        .await;
    browser.go(&run).await;
    browser
        .script("window.same = true; document.querySelector('#step-finalize > summary').focus()")
        .await;
    for step in &HELD[..2] {
        browser.find(&format!("#step-{step}.running")).await;
        site.pass("kiln-web", step);
    }
    browser.find(&format!("#step-{}.running", HELD[2])).await;
    let same = "return [window.same, document.activeElement.parentElement.id]";
    assert_eq!(
        browser.script(same).await,
        serde_json::json!([true, "step-finalize"])
    );
    browser.go(&site.url("/runs")).await;
    browser.script("window.same = true").await;
    browser.find(".status.running").await;
    site.submit("fails", "broken", serde_json::json!({})).await;
    browser.find("td .status.failed, .status.failed").await;
    assert_eq!(browser.script("return window.same").await, true);
    browser.quiet().await;
}
