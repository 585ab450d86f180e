//! The operators' page: signing in, the whole life of a sale, orders, the books, and what is said
//! when it is not known whether something was done.

mod doubt;
mod sale;
mod sign_in;

use std::time::Instant;

use serde_json::{Value, json};
use stack::Stack;

use super::access::findings;
use crate::admin::TOKEN;
use crate::browser::Browser;
use crate::buyer::get;
use crate::wait::{DEADLINE, LOOK_EVERY, wait_until};

/// The page in a browser, for whoever sits at it.
pub(crate) struct Desk<'a> {
    browser: &'a Browser,
    stack: &'a Stack,
}

impl<'a> Desk<'a> {
    /// Opens the page.
    pub(crate) async fn open(browser: &'a Browser, stack: &'a Stack) -> Self {
        let desk = Self { browser, stack };
        browser.client.goto(&format!("{}/admin.html", stack.http())).await.unwrap();
        desk.there("#sign-in").await;
        desk
    }

    /// Opens the page and signs in.
    pub(crate) async fn signed_in(browser: &'a Browser, stack: &'a Stack) -> Self {
        let desk = Self::open(browser, stack).await;
        desk.sign_in(TOKEN).await;
        desk.there("[data-product=\"1\"]").await;
        desk
    }

    async fn sign_in(&self, token: &str) {
        self.fill("[name=token]", token).await;
        self.browser.click("sign-in").await;
    }

    /// Waits for an element.
    async fn there(&self, selector: &str) {
        let there = format!("document.querySelector('{selector}') !== null");
        wait_until(selector, || async { self.browser.value(&there).await == json!(true) }).await;
    }

    /// Waits until an element's text has this in it; its whole text.
    async fn says(&self, selector: &str, text: &str) -> String {
        let started = Instant::now();
        loop {
            let shown = self.browser.text_of(selector).await;
            if shown.contains(text) {
                return shown;
            }
            assert!(started.elapsed() < DEADLINE, "{selector} says {shown:?}, not {text:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Types into a field in place of what it says.
    async fn fill(&self, selector: &str, text: &str) {
        let field = self.browser.found(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Fills fields of the dialog; what a keyboard types into a time depends on the system.
    async fn fill_dialog(&self, fields: &[(&str, &str)]) {
        for (name, text) in fields {
            let text = json!(text);
            let set = format!(
                "(field => {{ field.value = {text}; field.dispatchEvent(new Event('input')); }}) \
                 (document.querySelector('dialog [name={name}]'))"
            );
            self.browser.value(&set).await;
        }
    }

    async fn submit(&self) {
        self.browser.click_on("dialog [type=submit]").await;
    }

    /// Presses a button of a sale.
    async fn act(&self, product: u64, action: &str) {
        self.browser
            .click_on(&format!("[data-product=\"{product}\"] [data-action={action}]"))
            .await;
    }

    /// Waits until what is said of a sale has this in it.
    async fn told(&self, product: u64, text: &str) -> String {
        self.says(&format!("[data-product=\"{product}\"] > p.notice"), text).await
    }

    async fn no_dialog(&self) {
        let open = "document.querySelector('dialog') === null";
        wait_until("the dialog is gone", || async {
            self.browser.value(open).await == json!(true)
        })
        .await;
    }

    /// What is wrong with a field of the dialog.
    async fn wrong(&self, name: &str, text: &str) {
        self.says(&format!("dialog [data-field={name}] .wrong"), text).await;
    }

    /// A product as buyers see it, as soon as it is like that.
    async fn listed(&self, product: u64, what: &str, is_right: impl Fn(&Value) -> bool) {
        let path = format!("/api/products/{product}");
        wait_until(what, || async { is_right(&get(self.stack.http(), &path).await.unwrap().body) })
            .await;
    }

    /// What the console complained of, but for answers that were to be refused: a browser reports
    /// each of those itself.
    async fn complaints(&self) -> Vec<String> {
        let all = self.browser.complaints().await;
        all.into_iter().filter(|text| !text.contains("responded with a status of")).collect()
    }

    /// Pictures in every colour and size: nothing scrolls sideways, and axe-core finds nothing.
    async fn looks(&self, name: &str) {
        for (suffix, scheme, width, height) in [
            ("dark", "dark", 1280, 900),
            ("mobile", "light", 390, 844),
            ("light", "light", 1280, 900),
        ] {
            self.browser.show_as(scheme, width, height).await;
            self.browser.screenshot(&format!("admin-{name}-{suffix}")).await;
            let overflow =
                "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            let sideways = self.browser.value(overflow).await;
            assert_eq!(sideways, json!(0), "{name} {suffix}: scrolls sideways");
            assert_eq!(findings(self.browser).await, json!([]), "{name} {suffix}");
        }
    }

    /// The token is nowhere it could be read from later.
    async fn token_is_nowhere(&self) {
        let places = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, \
                      location.href, history.state, document.documentElement.outerHTML, \
                      [...document.querySelectorAll('input')].map((input) => input.value)])";
        let seen = self.browser.value(places).await;
        let seen = seen.as_str().unwrap();
        assert!(seen.contains("Operator’s desk"), "the page was looked at: {seen}");
        assert!(!seen.contains(TOKEN), "{seen}");
    }
}
