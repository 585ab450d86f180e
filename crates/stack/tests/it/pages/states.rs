//! What a buyer is told while a press is under way, and that it never buys twice.

use std::time::Duration;

use serde_json::json;
use stack::{Limits, Stack, StackOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Card, assert_no_complaints, buyer, create, is_live, open_shop, stack};
use crate::browser::Browser;
use crate::buyer::{Ledger, buy, get, post_buy};
use crate::wait::wait_until;

/// Every text the outcome of product 1 goes through.
const RECORD: &str = "window.said = []; \
    const said = document.querySelector('[data-product=\"1\"] .outcome'); \
    new MutationObserver(() => window.said.push(said.textContent)) \
    .observe(said, { childList: true, characterData: true, subtree: true });";

/// What the page says when it sends a press again.
const SENT_AGAIN: &str = "Asking again, with the same key";

/// Sends the press of product 1 again, as it is remembered: a replay, if it was sent so.
const ASK_AGAIN: &str = "const press = JSON.parse(localStorage.getItem('flashsale.order.1')); \
    const answer = await fetch('/api/buy', { method: 'POST', \
    headers: { 'content-type': 'application/json', 'idempotency-key': press.key }, \
    body: JSON.stringify({ user_id: press.buyer, product_id: 1, quantity: press.quantity }) }); \
    return [answer.status, (await answer.json()).replayed ?? null];";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_is_kept_over_reloads_lost_answers_and_lost_connections() {
    let stack = stack(StackOptions { edges: 1, ..StackOptions::default() }).await;
    let browser = Browser::start().await;
    open_shop(&browser, &stack).await;
    a_reload_resumes_a_queued_order(&stack, &browser).await;
    a_reload_resumes_a_press_without_an_answer(&stack, &browser).await;
    assert_no_complaints(&browser).await;
    without_a_network_the_same_key_is_tried_again(&stack, &browser).await;
    a_shop_that_is_away_is_asked_again(&stack, &browser).await;
    // The browser itself reports each request that failed.
    browser.complaints().await;
    someone_who_has_an_order_is_told_so(&stack, &browser).await;
    browser.complaints().await;
    sold_out_between_the_frame_and_the_press(&stack, &browser).await;
    drop(browser);
    stack.shutdown().await;
}

async fn orders_of(stack: &Stack, buyer: u64) -> i64 {
    let query = format!("SELECT count(*) FROM orders WHERE user_id = {buyer} AND product_id = 1");
    Ledger::open(stack).await.number(&query).await
}

async fn become_someone_else(browser: &Browser) {
    browser.click("new-buyer").await;
    let phone = Card::of(browser, 1);
    wait_until("Buy may be pressed", || phone.is_pressable()).await;
}

/// Nothing is settled while there is no settler.
async fn a_reload_resumes_a_queued_order(stack: &Stack, browser: &Browser) {
    let phone = Card::of(browser, 1);
    stack.stop("settler-1").await.unwrap();
    phone.buy().await;
    phone.outcome("Yours, and being recorded: you are number 1 in line.").await;
    assert_eq!(phone.text("buy").await, "Queued…");
    browser.client.refresh().await.unwrap();
    wait_until("the page is live", || is_live(browser)).await;
    phone.outcome("Yours, and being recorded: you are number 1 in line.").await;
    stack.resume("settler-1").await.unwrap();
    phone.outcome("Confirmed. It is yours. You were number 1.").await;
    assert_eq!(orders_of(stack, buyer(browser).await).await, 1);
}

/// The edge stands still, so the answer never comes; the page is loaded again and knows the key.
async fn a_reload_resumes_a_press_without_an_answer(stack: &Stack, browser: &Browser) {
    become_someone_else(browser).await;
    let phone = Card::of(browser, 1);
    let key = "JSON.parse(localStorage.getItem('flashsale.order.1')).key";
    stack.kill("edge-1", "STOP").await.unwrap();
    phone.click("buy").await;
    phone.outcome("Sending your order").await;
    let before = browser.value(key).await;
    browser.client.refresh().await.unwrap();
    stack.kill("edge-1", "CONT").await.unwrap();
    phone.outcome("Confirmed. It is yours.").await;
    assert_eq!(browser.value(key).await, before, "the key of the press");
    assert_eq!(browser.run(ASK_AGAIN).await, json!([202, true]), "sent under another key");
    assert_eq!(orders_of(stack, buyer(browser).await).await, 1);
}

