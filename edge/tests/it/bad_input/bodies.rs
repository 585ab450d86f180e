//! B1 to B42: bodies that are no order, or say something else than what they are.

use super::Wanted::{Field, Problem};
use super::{Case, Wanted, both, buy_with, head};

const NOT_JSON: Wanted = Problem(400, "INVALID_JSON");
const NO_JSON: Wanted = Problem(415, "UNSUPPORTED_MEDIA_TYPE");
const TOO_LARGE: Wanted = Problem(413, "PAYLOAD_TOO_LARGE");
const ORDER: &str = r#"{"user_id":7,"product_id":1}"#;

const BODIES: [(u16, &str, Wanted); 29] = [
    (1, "", NOT_JSON),
    (2, "{", NOT_JSON),
    (3, "null", NOT_JSON),
    (4, "[]", NOT_JSON),
    (5, "\"x\"", NOT_JSON),
    (6, "7", NOT_JSON),
    (7, r#"{"user_id":7,"product_id":1} {}"#, NOT_JSON),
    (8, r#"{"user_id":7,"user_id":8,"product_id":1}"#, NOT_JSON),
    (9, r#"{"user_id":NaN,"product_id":1}"#, NOT_JSON),
    (10, r#"{"user_id":07,"product_id":1}"#, NOT_JSON),
    (11, "\u{feff}{\"user_id\":7,\"product_id\":1}", NOT_JSON),
    (12, r#"{"\ud800":1,"user_id":7,"product_id":1}"#, NOT_JSON),
    (13, "{}", Field("user_id")),
    (14, r#"{"user_id":7}"#, Field("product_id")),
    (15, r#"{"user_id":null,"product_id":1}"#, Field("user_id")),
    (16, r#"{"user_id":"7","product_id":1}"#, Field("user_id")),
    (17, r#"{"user_id":1.5,"product_id":1}"#, Field("user_id")),
    (18, r#"{"user_id":1e0,"product_id":1}"#, Field("user_id")),
    (19, r#"{"user_id":-1,"product_id":1}"#, Field("user_id")),
    (20, r#"{"user_id":0,"product_id":1}"#, Field("user_id")),
    (21, r#"{"user_id":9223372036854775808,"product_id":1}"#, Field("user_id")),
    (22, r#"{"user_id":7,"product_id":"1"}"#, Field("product_id")),
    (23, r#"{"user_id":7,"product_id":9223372036854775808}"#, Field("product_id")),
    (24, r#"{"user_id":7,"product_id":1,"quantity":0}"#, Field("quantity")),
    (25, r#"{"user_id":7,"product_id":1,"quantity":-100}"#, Field("quantity")),
    (26, r#"{"user_id":7,"product_id":1,"quantity":2}"#, Field("quantity")),
    (27, r#"{"user_id":7,"product_id":1,"quantity":1.0}"#, Field("quantity")),
    (28, r#"{"user_id":7,"product_id":1,"price":1}"#, Field("price")),
    (29, r#"{"user_id":7,"product_id":999}"#, Problem(404, "UNKNOWN_PRODUCT")),
];

fn with_length(body: &str) -> String {
    buy_with(&format!("content-length: {}\r\n", body.len()), body)
}

/// An order with these headers in the place of its content type.
fn typed(headers: &str) -> String {
    head("POST /api/buy", &format!("{headers}content-length: {}\r\n", ORDER.len())) + ORDER
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = BODIES
        .into_iter()
        .map(|(number, body, wanted)| both(number, with_length(body), wanted))
        .collect();
    let bad_utf8 = [with_length(r#"{"user_id":7,"product_id":1,"x":"?"}"#).as_bytes()]
        .concat()
        .into_iter()
        .map(|byte| if byte == b'?' { 0xff } else { byte })
        .collect::<Vec<u8>>();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096)).repeat(2);
    let json = "content-type: application/json\r\n";
    cases.extend([
        both(30, bad_utf8, NOT_JSON),
        both(31, with_length(&format!(r#"{{"user_id":{}"#, "[".repeat(4000))), NOT_JSON),
        both(32, with_length(&format!(r#"{{"user_id":{}"#, "[".repeat(10_000))), TOO_LARGE),
        both(33, with_length(&format!("{ORDER}{}", " ".repeat(4096))), TOO_LARGE),
        both(34, buy_with("transfer-encoding: chunked\r\n", &(chunk + "0\r\n\r\n")), TOO_LARGE),
        both(35, buy_with("content-length: 1000000000000\r\n", ""), TOO_LARGE),
        both(36, typed(""), NO_JSON),
        both(37, typed("content-type: text/plain\r\n"), NO_JSON),
        both(38, typed("content-type: application/json; charset=utf-16\r\n"), NO_JSON),
        both(39, typed(&format!("{json}content-encoding: gzip\r\n")), NO_JSON),
        both(40, typed("content-type: application/jsonp\r\n"), NO_JSON),
        both(41, typed("content-type:\r\n"), NO_JSON),
        both(42, typed("content-type: application/x-www-form-urlencoded\r\n"), NO_JSON),
    ]);
    cases
}
