//! Who is let in, why not, and when somebody is no longer.

use serde_json::json;
use stack::{Stack, StackOptions};

use super::Desk;
use crate::admin::TOKEN;
use crate::browser::Browser;
use crate::pages::stack;
use crate::wait::wait_until;

/// What is typed, and what is read of it.
const PRICES: &str = "\
    const { parsePrice, priceText, parseWhole } = await import('/js/admin/words.js'); \
    return [['41900', 2], ['41,900.5', 2], ['0.05', 2], ['49980', 0], ['1.234', 3], ['1,5', 2], \
    ['1.234', 2], ['49980.0', 0], ['-1', 2], ['1.', 2], ['', 2], ['1e3', 2], \
    ['90071992547409.92', 2]] \
    .map(([text, digits]) => parsePrice(text, digits)).concat([priceText(5, 2), priceText(5, 0), \
    parseWhole('1,000', 1, 1000), parseWhole('1001', 1, 1000), parseWhole('10,00', 1, 1000)])";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_let_in_is_told_why() {
    let options = StackOptions { edges: 1, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let browser = Browser::start().await;
    let desk = Desk::open(&browser, &stack).await;
    desk.sign_in(TOKEN).await;
    desk.says(".signin .notice", "This shop has no admin API").await;
    let read = json!([
        4_190_000, 4_190_050, 5, 49_980, 1234, null, null, null, null, null, null, null, null,
        "0.05", "5", 1000, null, null
    ]);
    assert_eq!(browser.run(PRICES).await, read);
    stack.stop("edge-1").await.unwrap();
    browser.click("sign-in").await;
    // Each try hides what the one before it said, and leaves it there.
    let shown = ".signin .notice:not([hidden])";
    desk.says(shown, "The shop does not answer").await;
    stack.stop("nginx").await.unwrap();
    browser.click("sign-in").await;
    desk.says(shown, "The shop does not answer").await;
    assert_eq!(browser.value("document.querySelector('.sale')").await, json!(null));
    drop(browser);
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_tried_kept_in_memory_only_and_forgotten() {
    let stack = stack(StackOptions { edges: 1, ..StackOptions::default() }).await;
    let browser = Browser::start().await;
    let desk = Desk::open(&browser, &stack).await;
    desk.looks("sign-in").await;
    assert_eq!(desk.complaints().await, Vec::<String>::new());
    for wrong in ["a-token-for-test", "โทเค็น"] {
        desk.sign_in(wrong).await;
        desk.says("[data-field=token] .wrong", "This token is not right.").await;
        let invalid = "document.querySelector('[name=token]').ariaInvalid";
        assert_eq!(browser.value(invalid).await, json!("true"));
    }
    desk.sign_in(TOKEN).await;
    desk.there("[data-product=\"1\"]").await;
    desk.token_is_nowhere().await;
    browser.click("sign-out").await;
    desk.says(".signin .notice", "You are signed out").await;
    browser.client.refresh().await.unwrap();
    desk.there("#sign-in").await;
    desk.sign_in(TOKEN).await;
    desk.there("[data-product=\"1\"]").await;
    nobody_at_the_desk_is_warned_and_locked_out(&desk).await;
    assert_eq!(desk.complaints().await, Vec::<String>::new());
    drop(browser);
    stack.shutdown().await;
}

async fn nobody_at_the_desk_is_warned_and_locked_out(desk: &Desk<'_>) {
    let sit_still = |minutes: &str| {
        format!("(Date.real ??= Date.now, Date.now = () => Date.real() + {minutes} * 60_000)")
    };
    desk.browser.value(&sit_still("14.5")).await;
    desk.says("#idle-warning", "you will be signed out within a minute").await;
    // Any key is a sign of life.
    desk.browser.press_key("Tab").await;
    let warned = "document.getElementById('idle-warning') !== null";
    wait_until("the warning is gone", || async {
        desk.browser.value(warned).await == json!(false)
    })
    .await;
    desk.browser.value(&sit_still("30")).await;
    desk.says(".signin .notice", "Locked, as nothing was done for 15 minutes").await;
    assert_eq!(desk.browser.value("document.querySelector('.sale')").await, json!(null));
}
