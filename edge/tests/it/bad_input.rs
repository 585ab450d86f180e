//! Bad input at the edge itself: a precise answer, nothing reserved, and the next request works.

use crate::fixture::Sale;
use crate::raw::{Raw, ask, buy_bytes, post};

/// Bodies that are not an order.
const BODIES: [(&str, u16, &str); 24] = [
    ("", 400, "INVALID_JSON"),
    ("{", 400, "INVALID_JSON"),
    ("null", 400, "INVALID_JSON"),
    ("[]", 400, "INVALID_JSON"),
    ("\"x\"", 400, "INVALID_JSON"),
    ("7", 400, "INVALID_JSON"),
    (r#"{"user_id":1,"product_id":1} {}"#, 400, "INVALID_JSON"),
    (r#"{"user_id":1,"user_id":2,"product_id":1}"#, 400, "INVALID_JSON"),
    (r#"{"user_id":NaN,"product_id":1}"#, 400, "INVALID_JSON"),
    (r#"{"user_id":01,"product_id":1}"#, 400, "INVALID_JSON"),
    ("\u{feff}{\"user_id\":1,\"product_id\":1}", 400, "INVALID_JSON"),
    (r#"{"\ud800":1,"user_id":1,"product_id":1}"#, 400, "INVALID_JSON"),
    ("{}", 422, "INVALID_FIELD"),
    (r#"{"user_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":null,"product_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":"1","product_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":1.5,"product_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":1e0,"product_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":-1,"product_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":9223372036854775808,"product_id":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":1,"product_id":1,"quantity":0}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":1,"product_id":1,"quantity":2}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":1,"product_id":1,"price":1}"#, 422, "INVALID_FIELD"),
    (r#"{"user_id":1,"product_id":999}"#, 404, "UNKNOWN_PRODUCT"),
];

/// Heads that are refused before a body is read.
const HEADS: [(&str, u16); 20] = [
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}", 415),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\n\r\n", 415),
    (
        "POST /api/buy HTTP/1.1\r\nhost: a\r\n\
      content-type: application/json; charset=utf-16\r\n\r\n",
        415,
    ),
    (
        "POST /api/buy HTTP/1.1\r\nhost: a\r\n\
      content-type: application/json\r\ncontent-encoding: gzip\r\n\r\n",
        415,
    ),
    (
        "POST /api/buy HTTP/1.1\r\nhost: a\r\n\
      content-type: application/json\r\ncontent-length: 1000000000000\r\n\r\n",
        413,
    ),
    ("POST /api/buy HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 400),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 0\r\n\r\n", 400),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n1", 400),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\n1", 400),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n1", 400),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 400),
    ("POST /api/buy HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("GET /api/buy HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    ("TRACE /api/products HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    ("DELETE /api/products/1 HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    ("GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ("GET /api/products/0 HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ("GET /api/orders/not-a-uuid HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ("GET /ws HTTP/1.1\r\nhost: a\r\n\r\n", 426),
    // Without a token there is nothing for operators, whatever they send.
    ("GET /api/admin/reconcile HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n\r\n", 404),
];

/// What nginx refuses by itself. hyper takes the framing of the first two as RFC 9112, section 6.3,
/// lets it; nobody but nginx should be able to reach an edge.
const AT_NGINX: [(&str, u16, &str); 8] = [
    (
        "POST /api/buy HTTP/1.1\r\nhost: a\r\n\
      transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        400,
        "BAD_REQUEST",
    ),
    (
        "POST /api/buy HTTP/1.1\r\nhost: a\r\n\
      content-length: 1\r\ncontent-length: 1\r\n\r\n1",
        400,
        "BAD_REQUEST",
    ),
    ("POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n", 413, "PAYLOAD_TOO_LARGE"),
    ("GET /../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n", 400, "BAD_REQUEST"),
    ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n", 400, "BAD_REQUEST"),
    ("GET /.git/config HTTP/1.1\r\nhost: a\r\n\r\n", 404, "NOT_FOUND"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
    ("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", 404, "NOT_FOUND"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_precisely_and_reserves_nothing() {
    let sale = Sale::start().await;
    for base in [sale.edge.as_str(), sale.stack.http()] {
        for (number, (body, status, code)) in BODIES.into_iter().enumerate() {
            let answer = ask(base, &post(body)).await.unwrap();
            assert_eq!((answer.status, answer.code()), (status, code), "body {number}: {body}");
            assert!(answer.head.contains("content-type: application/problem+json"), "{number}");
        }
    }
    for (number, (head, status, code)) in AT_NGINX.into_iter().enumerate() {
        let answer = ask(sale.stack.http(), head.as_bytes()).await.unwrap();
        assert_eq!((answer.status, answer.code()), (status, code), "at nginx {number}: {head}");
    }
    for (number, (head, status)) in HEADS.into_iter().enumerate() {
        let answer = ask(&sale.edge, head.as_bytes()).await.unwrap();
        assert_eq!(answer.status, status, "head {number}: {head}");
    }
    too_much(&sale.edge).await;
    not_http(&sale.edge).await;
    assert_eq!(sale.available().await, 1000, "I12: nothing was reserved");

    let next = ask(&sale.edge, &buy_bytes(1)).await.unwrap();
    assert_eq!((next.status, &next.body["position"]), (202, &1.into()));
    three_at_once_are_answered_in_order(&sale.edge).await;
    chunked_and_expected_bodies_are_taken(&sale.edge).await;
    sale.stack.shutdown().await;
}

async fn too_much(edge: &str) {
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(3000));
    assert_eq!(ask(edge, long.as_bytes()).await.unwrap().status, 414);
    let headers = "x: y\r\n".repeat(101);
    let many = format!("GET /livez HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    assert_eq!(ask(edge, many.as_bytes()).await.unwrap().status, 431);
    let large = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert_eq!(ask(edge, large.as_bytes()).await.unwrap().status, 431);
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096)).repeat(2);
    let chunked = format!(
        "POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    assert_eq!(ask(edge, chunked.as_bytes()).await.unwrap().status, 413);
    let deep = post(&format!(r#"{{"user_id":{}"#, "[".repeat(4000)));
    assert_eq!(ask(edge, &deep).await.unwrap().status, 400);
}

/// What is not HTTP at all ends the connection, with or without a 400.
async fn not_http(edge: &str) {
    let cases: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\n folded: b\r\nx y: z\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        if let Some(answer) = ask(edge, bytes).await {
            assert_eq!(answer.status, 400, "case {number}");
        }
    }
    let bad_chunk = b"POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                      transfer-encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(ask(edge, bad_chunk).await.unwrap().status, 400);
}

async fn three_at_once_are_answered_in_order(edge: &str) {
    let mut raw = Raw::connect(edge).await;
    raw.send(&[buy_bytes(11), buy_bytes(12), buy_bytes(13)].concat()).await;
    let mut positions = Vec::new();
    for _ in 0..3 {
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 202);
        positions.push(answer.body["position"].as_i64().unwrap());
    }
    assert!(positions.is_sorted(), "{positions:?}");
}

async fn chunked_and_expected_bodies_are_taken(edge: &str) {
    let chunked = b"POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                    transfer-encoding: chunked\r\n\r\n\
                    10\r\n{\"user_id\":21,\"p\r\n10\r\nroduct_id\":   1}\r\n0\r\n\r\n";
    assert_eq!(ask(edge, chunked).await.unwrap().status, 202);
    let mut raw = Raw::connect(edge).await;
    let body = r#"{"user_id":22,"product_id":1}"#;
    let head = format!(
        "POST /api/buy HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw.send(head.as_bytes()).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(body.as_bytes()).await;
    assert_eq!(raw.answer().await.unwrap().status, 202);
}
