//! Every page for everyone: axe-core's rules, the keyboard, both languages, dark, narrow.

use serde_json::{Value, json};
use stack::{Stack, StackOptions};

use super::{Card, assert_no_complaints, create, open_shop, stack};
use crate::browser::Browser;
use crate::buyer::buy;
use crate::wait::wait_until;

/// axe-core as it is published (see the licence beside it).
const AXE: &str = include_str!("../../vendor/axe-core-4.11.4/axe.min.js");
/// What WCAG 2.2 AA asks, and good practice beyond it.
const RULES: &str = "const found = await axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', \
    'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], \
    resultTypes: ['violations'], preload: false }); \
    return found.violations.map(({ id, impact, nodes }) => \
    `${impact} ${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`);";
const SIZES: [(&str, &str, u32, u32); 3] =
    [("light", "light", 1280, 1000), ("dark", "dark", 1280, 1000), ("mobile", "light", 390, 1180)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_in_every_colour_size_and_language() {
    let stack = stack(StackOptions { edges: 1, ..StackOptions::default() }).await;
    for user in 1..=500 {
        assert_eq!(buy(stack.http(), user).await.unwrap().status, 202);
    }
    let browser = Browser::start().await;
    browser.show_as("light", 1280, 1000).await;
    open_shop(&browser, &stack).await;
    Card::of(&browser, 1).buy().await;
    Card::of(&browser, 1).outcome("Confirmed.").await;
    check_everywhere(&browser, "shop").await;
    create(&stack, json!({ "product_id": 2, "name": "Later", "opens_at": "2099-12-01T05:00:00Z" }))
        .await;
    create(&stack, json!({ "product_id": 3, "name": "Held", "limit": 3, "hold_seconds": 600 }))
        .await;
    open_shop(&browser, &stack).await;
    Card::of(&browser, 3).buy().await;
    Card::of(&browser, 3).outcome("Held for you").await;
    check_everywhere(&browser, "sales").await;
    thai_is_chosen_and_kept(&stack, &browser).await;
    buying_needs_no_mouse(&browser).await;
    motion_stops_where_less_is_asked_for(&browser).await;
    assert_no_complaints(&browser).await;
    drop(browser);
    stack.shutdown().await;
}

/// No serious finding, nothing that scrolls sideways; a picture is kept of each.
async fn check_everywhere(browser: &Browser, page: &str) {
    let old = "performance.now() > 2_000";
    wait_until("some seconds of history make the chart a chart", || async {
        browser.value(old).await == json!(true)
    })
    .await;
    for (name, scheme, width, height) in SIZES {
        browser.show_as(scheme, width, height).await;
        browser.screenshot(&format!("{page}-{name}")).await;
        let overflow =
            "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(overflow).await, json!(0), "{page} {name}: scrolls sideways");
        assert_eq!(findings(browser).await, json!([]), "{page} {name}");
    }
    browser.show_as("light", 1280, 1000).await;
}

/// What axe-core finds.
pub(super) async fn findings(browser: &Browser) -> Value {
    browser.client.execute(AXE, Vec::new()).await.unwrap();
    browser.run(RULES).await
}

async fn thai_is_chosen_and_kept(stack: &Stack, browser: &Browser) {
    browser.click_on("[data-language=\"th\"]").await;
    let phone = Card::of(browser, 1);
    wait_until("the page is in Thai", || async {
        browser.value("document.documentElement.lang").await == json!("th")
            && browser.value("document.querySelectorAll('.sale').length").await == json!(3)
    })
    .await;
    phone.outcome("ยืนยันแล้ว เป็นของคุณ").await;
    assert_eq!(phone.text("buy").await, "เป็นของคุณแล้ว");
    assert_eq!(phone.text("price").await, "฿41,900", "Arabic digits");
    let font = "document.fonts.check('16px \"Noto Sans Thai\"', 'ก')";
    wait_until("the Thai font is there", || async { browser.value(font).await == json!(true) })
        .await;
    check_everywhere(browser, "thai").await;
    open_shop(browser, stack).await;
    assert_eq!(browser.value("document.documentElement.lang").await, json!("th"), "remembered");
    browser.click_on("[data-language=\"en\"]").await;
    wait_until("the page is in English", || async {
        browser.value("document.documentElement.lang").await == json!("en")
            && browser.value("document.querySelectorAll('.sale').length").await == json!(3)
    })
    .await;
}

/// Tab reaches Buy, the focus is seen, Enter presses it.
async fn buying_needs_no_mouse(browser: &Browser) {
    browser.click("new-buyer").await;
    let phone = Card::of(browser, 1);
    wait_until("Buy may be pressed", || phone.is_pressable()).await;
    browser.value("(document.activeElement.blur(), document.getElementById('main').focus())").await;
    let focused = "document.activeElement.closest('[data-product=\"1\"]') !== null \
                   && document.activeElement.classList.contains('buy')";
    let mut tabs = 0;
    while browser.value(focused).await != json!(true) {
        tabs += 1;
        assert!(tabs < 30, "Tab does not reach Buy");
        browser.press_key("Tab").await;
    }
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.value(outline).await, json!("solid"), "the focus is seen");
    browser.press_key("Enter").await;
    phone.outcome("Confirmed. It is yours.").await;
}

async fn motion_stops_where_less_is_asked_for(browser: &Browser) {
    let motion = "[getComputedStyle(document.getElementById('connection'), '::before') \
                  .animationName, getComputedStyle(document.querySelector('.sale .meter > i')) \
                  .transitionDuration]";
    for (asked, moves) in
        [("no-preference", json!(["breathe", "0.25s"])), ("reduce", json!(["none", "0s"]))]
    {
        let media = json!({ "features": [{ "name": "prefers-reduced-motion", "value": asked }] });
        browser.devtools("Emulation.setEmulatedMedia", media).await;
        assert_eq!(browser.value(motion).await, moves, "{asked}");
    }
}
