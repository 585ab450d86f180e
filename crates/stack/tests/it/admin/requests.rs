//! Every endpoint, and everything that is refused: the right problem, and nothing changed.

use serde_json::json;
use stack::{Stack, StackOptions};

use super::{Ask, adjust, post, shop};
use crate::buyer::{Ledger, buy, get};
use crate::wait::wait_until;

/// Every endpoint with a body it would take.
const ENDPOINTS: [(&str, &str, &str); 10] = [
    ("POST", "/products", r#"{"name":"x","price_minor":1,"currency":"THB","stock":1}"#),
    ("PATCH", "/products/1", r#"{"limit":2}"#),
    ("POST", "/products/1/adjustments", r#"{"delta":1,"reason":"x"}"#),
    ("POST", "/products/1/pause", ""),
    ("POST", "/products/1/resume", ""),
    ("POST", "/products/1/close", ""),
    ("POST", "/products/1/reset", ""),
    ("GET", "/orders?product_id=1", ""),
    ("GET", "/reconcile", ""),
    ("GET", "/no/such/path", ""),
];

const NEW: &str = r#""name":"x","price_minor":1,"currency":"THB","stock":1"#;

/// What is asked, and how it is refused.
const REFUSED: [(&str, &str, &str, u16, &str); 30] = [
    ("POST", "/products", "{", 400, "INVALID_JSON"),
    ("POST", "/products", "[]", 400, "INVALID_JSON"),
    ("POST", "/products", "", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("POST", "/products", "{}", 422, "INVALID_FIELD"),
    ("POST", "/products", r#"{NEW,"product_id":1}"#, 409, "PRODUCT_EXISTS"),
    ("POST", "/products", r#"{NEW,"limit":0}"#, 422, "INVALID_FIELD"),
    ("POST", "/products", r#"{NEW,"colour":"red"}"#, 422, "INVALID_FIELD"),
    ("POST", "/products", r#"{NEW,"name":"y"}"#, 400, "INVALID_JSON"),
    ("POST", "/products", r#"{NEW,"opens_at":"noon"}"#, 422, "INVALID_FIELD"),
    (
        "POST",
        "/products",
        r#"{NEW,"opens_at":"2030-01-01T00:00:00Z","closes_at":"2030-01-01T00:00:00Z"}"#,
        422,
        "INVALID_FIELD",
    ),
    ("GET", "/products", "", 405, "METHOD_NOT_ALLOWED"),
    ("PATCH", "/products/1", "{}", 422, "INVALID_FIELD"),
    ("PATCH", "/products/1", r#"{"stock":5}"#, 422, "INVALID_FIELD"),
    ("PATCH", "/products/1", r#"{"name":null}"#, 422, "INVALID_FIELD"),
    ("PATCH", "/products/404", r#"{"limit":2}"#, 404, "UNKNOWN_PRODUCT"),
    ("PATCH", "/products/0", r#"{"limit":2}"#, 404, "UNKNOWN_PRODUCT"),
    ("DELETE", "/products/1", "", 405, "METHOD_NOT_ALLOWED"),
    ("POST", "/products/1/adjustments", r#"{"delta":0,"reason":"x"}"#, 422, "INVALID_FIELD"),
    ("POST", "/products/1/adjustments", r#"{"delta":1.5,"reason":"x"}"#, 422, "INVALID_FIELD"),
    ("POST", "/products/1/adjustments", r#"{"delta":1}"#, 422, "INVALID_FIELD"),
    ("POST", "/products/404/adjustments", r#"{"delta":1,"reason":"x"}"#, 404, "UNKNOWN_PRODUCT"),
    ("POST", "/products/404/adjustments", r#"{"delta":-1,"reason":"x"}"#, 404, "UNKNOWN_PRODUCT"),
    ("POST", "/products/1/adjustments", r#"{"delta":-11,"reason":"x"}"#, 409, "NOT_ENOUGH_FREE"),
    ("POST", "/products/1/pause", r#"{"for":"ever"}"#, 422, "INVALID_FIELD"),
    ("POST", "/products/404/pause", "", 404, "UNKNOWN_PRODUCT"),
    ("POST", "/products/1/reset", "", 403, "RESET_NOT_ALLOWED"),
    ("POST", "/products/1/explode", "", 404, "NOT_FOUND"),
    ("GET", "/orders", "", 422, "INVALID_FIELD"),
    ("GET", "/orders?product_id=1&limit=0", "", 422, "INVALID_FIELD"),
    ("GET", "/orders?product_id=1&status=queued", "", 422, "INVALID_FIELD"),
];

const STATE: &str = "SELECT md5(string_agg(p::text, ' ')) FROM (SELECT id, name, price_minor, \
     stock, total, buyer_limit, hold_seconds, state, opens_at, closes_at, sale_version, effect_seq \
     FROM products ORDER BY id) AS p";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_allowed_or_not_right_is_refused_and_changes_nothing() {
    let options = StackOptions { edges: 1, stock: 10, ..StackOptions::default() };
    let stack = shop(options, &[("EDGE_RESET_PRODUCTS", "2,3")]).await;
    let (http, ledger) = (stack.http(), Ledger::open(&stack).await);
    let before = ledger.text(STATE).await;
    for (method, path, body) in ENDPOINTS {
        let keyed = || Ask::new(method, path, body).without_token().with("idempotency-key", "k");
        let bad = [
            keyed(),
            keyed().with("authorization", "Bearer a-token-for-test"),
            keyed().with("authorization", "Bearer a-token-for-testS"),
            keyed().with("authorization", "Bearer "),
            keyed().with("authorization", "Basic a-token-for-tests"),
            keyed().with("authorization", "a-token-for-tests"),
        ];
        for (number, ask) in bad.into_iter().enumerate() {
            let answer = ask.send(http).await.unwrap();
            let told = (answer.status.as_u16(), answer.text("code"));
            assert_eq!(told, (401, "INVALID_TOKEN"), "{method} {path}, token {number}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
    }
    for (number, (method, path, body, status, code)) in REFUSED.into_iter().enumerate() {
        let body = body.replace("NEW", NEW);
        let key = format!("refused-{number}");
        let ask = Ask::new(method, path, &body).with("idempotency-key", &key);
        let answer = ask.send(http).await.unwrap();
        let told = (answer.status.as_u16(), answer.text("code"));
        assert_eq!(told, (status, code), "case {number}: {method} {path} {body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "case {number}");
        if code == "NOT_ENOUGH_FREE" {
            assert_eq!(answer.body["available"], 10);
        }
        if code == "METHOD_NOT_ALLOWED" {
            assert!(answer.headers.contains_key("allow"), "case {number}");
        }
    }
    let body = r#"{"delta":1,"reason":"x"}"#;
    let keyless = Ask::new("POST", "/products/1/adjustments", body).send(http).await.unwrap();
    assert_eq!((keyless.status.as_u16(), keyless.text("field")), (422, "Idempotency-Key"));
    let ask = Ask::new("POST", "/products/1/adjustments", body);
    let twice = ask.with("idempotency-key", "a").with("idempotency-key", "b").send(http).await;
    assert_eq!(twice.unwrap().text("code"), "BAD_REQUEST");
    assert_eq!(ledger.text(STATE).await, before, "nothing was changed");
    let product = get(http, "/api/products/1").await.unwrap();
    assert_eq!(product.body["available"], 10);
    assert_eq!(buy(http, 1).await.unwrap().status, 202, "the next request works");
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_does_what_it_says() {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "200".to_owned())];
    let options = StackOptions { edges: 2, stock: 10, env, ..StackOptions::default() };
    let stack = shop(options, &[("EDGE_RESET_PRODUCTS", "1")]).await;
    let (http, ledger) = (stack.http(), Ledger::open(&stack).await);

    let change = Ask::new("PATCH", "/products/1", r#"{"limit":3,"price_minor":5,"name":"Phone"}"#);
    let changed = change.send(http).await.unwrap();
    assert_eq!((changed.status.as_u16(), &changed.body["applied"]), (200, &true.into()));
    let told = [&changed.body["limit"], &changed.body["price_minor"], &changed.body["name"]];
    assert_eq!(told, [&json!(3), &json!(5), &json!("Phone")]);
    for user in 1..=5 {
        let body = format!(r#"{{"user_id":{user},"product_id":1,"quantity":2}}"#);
        let bought = crate::buyer::post_buy(http, body).await.unwrap();
        assert_eq!(bought.status, 202, "the new limit counts at once: {bought:?}");
    }
    wait_until("all is settled", || async { ledger.orders().await.len() == 5 }).await;

    orders_come_in_pages(http).await;
    a_hand_edit_is_reported(&stack, &ledger).await;

    let reset = post(http, "/products/1/reset").await;
    let told = (reset.status.as_u16(), &reset.body["stock"], &reset.body["state"]);
    assert_eq!(told, (200, &json!(10), &json!("open")), "{reset:?}");
    assert_eq!(ledger.orders().await.len(), 0);
    wait_until("an old buyer buys again", || async {
        matches!(buy(http, 1).await.unwrap().status.as_u16(), 202)
    })
    .await;

    let closed = post(http, "/products/1/close").await;
    assert_eq!((closed.status.as_u16(), &closed.body["state"]), (200, &json!("closed")));
    assert_eq!(post(http, "/products/1/close").await.status, 200, "again is no error");
    for path in ["/products/1/pause", "/products/1/resume"] {
        assert_eq!(post(http, path).await.text("code"), "SALE_ENDED", "{path}");
    }
    let late = Ask::new("PATCH", "/products/1", r#"{"closes_at":null}"#).send(http).await.unwrap();
    assert_eq!((late.status.as_u16(), late.text("code")), (409, "SALE_ENDED"));
    assert_eq!(buy(http, 9).await.unwrap().text("code"), "SALE_ENDED");
    assert_eq!(adjust(http, 2, "closed").await.unwrap().status, 201, "the books go on");
    wait_until("the order is settled", || async { ledger.orders().await.len() == 1 }).await;
    ledger.assert_adds_up().await;
    stack.shutdown().await;
}

async fn orders_come_in_pages(http: &str) {
    let mut path = "/orders?product_id=1&status=confirmed&limit=2".to_owned();
    let (mut users, mut pages) = (Vec::new(), 0);
    loop {
        let page = Ask::new("GET", &path, "").send(http).await.unwrap();
        assert_eq!(page.status, 200, "{page:?}");
        let orders = page.body["orders"].as_array().unwrap();
        users.extend(orders.iter().map(|order| order["user_id"].as_i64().unwrap()));
        pages += 1;
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/orders?product_id=1&status=confirmed&limit=2&cursor={cursor}");
    }
    assert_eq!((users.as_slice(), pages), (&[1, 2, 3, 4, 5][..], 3), "in order of arrival");
    let none = Ask::new("GET", "/orders?product_id=1&status=rejected", "").send(http).await;
    assert_eq!(none.unwrap().body, json!({ "orders": [], "next_cursor": null }));
}

/// F26: somebody edits the row by hand, so that stock and orders still add up.
async fn a_hand_edit_is_reported(stack: &Stack, ledger: &Ledger) {
    let http = stack.http();
    wait_until("a look at the books is kept", || async {
        let report = Ask::new("GET", "/reconcile", "").send(http).await.unwrap();
        report.status == 200 && report.body["products"][0]["stock"] == 0
    })
    .await;
    // Redis is loaded from the edited row, so I4 holds, too.
    ledger.execute("UPDATE products SET total = total + 4, stock = stock + 4").await;
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    wait_until("the hand edit is reported", || async {
        let report = Ask::new("GET", "/reconcile", "").send(http).await.unwrap();
        let finding = &report.body["products"][0]["findings"][0];
        finding["invariant"] == "I1" && finding["amount"] == 4
    })
    .await;
    ledger.execute("UPDATE products SET total = total - 4, stock = stock - 4").await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
}
