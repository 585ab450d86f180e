//! A headless Chromium behind its WebDriver (W3C), and what people would see in it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use http_body_util::Full;
use hyper::Request;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::buyer::send;
use crate::wait::{DEADLINE, LOOK_EVERY, wait_until};

/// What keeps Chromium off the network and able to run as root in a container.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
];

/// How long a browser may take to end.
const END_MAX: Duration = Duration::from_secs(10);

/// A browser with one page; it ends when this is dropped.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    base: String,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `make test` installs it");
        wait_until("chromedriver listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object above") };
        let base = format!("http://127.0.0.1:{port}");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&base)
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().expect("a session was made");
        Self { client, driver, base, session, _profile: profile }
    }

    /// A command the W3C protocol does not have.
    async fn command(&self, name: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{name}", self.session);
        let request = Request::post(path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .body(Full::from(Bytes::from(body.to_string())))
            .unwrap();
        let answer = send(&self.base, request).await.unwrap();
        assert!(answer.status.is_success(), "{name}: {answer:?}");
        answer.body["value"].clone()
    }

    /// Warnings and errors of the console, violations of the content security policy among them.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({ "type": "browser" })).await;
        let entries = log.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().filter(|entry| entry["level"] != "INFO");
        bad.map(|entry| entry["message"].to_string()).collect()
    }

    /// Light or dark, and a window of this size; waits until the page and its charts have it.
    pub(crate) async fn show_as(&self, scheme: &str, width: u32, height: u32) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.devtools("Emulation.setEmulatedMedia", media).await;
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let shown = format!(
            "innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches \
             && [...document.querySelectorAll('.chart > .uplot')] \
             .every((plot) => plot.clientWidth === plot.parentElement.clientWidth)"
        );
        wait_until(&format!("the page is {scheme}, and {width} wide"), || async {
            self.value(&shown).await == json!(true)
        })
        .await;
    }

    /// Saves what is seen under `target/screenshots`.
    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let png = self.client.screenshot().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// The text of the element with this id.
    pub(crate) async fn text(&self, id: &str) -> String {
        self.text_of(&format!("#{id}")).await
    }

    /// The text of the first element of a selector, seen or not; empty when there is none.
    pub(crate) async fn text_of(&self, selector: &str) -> String {
        let text = format!("(document.querySelector('{selector}')?.textContent ?? '').trim()");
        self.value(&text).await.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn click(&self, id: &str) {
        self.click_on(&format!("#{id}")).await;
    }

    /// The first element of a selector, as soon as it is there: what a click leads to is drawn a
    /// moment after the click (a `hashchange` is an event of its own).
    pub(crate) async fn found(&self, selector: &str) -> Element {
        let wait = self.client.wait().at_most(DEADLINE).every(LOOK_EVERY);
        let found = wait.for_element(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    /// Clicks on the first element of a selector, as a mouse does: it must be seen.
    pub(crate) async fn click_on(&self, selector: &str) {
        self.found(selector).await.click().await.unwrap();
    }

    /// Chooses an option of a list by its value, as soon as the list has it.
    pub(crate) async fn choose(&self, selector: &str, value: &str) {
        self.found(&format!("{selector} option[value=\"{value}\"]")).await;
        self.found(selector).await.select_by_value(value).await.unwrap();
    }

    /// Presses one key, `Tab` or `Enter`, wherever the focus is.
    pub(crate) async fn press_key(&self, key: &str) {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (9, "") };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.devtools("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Takes the network away, or gives it back.
    pub(crate) async fn set_offline(&self, offline: bool) {
        let params = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.emulateNetworkConditions", params).await;
    }

    /// Has the browser live in a time zone.
    pub(crate) async fn live_in(&self, zone: &str) {
        self.devtools("Emulation.setTimezoneOverride", json!({ "timezoneId": zone })).await;
    }

    /// Runs a script before every page's own.
    pub(crate) async fn before_every_page(&self, script: &str) {
        let params = json!({ "source": script });
        self.devtools("Page.addScriptToEvaluateOnNewDocument", params).await;
    }

    /// Runs the body of an asynchronous function; its value.
    pub(crate) async fn run(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             (async () => {{ {body} }})().then(done, (error) => done(`failed: ${{error}}`));"
        );
        self.client.execute_async(&script, Vec::new()).await.unwrap()
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, method: &str, params: Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": method, "params": params })).await
    }

    /// The value of a JavaScript expression.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.client.execute(&format!("return {expression}"), Vec::new()).await.unwrap()
    }
}

impl Browser {
    /// Deletes the session, which ends the browser. Blocking: a destructor cannot await.
    fn end_session(&self) -> std::io::Result<()> {
        let authority = self.base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(END_MAX))?;
        let path = format!("/session/{}", self.session);
        let headers = format!("Host: {authority}\r\nConnection: close");
        write!(stream, "DELETE {path} HTTP/1.1\r\n{headers}\r\n\r\n")?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that is only told to end may leave its browser behind.
        let _ = self.end_session();
        let pid = self.driver.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.driver.wait();
    }
}
