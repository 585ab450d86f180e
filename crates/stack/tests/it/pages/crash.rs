//! A page whose servers crash or fall silent never calls an old number live.

use serde_json::json;
use stack::{Stack, StackOptions};

use super::{Card, is_live, open_shop};
use crate::browser::Browser;
use crate::wait::{wait_running, wait_until};

const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// Remembers every connection state the page goes through.
const RECORD_STATES: &str = "window.states = []; \
    const shown = document.getElementById('connection'); \
    new MutationObserver(() => window.states.push(shown.dataset.state)) \
    .observe(shown, { attributes: true, attributeFilter: ['data-state'] });";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_seen_and_passes_and_silence_is_never_called_live() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let browser = Browser::start().await;
    open_shop(&browser, &stack).await;
    Card::of(&browser, 1).wait("number", "1,000").await;
    browser.client.execute(RECORD_STATES, Vec::new()).await.unwrap();
    for edge in EDGES {
        stack.kill(edge, "KILL").await.unwrap();
    }
    for edge in EDGES {
        wait_running(&stack, edge).await;
    }
    // In between it may have come back to an edge that was killed next.
    let came_back = "window.states[0] === 'stale' && window.states.at(-1) === 'live'";
    wait_until("the page went stale and came back", || async {
        browser.value(came_back).await == json!(true)
    })
    .await;
    assert_eq!(Card::of(&browser, 1).text("number").await, "1,000");

    stack.stop("nginx").await.unwrap();
    wait_until("the page is stale", || connection_is(&browser, "Reconnecting…")).await;
    let faded = "document.getElementById('sales').dataset.fresh === 'false' \
                 && !document.getElementById('as-of').hidden";
    assert_eq!(browser.value(faded).await, json!(true), "the number is not shown as live");
    wait_until("the page says it is offline", || connection_is(&browser, "Offline, trying again"))
        .await;
    stack.resume("nginx").await.unwrap();
    wait_until("the page is live again", || is_live(&browser)).await;
    drop(browser);
    stack.shutdown().await;
}

async fn connection_is(browser: &Browser, text: &str) -> bool {
    browser.text("connection").await == text
}
