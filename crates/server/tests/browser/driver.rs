//! A real Chromium, driven over WebDriver by its own chromedriver. Implements only what these tests
//! use.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Time limit of every wait. Far more than needed; it only ends a hanging test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The configuration of a browser.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    pub(crate) phone: bool,
    pub(crate) chinese: bool,
    pub(crate) without_script: bool,
}

/// A special key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    Tab,
    Enter,
    Escape,
}

impl Key {
    const fn code(self) -> &'static str {
        match self {
            Self::Tab => "\u{e004}",
            Self::Enter => "\u{e007}",
            Self::Escape => "\u{e00c}",
        }
    }
}

/// A browser with one window.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver does not end its browsers when it is stopped; ending the session does.
        self.end_session();
        let _ = Command::new("kill")
            .arg(self.driver.id().to_string())
            .status();
        let _ = self.driver.wait();
    }
}

impl Browser {
    pub(crate) async fn open(kind: Kind) -> Self {
        let (driver, port) = (0..STARTS)
            .find_map(|_| start_driver())
            .expect("chromedriver says its port");
        let http = reqwest::Client::new();
        let answer = send(
            &http,
            "POST",
            &format!("http://127.0.0.1:{port}/session"),
            Some(wanted(kind)),
        )
        .await;
        let answer = answer.unwrap_or_else(|error| panic!("no browser: {error}"));
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        Self {
            driver,
            http,
            session: format!("http://127.0.0.1:{port}/session/{id}"),
        }
    }

