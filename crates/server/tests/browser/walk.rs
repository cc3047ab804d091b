//! Every page, full and empty, light and dark, on a desktop screen and a phone, in both languages:
//! accessible, no wider than the screen, without console messages.

use serde_json::json;

use crate::driver::{Browser, Kind};
use crate::site::Site;
use crate::world;

const DESK: u32 = 1360;
const PHONE: u32 = 375;

/// A page, and the name of its screenshots.
type Page = (&'static str, String);

/// A server with a day of history and some activity of every kind.
async fn busy(browser: &Browser) -> (Site, Vec<Page>) {
    let mut site = Site::with_past().await;
    let asking = site
        .submit(
            "change",
            "Raise the connection limit",
            json!({ "ticket": "OPS-7" }),
        )
        .await;
    let running = site
        .submit(
            "preview-environment",
            "checkout-web-pr-418",
            json!({ "name": "pr-418" }),
        )
        .await;
    let failed = site.submit("two-steps", "import-ledger", json!({})).await;
    let recovered = site
        .submit(
            "project-initialization",
            "kiln-api",
            json!({ "name": "kiln-api" }),
        )
        .await;
    browser.go(&recovered).await;
    browser.find("#step-create_repository.running").await;
    site.kill();
    site.start().await;
    site.pass_all("kiln-api");
    browser.go(&recovered).await;
    browser.wait_text("7 of 7 steps done").await;
    // This run stays active.
    site.submit(
        "project-initialization",
        "shop-web",
        json!({ "name": "shop-web" }),
    )
    .await;
    site.pass("shop-web", "create_repository");
    browser.go(&asking).await;
    browser.find("#answer-approve").await;
    browser.go(&site.url("/alerts")).await;
    browser.find("form[action='/alerts/acknowledge']").await;
    let pages = vec![
        ("asking", asking),
        ("running", running),
        ("failed", failed),
        ("recovered", recovered),
    ];
    (site, pages)
}

fn pages(site: &Site) -> Vec<Page> {
    let at = |name, path: &str| (name, site.url(path));
    vec![
        at("overview", "/"),
        at("overview-day", "/?span=24h"),
        at("runs", "/runs"),
        at("runs-found-none", "/runs?text=nowhere"),
        at("runs-failed", "/runs?status=failed&since=24h"),
        at("projects", "/projects"),
        at("queues", "/queues"),
        at("workers", "/workers"),
        at("alerts", "/alerts"),
        at("audit", "/audit"),
        at("settings", "/settings"),
        at("new", "/new"),
        at("new-form", "/new?workflow=project-initialization"),
        at("sign-in", "/sign-in?error=token"),
        at("api-docs", "/api/docs"),
    ]
}

async fn look(browser: &Browser, language: &str, (name, url): &Page) {
    browser.width(DESK).await;
    browser.go(url).await;
    for (width, size) in [(DESK, "desk"), (PHONE, "phone")] {
        browser.width(width).await;
        for scheme in ["light", "dark"] {
            browser.prefer(scheme).await;
            browser.axe().await;
            browser
                .picture(&format!("{name}-{language}-{size}-{scheme}"))
                .await;
        }
        browser.fits(width).await;
    }
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_busy_server_is_accessible_fits_and_is_quiet() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let english = Browser::open(Kind::default()).await;
    let (site, mut all) = busy(&english).await;
    // Messages from the time without a server do not count.
    english.console().await;
    all.extend(pages(&site));
    let chinese = Browser::open(Kind {
        chinese: true,
        ..Kind::default()
    })
    .await;
    for page in &all {
        tokio::join!(look(&english, "en", page), look(&chinese, "zh", page));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_an_empty_server_says_so() {
    let (site, browser) = world(Kind::default()).await;
    for (name, url) in pages(&site) {
        browser.width(DESK).await;
        browser.go(&url).await;
        browser.axe().await;
        browser.picture(&format!("empty-{name}")).await;
        browser.width(PHONE).await;
        browser.fits(PHONE).await;
        browser.quiet().await;
    }
}
