//! The live wall on a real stack: figures that move, an edge that dies, Pause, the file, silence.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use stack::{Stack, StackOptions};

use super::access::findings;
use super::{assert_no_complaints, create, is_live, stack};
use crate::admin::post;
use crate::browser::Browser;
use crate::buyer::post_buy;
use crate::crowd::Crowd;
use crate::wait::wait_until;

/// Holds the modules that decide against what they promise; says what did not hold.
const DECISIONS: &str = include_str!("live_decisions.js");
/// A name that a spreadsheet would take for a formula, and with everything a file must quote.
const NAME: &str = "=HYPERLINK(\"http://x\",\"y\")";
/// The same in the head of the file.
const NAME_IN_FILE: &str = "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\") (#2) stock\"";
/// A browser that has not saved a file by then has lost the click.
const CLICK_AGAIN: Duration = Duration::from_secs(5);
const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
const SIZES: [(&str, &str, u32, u32); 4] = [
    ("wall-dark", "dark", 1920, 1080),
    ("wall-light", "light", 1920, 1080),
    ("wall-laptop", "light", 1280, 800),
    ("wall-mobile", "dark", 390, 844),
];

async fn open_wall(browser: &Browser, stack: &Stack, query: &str) {
    browser.client.goto(&format!("{}/live.html{query}", stack.http())).await.unwrap();
    wait_until("the wall is live", || async {
        is_live(browser).await && attribute(browser, "#main", "view").await == "live"
    })
    .await;
}

/// What stands in a `data-` attribute of the first element of a selector.
async fn attribute(browser: &Browser, selector: &str, name: &str) -> String {
    let value = format!("document.querySelector('{selector}')?.dataset.{name} ?? ''");
    browser.value(&value).await.as_str().unwrap_or_default().to_owned()
}

/// Waits until a `data-` attribute says this.
async fn becomes(browser: &Browser, selector: &str, name: &str, value: &str) {
    wait_until(&format!("{name} of {selector} is {value}"), || async {
        attribute(browser, selector, name).await == value
    })
    .await;
}

async fn shows(browser: &Browser, id: &str, wanted: impl Fn(&str) -> bool) {
    wait_until(&format!("{id} shows it"), || async { wanted(&browser.text(id).await) }).await;
}

/// A number as the page writes it; none for a dash.
fn number(text: &str) -> Option<f64> {
    text.replace(',', "").parse().ok()
}

async fn figure(browser: &Browser, id: &str) -> Option<f64> {
    number(&browser.text(id).await)
}

/// Waits for an event of this kind, and text in it.
async fn happened(browser: &Browser, kind: &str, text: &str) {
    wait_until(&format!("{kind} of {text} is told"), || async {
        let selector = format!("#log [data-kind=\"{kind}\"] .log-text");
        let told = format!(
            "[...document.querySelectorAll('{selector}')].map((e) => e.textContent).join()"
        );
        browser.value(&told).await.as_str().unwrap().contains(text)
    })
    .await;
}

/// Waits until the newest event of a process is of this kind: a wall that stalled told before that
/// the process was gone and is back.
async fn happened_last(browser: &Browser, kind: &str, name: &str) {
    let newest = format!(
        "[...document.querySelectorAll('#log li')] \
         .find((line) => line.textContent.includes('{name}'))?.dataset.kind ?? ''"
    );
    wait_until(&format!("{kind} is the newest of {name}"), || async {
        browser.value(&newest).await == kind
    })
    .await;
}

fn process(name: &str) -> String {
    format!("[data-process=\"{name}\"]")
}

