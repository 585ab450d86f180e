//! What an operator is told when it is not known whether something was done, and that asking again
//! does it once.

use serde_json::json;
use stack::StackOptions;

use super::Desk;
use crate::admin::TOKEN;
use crate::browser::Browser;
use crate::buyer::Ledger;
use crate::pages::stack;
use crate::wait::wait_until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adjustment_whose_outcome_is_unknown_is_asked_again_under_its_key() {
    let stack = stack(StackOptions { edges: 1, ..StackOptions::default() }).await;
    let (browser, ledger) = (Browser::start().await, Ledger::open(&stack).await);
    let desk = Desk::signed_in(&browser, &stack).await;
    // A frozen edge takes the request and does not answer: what it will do once thawed is unknown.
    stack.kill("edge-1", "STOP").await.unwrap();
    desk.act(1, "adjust").await;
    desk.fill_dialog(&[("way", "more"), ("delta", "7"), ("reason", "a delivery")]).await;
    desk.submit().await;
    let busy = "document.querySelectorAll('dialog button:enabled').length";
    assert_eq!(browser.value(busy).await, json!(0), "nothing is sent twice");
    desk.says("dialog .notice", "It is not known yet whether this was done.").await;
    desk.looks("unknown").await;
    let fixed = "document.querySelector('dialog [name=delta]').disabled";
    assert_eq!(browser.value(fixed).await, json!(true), "only the same may be asked again");
    stack.kill("edge-1", "CONT").await.unwrap();

    // The key outlives the page.
    browser.client.refresh().await.unwrap();
    desk.there("#sign-in").await;
    desk.sign_in(TOKEN).await;
    desk.there("[data-product=\"1\"] [data-action=pending]").await;
    desk.says("[data-product=\"1\"]", "Not known yet whether it was done: 7 units added").await;
    desk.act(1, "pending").await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(1, "7 units added (a delivery).").await;
    assert_eq!(total(&ledger).await, 1007, "once");
    a_lost_answer_is_found_again(&desk).await;
    assert_eq!(total(&ledger).await, 1012, "once");
    a_change_redis_does_not_have_is_said(&desk).await;
    nothing_was_changed_is_told_apart(&desk).await;
    browser.complaints().await;
    drop(browser);
    stack.shutdown().await;
}

/// The answer to the first try is lost on its way; the page asks for other things by itself.
async fn a_lost_answer_is_found_again(desk: &Desk<'_>) {
    let lose = "const real = window.fetch; window.fetch = async (url, options) => { \
                if (!String(url).endsWith('/adjustments')) return real(url, options); \
                window.fetch = real; await real(url, options); \
                throw new TypeError('lost'); }; true";
    desk.act(1, "adjust").await;
    desk.fill_dialog(&[("way", "more"), ("delta", "5"), ("reason", "another")]).await;
    desk.browser.run(lose).await;
    desk.submit().await;
    desk.says("dialog .notice", "It is not known yet whether this was done.").await;
    wait_until("it may be asked again", || async {
        let button = "document.querySelector('dialog [type=submit]').disabled";
        desk.browser.value(button).await == json!(false)
    })
    .await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(1, "An earlier try had done it already.").await;
}

async fn total(ledger: &Ledger) -> i64 {
    ledger.number("SELECT total FROM products WHERE id = 1").await
}

/// PostgreSQL has it, and buyers do not see it yet.
async fn a_change_redis_does_not_have_is_said(desk: &Desk<'_>) {
    desk.stack.stop("redis").await.unwrap();
    desk.act(1, "pause").await;
    let waiting = "[data-product=\"1\"] .notice:not([hidden])";
    desk.says(waiting, "Recorded; not yet in Redis.").await;
    desk.says("#news", "Paused. Recorded; not yet in Redis.").await;
    desk.act(1, "again").await;
    desk.says("#news li", "iPhone 15 Pro: Recorded; not yet in Redis.").await;
    desk.looks("waiting").await;
    desk.stack.resume("redis").await.unwrap();
    desk.says("[data-product=\"1\"] .badge", "Paused").await;
    wait_until("it is no longer said", || async { desk.browser.text_of(waiting).await.is_empty() })
        .await;
    desk.act(1, "resume").await;
    desk.told(1, "Resumed.").await;
}

/// Without PostgreSQL nothing is changed, and a network that is away has sent nothing.
async fn nothing_was_changed_is_told_apart(desk: &Desk<'_>) {
    desk.stack.stop("postgres").await.unwrap();
    desk.act(1, "pause").await;
    desk.told(1, "Nothing was changed: a server is away or busy.").await;
    desk.browser.set_offline(true).await;
    desk.act(1, "pause").await;
    desk.told(1, "This machine is offline. Nothing was sent.").await;
    desk.browser.set_offline(false).await;
}
