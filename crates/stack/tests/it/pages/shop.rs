//! The shop: live numbers, a purchase, several sales, holds, a countdown on server time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::contract::rfc3339;
use serde_json::json;
use stack::{Stack, StackOptions};

use super::{Card, assert_no_complaints, buyer, create, is_live, open_shop, stack};
use crate::admin::Ask;
use crate::browser::Browser;
use crate::buyer::{Ledger, buy, post_buy};
use crate::wait::wait_until;

/// An hour ahead: a visitor's clock that is wrong.
const WRONG_CLOCK: &str = "const real = Date.now; Date.now = () => real() + 3600_000;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_watch_the_stock_fall_and_buy() {
    let stack = stack(StackOptions::default()).await;
    let browser = Browser::start().await;
    browser.show_as("light", 1280, 1000).await;
    open_shop(&browser, &stack).await;
    let phone = Card::of(&browser, 1);
    assert_eq!(phone.text("name").await, "iPhone 15 Pro");
    assert_eq!(phone.text("price").await, "฿41,900");
    phone.wait("number", "1,000").await;

    for user in 1..=137 {
        assert_eq!(buy(stack.http(), user).await.unwrap().status, 202);
    }
    phone.wait("number", "863").await;
    wait_until("the chart's figures follow", || async {
        browser.text("sold").await == "137" && browser.text("pending").await == "0"
    })
    .await;
    phone.buy().await;
    phone.outcome("Confirmed. It is yours. You were number 138.").await;
    assert_eq!(phone.text("buy").await, "Yours");
    phone.wait("number", "862").await;
    assert_no_complaints(&browser).await;

    browser.client.refresh().await.unwrap();
    phone_is_known_after_a_reload(&phone).await;
    several_sales_are_bought_apart(&stack, &browser).await;
    stock_is_told_as_it_passes_a_half_and_nothing(&stack, &browser).await;
    assert_no_complaints(&browser).await;
    drop(browser);
    stack.shutdown().await;
}

async fn phone_is_known_after_a_reload(phone: &Card<'_>) {
    phone.outcome("Confirmed. It is yours.").await;
    assert_eq!(phone.text("buy").await, "Yours");
}

/// A sale made while the page is open appears; units are chosen; one that cannot be had is refused.
async fn several_sales_are_bought_apart(stack: &Stack, browser: &Browser) {
    create(stack, json!({ "product_id": 2, "name": "Pixel 10", "stock": 4, "limit": 3 })).await;
    let pixel = Card::of(browser, 2);
    let there = "document.querySelectorAll('[data-product=\"2\"]').length";
    wait_until("a new sale appears", || async { browser.value(there).await == json!(1) }).await;
    pixel.wait("number", "4").await;
    browser.choose("#quantity-2", "3").await;
    pixel.buy().await;
    pixel.outcome("Confirmed. It is yours.").await;
    pixel.wait("number", "1").await;
    assert_eq!(Card::of(browser, 1).text("buy").await, "Yours", "each sale has its own purchase");

    browser.click("new-buyer").await;
    wait_until("somebody else may buy", || pixel.is_pressable()).await;
    let most = "document.getElementById('quantity-2').options.length";
    wait_until("no more can be chosen than there are", || async {
        browser.value(most).await == json!(1)
    })
    .await;
}

/// Only what a visitor must hear is told to a screen reader.
async fn stock_is_told_as_it_passes_a_half_and_nothing(stack: &Stack, browser: &Browser) {
    create(stack, json!({ "product_id": 3, "name": "Tea set", "stock": 4 })).await;
    let tea = Card::of(browser, 3);
    let there = "document.querySelector('[data-product=\"3\"] .number')?.textContent ?? ''";
    wait_until("the tea is there", || async { browser.value(there).await == json!("4") }).await;
    let told = "document.getElementById('announcer').textContent";
    for (users, left, words) in
        [(1..=1, "3", ""), (2..=2, "2", "50 percent left"), (3..=4, "0", "all units are sold")]
    {
        for user in users {
            wait_until("the tea is sold", || async {
                let body = format!(r#"{{"user_id":{user},"product_id":3}}"#);
                let answer = post_buy(stack.http(), body).await.unwrap();
                // A try that was told 503 may have bought.
                answer.status == 202 || answer.text("code") == "ALREADY_PURCHASED"
            })
            .await;
        }
        tea.wait("number", left).await;
        let heard = browser.value(told).await.as_str().unwrap().to_owned();
        assert!(heard.contains(words), "{left} left: {heard}");
        assert_eq!(heard.contains("Tea set"), !words.is_empty(), "{left} left: {heard}");
    }
    assert_eq!(tea.text("buy").await, "Sold out");
    assert!(!tea.is_pressable().await);
}

/// So long from now, as a sale says when it opens.
fn ahead(time: Duration) -> String {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
    rfc3339::from_ms(i64::try_from(then.as_millis()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_countdown_runs_on_server_time_and_a_held_order_is_paid_or_given_back() {
    let stack = stack(StackOptions { edges: 1, ..StackOptions::default() }).await;
    let in_an_hour = ahead(Duration::from_secs(3600));
    let sale = json!({
        "product_id": 2, "name": "Pixel 10", "hold_seconds": 600, "opens_at": in_an_hour,
    });
    create(&stack, sale).await;
    let browser = Browser::start().await;
    browser.before_every_page(WRONG_CLOCK).await;
    open_shop(&browser, &stack).await;
    let pixel = Card::of(&browser, 2);
    pixel.wait("window", "Opens in 5").await;
    pixel.wait("badge", "Starts soon").await;
    pixel.wait("buy", "Not yet").await;
    assert!(!pixel.is_pressable().await);
    let soon = json!({ "opens_at": ahead(Duration::from_secs(3)) }).to_string();
    let answer = Ask::new("PATCH", "/products/2", &soon).send(stack.http()).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_until("the sale opens by itself", || pixel.is_pressable()).await;

    pixel.buy().await;
    pixel.outcome("Held for you until").await;
    pixel.wait("left", "9:").await;
    pixel.click("cancel").await;
    pixel.outcome("Given back. You may buy again.").await;
    pixel.buy().await;
    pixel.outcome("Held for you until").await;
    browser.client.refresh().await.unwrap();
    wait_until("the page is live", || is_live(&browser)).await;
    pixel.outcome("Held for you until").await;
    pixel.click("pay").await;
    pixel.outcome("Paid. It is yours.").await;
    assert_no_complaints(&browser).await;

    let ledger = Ledger::open(&stack).await;
    let mine = buyer(&browser).await;
    let paid = format!("SELECT count(*) FROM orders WHERE user_id = {mine} AND status = 'paid'");
    assert_eq!(ledger.number(&paid).await, 1);
    drop(browser);
    stack.shutdown().await;
}
