//! The page as people meet it, in a real browser: live numbers, a purchase, a crash, the dark.

use std::time::Duration;

use serde_json::json;
use stack::{Stack, StackOptions};

use crate::browser::Browser;
use crate::buyer::{Ledger, buy};
use crate::wait::wait_until;

/// Remembers every connection state the page goes through.
const RECORD_STATES: &str = "window.states = []; \
    const shown = document.getElementById('connection'); \
    new MutationObserver(() => window.states.push(shown.dataset.state)) \
    .observe(shown, { attributes: true });";

async fn is_live(browser: &Browser) -> bool {
    browser.text("connection-text").await == "Live"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_watch_the_stock_fall_buy_and_see_a_crash_for_what_it_is() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let browser = Browser::start().await;
    browser.show_as("light", 1280, 1000).await;
    browser.client.goto(stack.http()).await.unwrap();
    wait_until("the page is live", || is_live(&browser)).await;
    assert_eq!(browser.text("product-name").await, "iPhone 15 Pro");
    wait_until("the stock is shown", || async { browser.text("stock").await == "1,000" }).await;

    for user in 1..=137 {
        assert_eq!(buy(stack.http(), user).await.unwrap().status, 202);
    }
    wait_until("the number fell", || async { browser.text("stock").await == "863" }).await;
    assert_eq!(browser.text("sold").await, "137");

    browser.click("buy").await;
    wait_until("the order is confirmed", || async {
        browser.text("outcome").await == "Confirmed. It is yours. You were number 138."
    })
    .await;
    assert_eq!(browser.text("buy").await, "Yours");
    wait_until("the number fell again", || async { browser.text("stock").await == "862" }).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    looks(&browser).await;

    browser.client.refresh().await.unwrap();
    wait_until("a reload knows the order", || async {
        browser.text("outcome").await.starts_with("Already yours")
    })
    .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    a_crash_is_seen_and_passes(&stack, &browser).await;
    silence_is_never_called_live(&stack, &browser).await;
    a_held_order_is_paid_or_given_back(&stack, &browser).await;
    assert_eq!(browser.value("document.getElementById('hold').hidden").await, json!(true));
    drop(browser);
    stack.shutdown().await;
}

async fn looks(browser: &Browser) {
    // Some seconds of history make the chart a chart.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (name, scheme, width, height) in [
        ("light", "light", 1280, 1000),
        ("dark", "dark", 1280, 1000),
        ("mobile", "light", 390, 1180),
    ] {
        browser.show_as(scheme, width, height).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        browser.screenshot(name).await;
        let overflow =
            "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(overflow).await, json!(0), "{name}: scrolls sideways");
    }
    browser.show_as("light", 1280, 1000).await;
}

async fn a_crash_is_seen_and_passes(stack: &Stack, browser: &Browser) {
    wait_until("the page is live", || is_live(browser)).await;
    browser.client.execute(RECORD_STATES, Vec::new()).await.unwrap();
    for edge in ["edge-1", "edge-2", "edge-3"] {
        stack.kill(edge, "KILL").await.unwrap();
    }
    wait_until("the page went stale and came back", || async {
        browser.value("window.states").await == json!(["stale", "live"])
    })
    .await;
    assert_eq!(browser.text("stock").await, "862");
}

async fn silence_is_never_called_live(stack: &Stack, browser: &Browser) {
    stack.stop("nginx").await.unwrap();
    wait_until("the page is stale", || async {
        browser.text("connection-text").await == "Reconnecting…"
    })
    .await;
    let faded = "document.getElementById('stock-line').dataset.fresh === 'false' \
                 && !document.getElementById('as-of').hidden";
    assert_eq!(browser.value(faded).await, json!(true), "the number is not shown as live");
    wait_until("the page says it is offline", || async {
        browser.text("connection-text").await.starts_with("Offline")
    })
    .await;
    stack.resume("nginx").await.unwrap();
    wait_until("the page is live again", || is_live(browser)).await;
}

async fn a_held_order_is_paid_or_given_back(stack: &Stack, browser: &Browser) {
    Ledger::open(stack).await.hold(3600).await;
    for (press, outcome) in [("cancel", "Given back."), ("pay", "Paid. It is yours.")] {
        browser.click("new-buyer").await;
        wait_until("the button may be pressed", || async {
            browser.value("document.getElementById('buy').disabled").await == json!(false)
        })
        .await;
        browser.click("buy").await;
        wait_until("the order is held", || async {
            browser.text("outcome").await.starts_with("Held for you until")
        })
        .await;
        browser.click(press).await;
        wait_until(outcome, || async { browser.text("outcome").await.starts_with(outcome) }).await;
    }
}