async fn start() -> Stack {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "300".to_owned())];
    stack(StackOptions { stock: 1_000_000, env, ..StackOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_shows_a_sale_and_whoever_carries_it() {
    let stack = start().await;
    let browser = Browser::start().await;
    browser.show_as("dark", 1920, 1080).await;
    open_wall(&browser, &stack, "").await;
    assert_eq!(browser.text("hero-name").await, "iPhone 15 Pro");
    assert_eq!(browser.text("hero-stock").await, "1,000,000");
    shows(&browser, "oversold", |text| text == "0").await;
    becomes(&browser, "#verdict", "tone", "good").await;
    assert_eq!(browser.text("path-p50").await, "–", "nobody bought: nothing is known");
    assert_eq!(browser.text("end-value").await, "–");

    create(&stack, json!({ "product_id": 2, "name": NAME })).await;
    wait_until("the wall knows of a new sale by itself", || async {
        browser.text_of("[data-sale=\"2\"] .sale-name").await == NAME
    })
    .await;
    let crowd = Crowd::gentle(stack.http());
    figures_move(&browser).await;
    looks(&browser).await;
    a_pause_stands_still_and_goes_on_collecting(&browser, &crowd).await;
    assert_no_complaints(&browser).await;
    an_edge_goes_and_comes_back(&browser, &stack).await;
    the_language_changes_in_place(&browser).await;
    crowd.go_home().await;
    the_file_has_it_all(&browser).await;
    assert_no_complaints(&browser).await;
    drop(browser);
    stack.shutdown().await;
}

async fn figures_move(browser: &Browser) {
    let positive = |text: &str| number(text).is_some_and(|number| number > 0.0);
    for id in ["hero-pace", "hero-sold", "path-settled", "path-clients"] {
        shows(browser, id, positive).await;
    }
    for id in ["path-p50", "path-p99"] {
        shows(browser, id, |text| text.ends_with("ms")).await;
    }
    for id in ["path-queue", "path-dead", "path-outbox", "path-open", "hero-open"] {
        shows(browser, id, |text| number(text).is_some()).await;
    }
    let accepted = "#answers-keys [data-line=\"accepted\"] dd";
    wait_until("answers are counted", || async { positive(&browser.text_of(accepted).await) })
        .await;
    for name in EDGES.into_iter().chain(["settler-1"]) {
        let figure = format!("{} .tile-figure", process(name));
        wait_until(name, || async { positive(&browser.text_of(&figure).await) }).await;
        becomes(browser, &process(name), "tone", "good").await;
    }
    // A million units at two hundred a second: nobody knows what is in an hour and a half.
    let kinds = ["sells_out", "far"];
    wait_until("the end is projected", || async {
        kinds.contains(&attribute(browser, "#hero-end", "kind").await.as_str())
    })
    .await;
    assert_eq!(browser.text("hero-why").await, "Sells fastest");
}

/// Fits every screen; a picture is kept of each.
async fn looks(browser: &Browser) {
    for (name, scheme, width, height) in SIZES {
        browser.show_as(scheme, width, height).await;
        browser.screenshot(name).await;
        let page = "document.documentElement";
        let sideways = format!("{page}.scrollWidth - {page}.clientWidth");
        assert_eq!(browser.value(&sideways).await, json!(0), "{name}: scrolls sideways");
        let down = browser.value(&format!("{page}.scrollHeight - innerHeight")).await;
        assert!(width < 1600 || down == json!(0), "{name}: scrolls by {down}");
        assert_eq!(findings(browser).await, json!([]), "{name}");
    }
    browser.show_as("dark", 1920, 1080).await;
}

async fn a_pause_stands_still_and_goes_on_collecting(browser: &Browser, crowd: &Crowd) {
    let rows = async || download(browser).await.lines().count();
    browser.click("pause").await;
    let (stock, clock) = (browser.text("hero-stock").await, browser.text("clock").await);
    let said = format!("Paused since {clock}. Collecting goes on.");
    assert_eq!(browser.text("strip").await, said);
    let before = rows().await;
    crowd.accepts(100).await;
    wait_until("more was collected", || async {
        // A row a second; a browser that saves file upon file loses one now and then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        rows().await > before + 2
    })
    .await;
    assert_eq!(browser.text("hero-stock").await, stock);
    assert_eq!(browser.text("clock").await, clock);
    assert_eq!(attribute(browser, "#connection", "state").await, "paused", "never looks live");
    assert_eq!(attribute(browser, ".hero", "fresh").await, "false");

    browser.click("pause").await;
    shows(browser, "hero-stock", |text| number(text) < number(&stock)).await;
    wait_until("the wall is live again", || is_live(browser)).await;
    let hidden = "document.getElementById('strip').hidden";
    wait_until("nothing is said of a pause", || async {
        browser.value(hidden).await == json!(true)
    })
    .await;
}

async fn an_edge_goes_and_comes_back(browser: &Browser, stack: &Stack) {
    let tile = process("edge-2");
    stack.stop("edge-2").await.unwrap();
    happened(browser, "process.gone", "edge-2 is gone").await;
    happened_last(browser, "process.gone", "edge-2").await;
    becomes(browser, &tile, "tone", "bad").await;
    for (part, text) in [("tile-state", "Silent"), ("tile-figure", "–")] {
        let part = format!("{tile} .{part}");
        wait_until(&format!("{part} says {text}"), || async {
            browser.text_of(&part).await == text
        })
        .await;
    }
    wait_until("the others go on", || is_live(browser)).await;
    stack.resume("edge-2").await.unwrap();
    happened(browser, "process.back", "edge-2 is back").await;
    happened_last(browser, "process.back", "edge-2").await;
    becomes(browser, &tile, "tone", "good").await;
}

/// Another language is shown by the same page: what it collected stays.
async fn the_language_changes_in_place(browser: &Browser) {
    let lines = "document.querySelectorAll('#log li').length";
    let before = browser.value(lines).await.as_u64().unwrap();
    browser.value("window.stays = true").await;
    let thai = ("th", "หยุดภาพ", "ขายเร็วที่สุด");
    for (language, pause, why) in [thai, ("en", "Pause", "Sells fastest")] {
        browser.click_on(&format!("[data-language=\"{language}\"]")).await;
        shows(browser, "pause", |text| text == pause).await;
        shows(browser, "hero-why", |text| text == why).await;
        let shown = browser.value(lines).await.as_u64().unwrap();
        assert!(before > 0 && shown >= before, "{shown} of {before} events");
        let drawn = "[window.stays, document.querySelectorAll('main .uplot').length, \
                     document.querySelectorAll('main details').length]";
        wait_until("both charts are there once, on the same page", || async {
            browser.value(drawn).await == json!([true, 2, 2])
        })
        .await;
    }
}

/// The text of the file a click on Save CSV brings.
async fn download(browser: &Browser) -> String {
    let folder = tempfile::tempdir().unwrap();
    let to = json!({ "behavior": "allow", "downloadPath": folder.path() });
    browser.devtools("Browser.setDownloadBehavior", to).await;
    let clicked: Cell<Option<Instant>> = Cell::new(None);
    wait_until("the file is there", || async {
        // As people do when nothing happens.
        if clicked.get().is_none_or(|at| at.elapsed() > CLICK_AGAIN) {
            browser.click("csv").await;
            clicked.set(Some(Instant::now()));
        }
        saved(folder.path()).is_some()
    })
    .await;
    saved(folder.path()).unwrap()
}

/// A file that is complete: while it is written it has another name.
fn saved(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut complete = files.filter(|path| path.extension().is_some_and(|end| end == "csv"));
    std::fs::read_to_string(complete.next()?).ok().filter(|text| text.ends_with('\n'))
}

async fn the_file_has_it_all(browser: &Browser) {
    let file = download(browser).await;
    let (head, rows) = file.split_once("\r\n").unwrap();
    let head = head.strip_prefix('\u{feff}').expect("says that it is UTF-8");
    assert!(head.starts_with("server_time,accepted_per_second,"), "{head}");
    assert!(head.ends_with(&format!(",iPhone 15 Pro (#1) stock,{NAME_IN_FILE}")), "{head}");
    let columns: Vec<&str> = head.split(',').take(18).collect();
    let of = |row: &str, name: &str| {
        let at = columns.iter().position(|column| *column == name).expect(name);
        row.split(',').nth(at).unwrap().to_owned()
    };
    let rows: Vec<&str> = rows.lines().collect();
    let sold = rows.iter().filter_map(|row| number(&of(row, "accepted_per_second"))).sum::<f64>();
    assert!(sold > 100.0, "{sold} were accepted, a second a row");
    let times: Vec<String> = rows.iter().map(|row| of(row, "server_time")).collect();
    assert!(times.is_sorted() && times[0].ends_with('Z'), "{times:?}");
    assert_eq!(of(rows[0], "p50_ms"), "", "nobody had bought: not known, not 0");
    assert!(rows.iter().any(|row| of(row, "edges_ready") == "2"), "edge-2 was away");
    let stock = number(rows.last().unwrap().rsplit(',').nth(1).unwrap());
    wait_until("the last row is what is seen", || async {
        stock >= figure(browser, "hero-stock").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_tells_what_happened_and_how_old_its_figures_are() {
    let stack = start().await;
    create(&stack, json!({ "product_id": 2, "name": "Lamp", "stock": 20 })).await;
    let browser = Browser::start().await;
    browser.show_as("light", 1280, 800).await;
    open_wall(&browser, &stack, "").await;
    a_chosen_sale_stays(&browser).await;
    a_sale_is_followed_to_its_end(&browser, &stack).await;
    silence_fades_and_says_since_when(&browser, &stack).await;
    assert_no_complaints(&browser).await;
    thai(&browser, &stack).await;
    assert_eq!(browser.run(DECISIONS).await, json!([]));
    assert_no_complaints(&browser).await;
    drop(browser);
    stack.shutdown().await;
}

async fn a_chosen_sale_stays(browser: &Browser) {
    browser.click_on("[data-sale=\"2\"]").await;
    assert_eq!(browser.text("hero-name").await, "Lamp");
    assert_eq!(browser.text("hero-why").await, "Chosen");
    let pressed = "document.querySelector('[data-sale=\"2\"]').getAttribute('aria-pressed')";
    assert_eq!(browser.value(pressed).await, json!("true"));
    browser.click("hero-follow").await;
    assert_eq!(browser.text("hero-name").await, "iPhone 15 Pro");
    browser.click_on("[data-sale=\"2\"]").await;
}

async fn a_sale_is_followed_to_its_end(browser: &Browser, stack: &Stack) {
    assert_eq!(post(stack.http(), "/products/2/pause").await.status, 200);
    happened(browser, "paused", "Lamp").await;
    shows(browser, "end-label", |text| text == "Paused").await;
    assert_eq!(post(stack.http(), "/products/2/resume").await.status, 200);
    happened(browser, "resumed", "Lamp").await;
    for user in 1..=20 {
        let body = format!(r#"{{"user_id":{user},"product_id":2}}"#);
        assert_eq!(post_buy(stack.http(), body).await.unwrap().status, 202);
    }
    happened(browser, "sold_out", "Lamp").await;
    shows(browser, "hero-stock", |text| text == "0").await;
    shows(browser, "end-label", |text| text == "Sold out").await;
    let spoken = browser.text("announcer").await;
    assert!(spoken.ends_with("Lamp: nothing left."), "{spoken}");
    let lines = browser.value("document.getElementById('announcer').childElementCount").await;
    assert!(lines.as_u64().unwrap() <= 3, "{lines}: thresholds alone are spoken");
    assert_eq!(post(stack.http(), "/products/2/close").await.status, 200);
    happened(browser, "ended", "Lamp").await;
}

async fn silence_fades_and_says_since_when(browser: &Browser, stack: &Stack) {
    // Nobody closes a connection: only the silence tells.
    for edge in EDGES {
        stack.kill(edge, "STOP").await.unwrap();
    }
    for part in [".hero", ".path", ".tiles"] {
        let fresh =
            format!("document.querySelector('{part}').closest('[data-part]').dataset.fresh");
        wait_until("the figures fade", || async { browser.value(&fresh).await == json!("false") })
            .await;
    }
    assert_eq!(attribute(browser, "#main", "view").await, "silent");
    let strip = browser.text("strip").await;
    assert!(strip.starts_with("No figures since "), "{strip}");
    assert_eq!(attribute(browser, "#connection", "state").await, "silent");
    assert_eq!(browser.text("connection").await, "No figures");
    happened(browser, "silent", "Figures stopped coming").await;
    let tone = attribute(browser, &process("edge-1"), "tone").await;
    assert_eq!(tone, "good", "it is the wall that hears nothing");
    for edge in EDGES {
        stack.kill(edge, "CONT").await.unwrap();
    }
    happened(browser, "heard_again", "Figures again after").await;
    becomes(browser, "#main", "view", "live").await;
}

async fn thai(browser: &Browser, stack: &Stack) {
    browser.show_as("dark", 390, 844).await;
    open_wall(browser, stack, "?lang=th").await;
    shows(browser, "pause", |text| text == "หยุดภาพ").await;
    shows(browser, "hero-why", |text| text == "ขายเร็วที่สุด").await;
    shows(browser, "hero-of", |text| text == "เหลือ จากทั้งหมด 1,000,000").await;
    let keys = "[...document.querySelectorAll('main *')].filter((element) => \
        /^(hero|end|path|tile|log|event|strip|answer|state|unit)\\.[a-z_.]+$/ \
        .test(element.textContent)).length";
    assert_eq!(browser.value(keys).await, json!(0), "every text is there");
    browser.screenshot("wall-thai").await;
    let page = "document.documentElement";
    let sideways = format!("{page}.scrollWidth - {page}.clientWidth");
    assert_eq!(browser.value(&sideways).await, json!(0), "scrolls sideways");
}
