//! The pages as people meet them, in a real browser.

mod access;
mod admin;
mod crash;
mod live;
mod shop;
mod states;

use std::time::Instant;

use serde_json::{Value, json};
use stack::{Stack, StackOptions};

use crate::admin::{Ask, shop as with_operators};
use crate::browser::Browser;
use crate::buyer::get;
use crate::wait::{DEADLINE, LOOK_EVERY, patient, wait_until};

/// One sale on the page, and what is seen of it.
pub(crate) struct Card<'a> {
    browser: &'a Browser,
    product: u64,
}

impl<'a> Card<'a> {
    pub(crate) const fn of(browser: &'a Browser, product: u64) -> Self {
        Self { browser, product }
    }

    fn selector(&self, part: &str) -> String {
        format!("[data-product=\"{}\"] .{part}", self.product)
    }

    /// The text of a part, by its class.
    pub(crate) async fn text(&self, part: &str) -> String {
        self.browser.text_of(&self.selector(part)).await
    }

    pub(crate) async fn click(&self, part: &str) {
        self.browser.click_on(&self.selector(part)).await;
    }

    /// Whether Buy may be pressed.
    pub(crate) async fn is_pressable(&self) -> bool {
        let disabled = format!("document.querySelector('{}')?.disabled", self.selector("buy"));
        self.browser.value(&disabled).await == json!(false)
    }

    /// Waits for a part to begin with `text`.
    pub(crate) async fn wait(&self, part: &str, text: &str) {
        let started = Instant::now();
        loop {
            let shown = self.text(part).await;
            if shown.starts_with(text) {
                return;
            }
            let waiting = started.elapsed() < DEADLINE;
            assert!(waiting, "{part} of {} is {shown:?}, not {text:?}", self.product);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the outcome to begin with `text`.
    pub(crate) async fn outcome(&self, text: &str) {
        self.wait("outcome", text).await;
    }

    /// Presses Buy as soon as that is possible.
    pub(crate) async fn buy(&self) {
        wait_until("Buy may be pressed", || self.is_pressable()).await;
        self.click("buy").await;
    }
}

/// Opens the shop and waits until it is live and shows its sales, which come after the hello.
pub(crate) async fn open_shop(browser: &Browser, stack: &Stack) {
    browser.client.goto(stack.http()).await.unwrap();
    wait_until("the page is live", || is_live(browser)).await;
    browser.found(".sale").await;
}

pub(crate) async fn is_live(browser: &Browser) -> bool {
    let state = "document.getElementById('connection')?.dataset.state";
    browser.value(state).await == json!("live")
}

/// The buyer this browser is.
pub(crate) async fn buyer(browser: &Browser) -> u64 {
    let stored = browser.value("localStorage.getItem('flashsale.buyer')").await;
    stored.as_str().unwrap().parse().unwrap()
}

/// A stack whose edges let operators in, and have time to answer.
pub(crate) async fn stack(options: StackOptions) -> Stack {
    with_operators(patient(options), &[]).await
}

/// Creates a sale beside the demo's and waits until Redis and every edge have it: an edge that does
/// not list it yet answers 404, which a page takes for final.
pub(crate) async fn create(stack: &Stack, sale: Value) {
    let mut body = json!({ "price_minor": 129_000, "currency": "THB", "stock": 100 });
    body.as_object_mut().unwrap().extend(sale.as_object().unwrap().clone());
    let answer = Ask::new("POST", "/products", &body.to_string()).send(stack.http()).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let path = format!("/api/products/{}", sale["product_id"]);
    let processes = stack.status().processes;
    for edge in processes.iter().filter(|process| process.name.starts_with("edge-")) {
        wait_until(&format!("{} has {path}", edge.name), || async {
            let answer = get(&edge.url, &path).await;
            // Epoch 0 is that of a sale Redis does not have.
            answer.is_some_and(|answer| answer.status == 200 && answer.body["epoch"] != 0)
        })
        .await;
    }
}

/// Everything the console has complained of since the last time, violations of the content security
/// policy among it: nothing.
pub(crate) async fn assert_no_complaints(browser: &Browser) {
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