    /// Written without async, since it is called from `drop`.
    fn end_session(&self) {
        let Some((host, path)) = self.session.trim_start_matches("http://").split_once('/') else {
            return;
        };
        let Ok(mut stream) = TcpStream::connect(host) else {
            return;
        };
        let request =
            format!("DELETE /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        // The response comes when the browser has ended.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let _ = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read(&mut [0; 512]).map(drop));
    }

    /// The response of the driver, or the error that it reports.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Value> {
        send(&self.http, method, &format!("{}{path}", self.session), body).await
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.ask(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Repeats a command while it fails: an element may have been replaced, because the page
    /// updates parts of itself or reloads.
    async fn again(&self, what: &str, mut ask: impl AsyncFnMut() -> Result<Value, Value>) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match ask().await {
                Ok(answer) => return answer,
                Err(error) => error,
            };
            assert!(Instant::now() < deadline, "{what}: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn go(&self, url: &str) {
        self.call("POST", "/url", Some(json!({ "url": url }))).await;
    }

    pub(crate) async fn url(&self) -> String {
        self.call("GET", "/url", None)
            .await
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.call(
            "POST",
            "/execute/sync",
            Some(json!({ "script": script, "args": [] })),
        )
        .await
    }

    /// The result of a script without side effects, on a page that may reload in between.
    pub(crate) async fn read(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.again(script, async || {
            self.ask("POST", "/execute/sync", Some(body.clone())).await
        })
        .await
    }

    /// The first match of a selector; `None` while a page is loading.
    async fn look(&self, selector: &str) -> Option<String> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.ask("POST", "/elements", Some(wanted)).await.ok()?;
        let element = found[0].as_object()?.values().next()?;
        Some(element.as_str().unwrap().to_owned())
    }

    /// Waits for a match of a selector.
    pub(crate) async fn find(&self, selector: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(element) = self.look(selector).await {
                return element;
            }
            assert!(
                Instant::now() < deadline,
                "there is no {selector} on {}:\n{}",
                self.url().await,
                self.text().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reloads a page until it has a match, for pages that do not update themselves.
    pub(crate) async fn until(&self, url: &str, selector: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.go(url).await;
            if self.has(selector).await {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "there is no {selector} on {url}:\n{}",
                self.text().await
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn has(&self, selector: &str) -> bool {
        self.look(selector).await.is_some()
    }

    async fn try_click(&self, selector: &str) -> Result<Value, Value> {
        let element = self.find(selector).await;
        self.ask(
            "POST",
            &format!("/element/{element}/click"),
            Some(json!({})),
        )
        .await
    }

    /// Clicks. The page may replace the element in between, so it is looked up again.
    pub(crate) async fn click(&self, selector: &str) {
        self.again(&format!("{selector} cannot be clicked"), async || {
            self.try_click(selector).await
        })
        .await;
    }

    /// Opens a folded element and clicks a button in it. A page that reloads in between folds it
    /// again.
    pub(crate) async fn click_in(&self, details: &str, button: &str) {
        self.again(&format!("{button} cannot be clicked"), async || {
            if !self.has(&format!("{details}[open]")).await {
                self.try_click(&format!("{details} > summary")).await?;
            }
            self.try_click(button).await
        })
        .await;
    }

    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.again(&format!("{selector} cannot be filled in"), async || {
            let element = self.find(selector).await;
            self.ask(
                "POST",
                &format!("/element/{element}/clear"),
                Some(json!({})),
            )
            .await?;
            self.ask(
                "POST",
                &format!("/element/{element}/value"),
                Some(json!({ "text": text })),
            )
            .await
        })
        .await;
    }

    /// All visible text of the page; empty while it is loading.
    pub(crate) async fn text(&self) -> String {
        let Some(body) = self.look("body").await else {
            return String::new();
        };
        let text = self
            .ask("GET", &format!("/element/{body}/text"), None)
            .await
            .unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows a text, without reloading: the page updates itself.
    pub(crate) async fn wait_text(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text().await;
            if text.contains(wanted) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} never said {wanted:?}:\n{text}",
                self.url().await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a response contained this flash message. The page that shows it may have
    /// reloaded since, and then no longer shows it.
    pub(crate) async fn wait_flash(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self
            .received()
            .await
            .iter()
            .any(|told| told.contains(wanted))
        {
            assert!(Instant::now() < deadline, "{wanted:?} was never told");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The flash messages of responses since the last call, each with its tone.
    async fn received(&self) -> Vec<String> {
        let entries = self
            .call("POST", "/se/log", Some(json!({ "type": "performance" })))
            .await;
        let entries = entries
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|entry| entry["message"].as_str());
        let heads = entries
            .map(|entry| serde_json::from_str::<Value>(entry).unwrap()["message"]["params"].take());
        let heads: Vec<Value> = heads
            .map(|mut answer| answer["headers"]["set-cookie"].take())
            .collect();
        let cookies = heads.iter().filter_map(Value::as_str).flat_map(str::lines);
        let once = cookies.filter(|cookie| cookie.starts_with("surefoot_flash="));
        once.filter_map(|cookie| {
            form_urlencoded::parse(cookie.split(';').next()?.as_bytes()).next()
        })
        .map(|(_, told)| told.into_owned())
        .collect()
    }

    /// From now on pages refresh only on events, and not every 15 s.
    pub(crate) async fn disable_polling(&self) {
        self.on_every_page("window.setInterval = () => 0").await;
    }

    /// Runs a script on every page opened from now on, before the page's own scripts.
    pub(crate) async fn on_every_page(&self, script: &str) {
        let command = json!({ "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": { "source": script } });
        self.call("POST", "/goog/cdp/execute", Some(command)).await;
    }

    /// Switches to the page in this frame.
    pub(crate) async fn enter(&self, frame: &str) {
        let element = self.find(frame).await;
        let frame = json!({ "element-6066-11e4-a52e-4f735466cecf": element });
        self.call("POST", "/frame", Some(json!({ "id": frame })))
            .await;
    }

    /// Switches back to the page around the frame.
    pub(crate) async fn leave(&self) {
        self.call("POST", "/frame/parent", Some(json!({}))).await;
    }

    /// Presses and releases a key on the focused element.
    pub(crate) async fn press(&self, key: Key) {
        let one = |kind: &str| json!({ "type": kind, "value": key.code() });
        let keyboard =
            json!({ "type": "key", "id": "keyboard", "actions": [one("keyDown"), one("keyUp")] });
        self.call("POST", "/actions", Some(json!({ "actions": [keyboard] })))
            .await;
    }

    /// Presses Tab until the focus is on this element.
    pub(crate) async fn tab_to(&self, selector: &str) {
        let there = format!("return document.activeElement.matches({selector:?})");
        for _ in 0..100 {
            self.press(Key::Tab).await;
            if self.script(&there).await == true {
                return;
            }
        }
        panic!("no way leads to {selector} on {}", self.url().await);
    }

    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.call("POST", "/goog/cdp/execute", Some(command)).await;
    }

    /// Sets the width of a phone or of a desktop screen.
    pub(crate) async fn width(&self, width: u32) {
        let phone = width < 600;
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.call("POST", "/goog/cdp/execute", Some(command)).await;
    }

    /// Checks that nothing exceeds the width of the page. Phones widen their window to fit the
    /// content, so the window's own width proves nothing.
    pub(crate) async fn fits(&self, width: u32) {
        let found = self
            .script(&format!(
                "const out = [...document.querySelectorAll('body *')].filter((one) => {{
                   const box = one.getBoundingClientRect();
                   if (box.width === 0 || box.right <= {width} + 0.5) return false;
                   for (let up = one.parentElement; up; up = up.parentElement) {{
                     const held = getComputedStyle(up);
                     if (held.overflowX !== 'visible' && up.getBoundingClientRect().right <= {width} + 0.5) return false;
                   }}
                   return true;
                 }}).map((one) => one.outerHTML.slice(0, 120));
                 return [Math.max(document.documentElement.scrollWidth, document.body.scrollWidth), innerWidth, out];"
            ))
            .await;
        assert_eq!(
            found,
            json!([width, width, []]),
            "{} does not fit",
            self.url().await
        );
    }

    /// Checks that the console has no complaints since the last call.
    pub(crate) async fn quiet(&self) {
        let said = self.console().await;
        assert!(
            said.is_empty(),
            "the console of {}: {said:#?}",
            self.url().await
        );
    }

    /// Console messages since the last call.
    pub(crate) async fn console(&self) -> Vec<Value> {
        let entries = self
            .call("POST", "/se/log", Some(json!({ "type": "browser" })))
            .await;
        let wrong = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        entries
            .as_array()
            .unwrap()
            .iter()
            .filter(wrong)
            .cloned()
            .collect()
    }

    /// Saves a screenshot of the whole page.
    pub(crate) async fn picture(&self, name: &str) {
        let command =
            json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        let answer = self.call("POST", "/goog/cdp/execute", Some(command)).await;
        let png = base64::Engine::decode(
            &base64::prelude::BASE64_STANDARD,
            answer["data"].as_str().unwrap(),
        )
        .unwrap();
        let folder = target().join("browser");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// Checks the page with axe-core: no serious violation is allowed. If the page reloads during
    /// the check, it is repeated.
    pub(crate) async fn axe(&self) {
        let path = target().join("browser/node_modules/axe-core/axe.min.js");
        let source =
            std::fs::read_to_string(&path).expect("axe-core is needed: ./dev test installs it");
        let run = "const done = arguments[arguments.length - 1]; axe.run().then((found) => done(found.violations
            .filter((one) => one.impact === 'serious' || one.impact === 'critical')
            .map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(' | ')}`)));";
        let body = json!({ "script": format!("{source};{run}"), "args": [] });
        let found = self
            .again("axe", async || {
                self.ask("POST", "/execute/async", Some(body.clone())).await
            })
            .await;
        assert_eq!(found, json!([]), "axe on {}", self.url().await);
    }
}

async fn send(
    http: &reqwest::Client,
    method: &str,
    url: &str,
    body: Option<Value>,
) -> Result<Value, Value> {
    let method = method.parse().unwrap();
    let mut request = http.request(method, url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let is_well = answer.status().is_success();
    let value = answer.json::<Value>().await.unwrap()["value"].take();
    if is_well { Ok(value) } else { Err(value) }
}

fn wanted(kind: Kind) -> Value {
    let mut flags = vec![
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        // In containers it is small.
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--window-size=1360,1200",
    ];
    flags.push(if kind.chinese {
        "--accept-lang=zh-CN"
    } else {
        "--accept-lang=en-GB"
    });
    let mut chrome = json!({ "args": flags });
    if kind.chinese {
        chrome["prefs"]["intl.accept_languages"] = "zh-CN,zh".into();
    }
    if kind.phone {
        chrome["mobileEmulation"] =
            json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 1.0 } });
    }
    if kind.without_script {
        chrome["prefs"]["profile.managed_default_content_settings.javascript"] = 2.into();
    }
    let mut logs = json!({ "browser": "ALL" });
    if kind.without_script {
        // Flash messages are in the headers of responses.
        logs["performance"] = "ALL".into();
    }
    let timeouts = json!({ "script": PATIENCE.as_millis() });
    json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": chrome,
        "goog:loggingPrefs": logs, "timeouts": timeouts } } })
}

/// Attempts to start chromedriver. It takes a free port for IPv4 and then the same for IPv6, which
/// may be in use by then.
const STARTS: usize = 5;

/// Starts chromedriver and returns its port; `None` if it got none.
fn start_driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is needed: ./dev test installs it");
    let port = port(driver.stdout.take().expect("its output is piped"));
    if port.is_none() {
        // It has ended already, or ends now.
        let _ = driver.kill();
        let _ = driver.wait();
    }
    port.map(|port| (driver, port))
}

fn port(output: impl std::io::Read) -> Option<u16> {
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut announced = lines.filter_map(|line| {
        line.split("successfully on port ")
            .nth(1)
            .map(str::to_owned)
    });
    announced.next()?.trim_end_matches('.').parse().ok()
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}
