//! A run's progress on a page of another site: in a frame, and as the module's element.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::driver::{Browser, Kind, PATIENCE};
use crate::site::Site;
use crate::world;

/// The server of another site, with a single page.
struct Platform {
    url: String,
    _tasks: JoinSet<()>,
}

impl Platform {
    async fn with(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, page.clone()));
            }
        });
        Self { url, _tasks: tasks }
    }

    /// A page that contains the code offered by the dashboard.
    async fn showing(site: &Site, link: &serde_json::Value) -> Self {
        let url = link["url"].as_str().unwrap();
        let progress = link["progress_url"].as_str().unwrap();
        let module = site.url("/assets/widget.js");
        Self::with(format!(
            "<!doctype html><html lang=en><title>Your project</title><h1>We create your project</h1>
             <script>addEventListener('surefoot-ended', (event) => document.title = `ended: ${{event.detail.status}}`)</script>
             <iframe id=frame src='{url}' title=Progress width=420 height=260></iframe>
             <script type=module src='{module}'></script>
             <surefoot-progress id=element src='{progress}'></surefoot-progress>"
        ))
        .await
    }
}

/// Answers one request. A browser opens connections before it needs them, so each waits separately.
async fn answer(mut stream: TcpStream, page: String) {
    if stream
        .read(&mut [0; 4096])
        .await
        .is_ok_and(|length| length > 0)
    {
        let length = page.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n");
        let _ = stream
            .write_all(format!("{head}connection: close\r\n\r\n{page}").as_bytes())
            .await;
    }
}

/// Waits until the element shows a text.
async fn element_says(browser: &Browser, wanted: &str) {
    let said = "return document.querySelector('#element').shadowRoot?.querySelector('#say')?.textContent ?? ''";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = browser.script(said).await;
        if seen.as_str().unwrap().contains(wanted) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the element says {seen}, never {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The text of the element and the source of the page in the frame.
async fn all(browser: &Browser) -> String {
    let shown = browser
        .script("return document.querySelector('#element').shadowRoot.innerHTML")
        .await;
    browser.enter("#frame").await;
    let framed = browser
        .read("return document.documentElement.outerHTML")
        .await;
    browser.leave().await;
    format!("{shown}{framed}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_shows_the_progress_live_and_nothing_else() {
    let (site, browser) = world(Kind::default()).await;
    let parameters = json!({ "ticket": "OPS-777", "password": "hunter22" });
    let run = site.submit("change", "release-7", parameters).await;
    let api = run.replace(&site.url("/runs/"), "/api/v1/runs/");
    let link = site
        .post(&format!("{api}/link"), json!({ "seconds": 3600 }))
        .await;
    let platform = Platform::showing(&site, &link).await;
    browser.go(&platform.url).await;
    browser.script("window.same = true").await;
    element_says(&browser, "33 %").await;
    browser.enter("#frame").await;
    browser.wait_text("33 %").await;
    browser.wait_text("release-7").await;
    assert_eq!(
        browser.read("return document.scripts.length").await,
        0,
        "the frame has no script"
    );
    browser.axe().await;
    browser.leave().await;
    browser.picture("widget").await;
    for secret in ["OPS-777", "hunter22", "Roll it out?"] {
        assert!(
            !all(&browser).await.contains(secret),
            "{secret} is told to strangers"
        );
    }

    site.post(
        &format!("{api}/answer"),
        json!({ "step": "approve", "answer": "approve" }),
    )
    .await;
    element_says(&browser, "100 %").await;
    browser.find("title").await;
    assert_eq!(
        browser.script("return [document.title, window.same]").await,
        json!(["ended: completed", true])
    );
    browser.enter("#frame").await;
    browser.wait_text("100 %").await;
    browser.leave().await;
    assert!(!all(&browser).await.contains("hunter22"));
    browser.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_link_shows_nothing() {
    let (site, browser) = world(Kind::default()).await;
    let run = site.submit("slow", "release-8", json!({})).await;
    let api = run.replace(&site.url("/runs/"), "/api/v1/runs/");
    let link = site
        .post(&format!("{api}/link"), json!({ "seconds": 1 }))
        .await;
    let progress = link["progress_url"].as_str().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while reqwest::get(progress).await.unwrap().status() != 403 {
        assert!(Instant::now() < deadline, "the link does not expire");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let platform = Platform::showing(&site, &link).await;
    browser.go(&platform.url).await;
    browser.enter("#frame").await;
    browser.wait_text("link").await;
    assert!(!browser.has("progress").await, "nothing is told of the run");
    browser.leave().await;
    assert!(!all(&browser).await.contains("release-8"));
}