async fn without_a_network_the_same_key_is_tried_again(stack: &Stack, browser: &Browser) {
    become_someone_else(browser).await;
    let phone = Card::of(browser, 1);
    browser.client.execute(RECORD, Vec::new()).await.unwrap();
    browser.set_offline(true).await;
    phone.click("buy").await;
    phone.outcome("Connection lost, retrying with the same key.").await;
    assert_eq!(phone.text("buy").await, "One moment…");
    browser.set_offline(false).await;
    phone.outcome("Confirmed. It is yours.").await;
    let said = browser.value("window.said").await.to_string();
    assert!(said.contains(SENT_AGAIN), "{said}");
    assert_eq!(orders_of(stack, buyer(browser).await).await, 1);
}

async fn a_shop_that_is_away_is_asked_again(stack: &Stack, browser: &Browser) {
    become_someone_else(browser).await;
    let phone = Card::of(browser, 1);
    browser.client.execute(RECORD, Vec::new()).await.unwrap();
    stack.stop("edge-1").await.unwrap();
    phone.click("buy").await;
    phone.outcome("The shop is busy: asking again in").await;
    stack.resume("edge-1").await.unwrap();
    wait_until("the order is confirmed", || async {
        // An edge may take longer to start than the page asks by itself.
        if phone.text("outcome").await.starts_with("The shop does not answer.") {
            phone.click("buy").await;
        }
        phone.text("outcome").await.starts_with("Confirmed. It is yours.")
    })
    .await;
    let said = browser.value("window.said").await.to_string();
    assert!(said.contains(SENT_AGAIN), "{said}");
    assert_eq!(orders_of(stack, buyer(browser).await).await, 1);
}

/// The same buyer pressed elsewhere.
async fn someone_who_has_an_order_is_told_so(stack: &Stack, browser: &Browser) {
    become_someone_else(browser).await;
    assert_eq!(buy(stack.http(), buyer(browser).await).await.unwrap().status, 202);
    let phone = Card::of(browser, 1);
    phone.buy().await;
    phone.outcome("Already yours: the order is confirmed.").await;
    assert_eq!(phone.text("buy").await, "Yours");
}

/// While nothing is settled the page is not told: reserving raises no revision, and of a revision
/// the edge shows one frame only.
async fn sold_out_between_the_frame_and_the_press(stack: &Stack, browser: &Browser) {
    create(stack, json!({ "product_id": 2, "name": "One", "stock": 1 })).await;
    let one = Card::of(browser, 2);
    wait_until("the sale is there", || one.is_pressable()).await;
    stack.stop("settler-1").await.unwrap();
    let body = r#"{"user_id":1,"product_id":2}"#.to_owned();
    assert_eq!(post_buy(stack.http(), body).await.unwrap().status, 202);
    one.buy().await;
    one.outcome("Sold out. You were not charged.").await;
    stack.resume("settler-1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_presses_too_often_is_told_to_slow_down_and_then_buys() {
    let options = StackOptions { edges: 1, limits: Limits::On, ..StackOptions::default() };
    let stack = stack(options).await;
    let browser = Browser::start().await;
    open_shop(&browser, &stack).await;
    let phone = Card::of(&browser, 1);
    phone.wait("number", "1,000").await;
    browser.client.execute(RECORD, Vec::new()).await.unwrap();
    let flood = tokio::spawn(flood(stack.http().trim_start_matches("http://").to_owned()));
    wait_until("the limit is reached", || async {
        get(stack.http(), "/api/products/1").await.is_some_and(|answer| answer.status == 429)
    })
    .await;
    phone.buy().await;
    // 50 a second pass, and the page's own press may be among them.
    wait_until("the page is told to slow down", || async {
        if phone.text("outcome").await.starts_with("Confirmed") {
            become_someone_else(&browser).await;
            phone.click("buy").await;
        }
        browser.value("window.said").await.to_string().contains("Slow down: trying again in")
    })
    .await;
    flood.abort();
    phone.outcome("Confirmed. It is yours.").await;
    assert_eq!(orders_of(&stack, buyer(&browser).await).await, 1);
    drop(browser);
    stack.shutdown().await;
}

/// Far more than an address may ask for, from the page's own address: 2,000 requests a second.
async fn flood(authority: String) {
    let requests = "GET /api/products/1 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let (mut answers, mut asks) = TcpStream::connect(&authority).await.unwrap().into_split();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let asking = async {
        loop {
            pace.tick().await;
            asks.write_all(requests.as_bytes()).await.unwrap();
        }
    };
    let mut sink = tokio::io::sink();
    tokio::select! {
        () = asking => {}
        read = tokio::io::copy(&mut answers, &mut sink) => drop(read.unwrap()),
    }
}
