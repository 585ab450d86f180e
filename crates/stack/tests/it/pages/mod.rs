//! The pages as people meet them, in a real browser.

mod live;

use serde_json::{Value, json};
use stack::{Stack, StackOptions};

use crate::admin::{Ask, shop as with_operators};
use crate::browser::Browser;

pub(crate) async fn is_live(browser: &Browser) -> bool {
    let state = "document.getElementById('connection')?.dataset.state";
    browser.value(state).await == json!("live")
}

/// A stack whose edges let operators in.
pub(crate) async fn stack(options: StackOptions) -> Stack {
    with_operators(options, &[]).await
}

/// Creates a sale beside the demo's.
pub(crate) async fn create(stack: &Stack, sale: Value) {
    let mut body = json!({ "price_minor": 129_000, "currency": "THB", "stock": 100 });
    body.as_object_mut().unwrap().extend(sale.as_object().unwrap().clone());
    let answer = Ask::new("POST", "/products", &body.to_string()).send(stack.http()).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// Everything the console has complained of since the last time, violations of the content security
/// policy among it: nothing.
pub(crate) async fn assert_no_complaints(browser: &Browser) {
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
