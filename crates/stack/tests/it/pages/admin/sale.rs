//! A sale from its creation to its end, its orders, and the books, by mouse and by keyboard.

use serde_json::json;
use stack::StackOptions;

use super::Desk;
use crate::browser::Browser;
use crate::buyer::{Ledger, buy, get, post_buy};
use crate::pages::stack;
use crate::wait::wait_until;

/// Remembers what every change said.
const RECORD_CHANGES: &str = "window.sent = []; const real = window.fetch; \
    window.fetch = (url, options) => { \
    if (options?.method === 'PATCH') window.sent.push(options.body); \
    return real(url, options); };";

async fn code(desk: &Desk<'_>, user: i64) -> String {
    let body = json!({ "user_id": user, "product_id": 2 }).to_string();
    let answer = post_buy(desk.stack.http(), body).await.unwrap();
    if answer.status == 202 { "ACCEPTED".to_owned() } else { answer.text("code").to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_is_run_from_its_creation_to_its_end() {
    let options = StackOptions { edges: 1, ..StackOptions::default() };
    let stack = stack(options).await;
    let browser = Browser::start().await;
    browser.show_as("light", 1280, 900).await;
    browser.live_in("Asia/Bangkok").await;
    browser.before_every_page(RECORD_CHANGES).await;
    let desk = Desk::signed_in(&browser, &stack).await;
    a_sale_is_created(&desk).await;
    it_is_changed(&desk).await;
    stock_is_added_and_taken_out(&desk).await;
    it_is_paused_and_resumed_by_keyboard(&desk).await;
    both_languages_are_spoken(&desk).await;
    desk.looks("sales").await;
    it_may_not_be_reset(&desk).await;
    it_is_closed_for_good(&desk).await;
    desk.token_is_nowhere().await;
    assert_eq!(desk.complaints().await, Vec::<String>::new());
    drop(browser);
    stack.shutdown().await;
}

async fn a_sale_is_created(desk: &Desk<'_>) {
    desk.browser.click("create").await;
    desk.submit().await;
    desk.wrong("name", "Give it a name.").await;
    desk.wrong("stock", "A whole number from 0").await;
    desk.says("dialog .zone", "Asia/Bangkok (GMT+7)").await;
    desk.fill("dialog [name=name]", "Pixel 10").await;
    desk.fill("dialog [name=stock]", "500").await;
    desk.fill_dialog(&[
        ("price_minor", "29,900.50"),
        ("opens_at", "2099-12-01T12:00:00"),
        ("closes_at", "2099-12-01T11:00:00"),
    ])
    .await;
    desk.says("dialog [data-field=price_minor] .hint", "฿29,900.50").await;
    desk.submit().await;
    desk.wrong("closes_at", "It must close after it opens.").await;
    // The server checks, too, and what it finds is said at the field.
    desk.fill_dialog(&[("closes_at", "2099-12-01T18:00:00"), ("name", "Pixel\u{7}10")]).await;
    desk.submit().await;
    desk.wrong("name", "“Name” is not valid. (name must be 1 to 200 characters").await;
    desk.fill_dialog(&[("name", "Pixel 10"), ("product_id", "1")]).await;
    desk.submit().await;
    desk.wrong("product_id", "A product of this number exists.").await;
    desk.looks("create").await;
    desk.fill_dialog(&[("product_id", "2")]).await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(2, "Created as number 2.").await;
    desk.says("[data-product=\"2\"] .badge", "Scheduled").await;
    desk.listed(2, "the sale is listed as it was typed", |sale| {
        sale["price_minor"] == 2_990_050
            && sale["stock"] == 500
            && sale["opens_at"] == "2099-12-01T05:00:00.000Z"
            && sale["closes_at"] == "2099-12-01T11:00:00.000Z"
    })
    .await;
    wait_until("buyers are told it has not begun", || async {
        code(desk, 1).await == "SALE_NOT_STARTED"
    })
    .await;
}

/// What is not touched is not sent: the window would lose its milliseconds otherwise.
async fn it_is_changed(desk: &Desk<'_>) {
    desk.act(2, "change").await;
    desk.submit().await;
    desk.says("dialog .notice", "Nothing is different").await;
    desk.fill_dialog(&[("limit", "3"), ("opens_at", "")]).await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(2, "Changed: Most units a buyer, Opens.").await;
    let body = json!([r#"{"limit":3,"opens_at":null}"#]);
    assert_eq!(desk.browser.value("window.sent").await, body);
    desk.says("[data-product=\"2\"] .badge", "On sale").await;
    let focus = "document.activeElement.dataset.action";
    assert_eq!(desk.browser.value(focus).await, json!("change"), "focus returns");
}

async fn stock_is_added_and_taken_out(desk: &Desk<'_>) {
    desk.act(2, "adjust").await;
    desk.fill_dialog(&[("way", "more"), ("delta", "20"), ("reason", "found in the back")]).await;
    desk.says("dialog [data-field=delta] .hint", "In all 500 → 520").await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(2, "20 units added (found in the back). 520 left of 520.").await;
    desk.act(2, "adjust").await;
    desk.fill_dialog(&[("way", "fewer"), ("delta", "521"), ("reason", "damaged")]).await;
    desk.submit().await;
    desk.wrong("delta", "Only 520 units are free to be taken out.").await;
    desk.looks("adjust").await;
    // Refused for good under its key: the next try has another.
    desk.fill_dialog(&[("delta", "517")]).await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(2, "517 units taken out (damaged). 3 left of 3.").await;
    desk.listed(2, "the stock is listed", |sale| sale["stock"] == 3 && sale["total"] == 3).await;
    assert_eq!(desk.browser.value("sessionStorage.getItem('flashsale.adjustments')").await, "[]");
}

async fn it_is_paused_and_resumed_by_keyboard(desk: &Desk<'_>) {
    wait_until("it sells", || async {
        // A try that was told 503 may have bought.
        ["ACCEPTED", "ALREADY_PURCHASED"].contains(&code(desk, 1).await.as_str())
    })
    .await;
    // A frame of that order that came after the pause would hide what has the focus.
    desk.says("[data-product=\"2\"] .sale-left", "2of 3 left").await;
    desk.browser
        .value("document.querySelector('[data-product=\"2\"] [data-action=pause]').focus()")
        .await;
    desk.browser.press_key("Enter").await;
    desk.told(2, "Paused").await;
    assert_eq!(code(desk, 2).await, "SALE_PAUSED", "from the answer on");
    desk.says("[data-product=\"2\"] .badge", "Paused").await;
    let focus = "document.activeElement.dataset.action";
    wait_until("the opposite has the focus", || async {
        desk.browser.value(focus).await == json!("resume")
    })
    .await;
    desk.browser.press_key("Enter").await;
    desk.told(2, "Resumed.").await;
    assert_eq!(code(desk, 2).await, "ACCEPTED");
    desk.says("[data-product=\"2\"] .sale-left", "1of 3 left").await;
}

/// The language is switched without losing who is signed in.
async fn both_languages_are_spoken(desk: &Desk<'_>) {
    desk.browser.click_on("[data-language=th]").await;
    desk.says("h1", "โต๊ะผู้ดูแล").await;
    desk.told(2, "ขายต่อแล้ว").await;
    desk.says("#news", "Pixel 10: พักแล้ว").await;
    let keys = "const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); \
                const keys = []; \
                for (let text = texts.nextNode(); text; text = texts.nextNode()) \
                if (/^[a-z-]+\\.[a-zA-Z_]+$/.test(text.data)) keys.push(text.data); \
                return keys;";
    assert_eq!(desk.browser.run(keys).await, json!([]), "a text without words shows its key");
    desk.looks("thai").await;
    desk.browser.click_on("[data-language=en]").await;
    desk.says("h1", "Operator’s desk").await;
}

async fn it_may_not_be_reset(desk: &Desk<'_>) {
    desk.act(2, "reset").await;
    desk.fill("dialog [name=typed]", "2").await;
    desk.submit().await;
    desk.says("dialog .notice", "not listed in EDGE_RESET_PRODUCTS").await;
    desk.browser.click_on("dialog .dialog-actions button").await;
    desk.no_dialog().await;
    let shown = "document.querySelector('[data-product=\"2\"] [data-action=reset]').hidden";
    assert_eq!(desk.browser.value(shown).await, json!(true), "it is not offered again");
}

async fn it_is_closed_for_good(desk: &Desk<'_>) {
    desk.act(2, "close").await;
    desk.fill("dialog [name=typed]", "1").await;
    desk.submit().await;
    desk.wrong("typed", "That is not 2 or “Pixel 10”.").await;
    assert_eq!(code(desk, 3).await, "ACCEPTED", "nothing was closed");
    desk.says("[data-product=\"2\"] .sale-left", "0of 3 left").await;
    desk.fill("dialog [name=typed]", "Pixel 10").await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(2, "Closed for good.").await;
    assert_eq!(code(desk, 4).await, "SALE_ENDED");
    desk.says("[data-product=\"2\"] .badge", "Closed for good").await;
    for gone in ["pause", "resume", "change", "close"] {
        let button = format!("document.querySelector('[data-product=\"2\"] [data-action={gone}]')");
        let hidden = format!("{button}.hidden");
        wait_until(&format!("{gone} is gone"), || async {
            desk.browser.value(&hidden).await == json!(true)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_listed_page_by_page_and_the_books_are_seen_to_add_up() {
    let env = [("SETTLER_RECONCILE_MS", "200"), ("EDGE_RESET_PRODUCTS", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = StackOptions { edges: 1, stock: 100, env: env.into(), ..StackOptions::default() };
    let stack = stack(options).await;
    let (browser, ledger) = (Browser::start().await, Ledger::open(&stack).await);
    for user in 1..=60 {
        assert_eq!(buy(stack.http(), user).await.unwrap().status, 202);
    }
    wait_until("all is settled", || async { ledger.orders().await.len() == 60 }).await;
    let desk = Desk::signed_in(&browser, &stack).await;
    orders_come_in_pages(&desk).await;
    the_books_are_green_and_red(&desk, &ledger).await;
    a_reset_deletes_the_orders(&desk).await;
    assert_eq!(desk.complaints().await, Vec::<String>::new());
    drop(browser);
    stack.shutdown().await;
}

/// Buyers on the page that is shown.
async fn buyers(desk: &Desk<'_>) -> Vec<i64> {
    let column = "[...document.querySelectorAll('[data-column=user]')]\
                  .map((cell) => Number(cell.textContent))";
    let shown = desk.browser.value(column).await;
    shown.as_array().unwrap().iter().map(|user| user.as_i64().unwrap()).collect()
}

async fn orders_come_in_pages(desk: &Desk<'_>) {
    desk.act(1, "orders").await;
    desk.says("#orders-where", "Page 1: 25 orders").await;
    assert_eq!(buyers(desk).await, (1..=25).collect::<Vec<_>>(), "in order of arrival");
    desk.looks("orders").await;
    desk.browser.click("next-page").await;
    desk.says("#orders-where", "Page 2: 25 orders").await;
    desk.browser.click("next-page").await;
    desk.says("#orders-where", "Page 3: 10 orders").await;
    assert_eq!(buyers(desk).await, (51..=60).collect::<Vec<_>>());
    let next = "document.getElementById('next-page').disabled";
    assert_eq!(desk.browser.value(next).await, json!(true), "there is no page after the last");
    desk.browser.click("previous-page").await;
    desk.says("#orders-where", "Page 2: 25 orders").await;
    desk.browser.choose("[name=limit]", "100").await;
    desk.says("#orders-where", "Page 1: 60 orders").await;
    let link = "document.querySelector('.reservation a').getAttribute('href')";
    let link = desk.browser.value(link).await;
    let order = get(desk.stack.http(), link.as_str().unwrap()).await.unwrap();
    assert_eq!((&order.body["user_id"], &order.body["status"]), (&json!(1), &json!("confirmed")));
    let csv = "const { csvOf } = await import('/js/admin/orders-csv.js'); \
               const orders = [{ user_id: '9007199254740993', reason: '=a \"b\"' }]; \
               return csvOf(orders).split('\\r\\n')[1]";
    let row = r#",,9007199254740993,,,"'=a ""b""",,,,"#;
    assert_eq!(desk.browser.run(csv).await, json!(row));
    // Saving is nothing the policy of the page minds.
    desk.browser.click("orders-csv").await;
    desk.browser.choose("[name=status]", "rejected").await;
    desk.says(".orders", "There are no orders like that.").await;
}

async fn the_books_are_green_and_red(desk: &Desk<'_>, ledger: &Ledger) {
    desk.browser.click_on("[data-place=books]").await;
    desk.says("#verdict", "Everything adds up").await;
    desk.says(".books [data-product=\"1\"]", "100 in all = 40 left + 60 in orders").await;
    desk.says(".age", "A settler looked").await;
    desk.looks("books").await;
    ledger.execute("UPDATE products SET total = total + 4, stock = stock + 4").await;
    wait_until("the hand edit is seen", || async {
        desk.browser.click("look").await;
        desk.browser.text("verdict").await == "Something does not add up"
    })
    .await;
    let words = "I1 · The total was changed by 4 units without an adjustment.";
    desk.says(".findings", words).await;
    desk.says("#verdict-mark", "do not add up").await;
    desk.looks("books-red").await;
    ledger.execute("UPDATE products SET total = total - 4, stock = stock - 4").await;
    wait_until("it is gone", || async {
        desk.browser.click("look").await;
        desk.browser.text("verdict").await == "Everything adds up"
    })
    .await;
}

async fn a_reset_deletes_the_orders(desk: &Desk<'_>) {
    desk.browser.click_on("[data-place=sales]").await;
    desk.act(1, "reset").await;
    desk.fill("dialog [name=typed]", "iPhone 15 Pro").await;
    desk.submit().await;
    desk.no_dialog().await;
    desk.told(1, "Reset: its orders are deleted").await;
    desk.says("[data-product=\"1\"] .sale-left", "100of 100 left").await;
}
