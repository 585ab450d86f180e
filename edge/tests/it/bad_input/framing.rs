//! B43 to B90: messages that are not well-formed HTTP/1.1, and methods nothing here takes.
//!
//! hyper takes the framing of B43 and B44 as RFC 9112, section 6.3, lets it, and what it cannot
//! parse it answers without a body, or not at all: nobody but nginx should be able to reach it.

use super::Wanted::{Bare, Closed, Problem, Taken};
use super::{Case, Wanted, both, buy_with, each, head};

const MALFORMED: Wanted = Problem(400, "BAD_REQUEST");
const NOT_JSON: Wanted = Problem(400, "INVALID_JSON");
const NO_METHOD: Wanted = Problem(405, "METHOD_NOT_ALLOWED");
const HEADERS: Wanted = Problem(431, "HEADERS_TOO_LARGE");
const CHUNKED: &str = "transfer-encoding: chunked\r\n";
const END: &str = "0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [lengths(), encodings(), heads(), methods(), sizes()].into_iter().flatten().collect()
}

fn lengths() -> Vec<Case> {
    let length = |value: &str| buy_with(&format!("content-length: {value}\r\n"), "1");
    let twice = "content-length: 1\r\ncontent-length: ";
    vec![
        each(43, buy_with(&format!("{twice}1\r\n"), "1"), NOT_JSON, MALFORMED),
        each(44, buy_with(&format!("{CHUNKED}content-length: 3\r\n"), END), NOT_JSON, MALFORMED),
        each(45, buy_with(&format!("{twice}2\r\n"), "1"), Bare(400), MALFORMED),
        each(46, length("+1"), Bare(400), MALFORMED),
        each(47, length("-1"), Bare(400), MALFORMED),
        each(48, length("1e3"), Bare(400), MALFORMED),
        each(49, length("0x1"), Bare(400), MALFORMED),
        each(50, length("1, 1"), Bare(400), MALFORMED),
        each(51, length(""), Bare(400), MALFORMED),
        each(52, length("999999999999999999999999999999"), Bare(400), MALFORMED),
    ]
}

fn encodings() -> Vec<Case> {
    let encoding = |value: &str| buy_with(&format!("transfer-encoding: {value}\r\n"), END);
    let old = head("POST /api/buy", CHUNKED).replace("HTTP/1.1", "HTTP/1.0") + END;
    vec![
        each(53, buy_with(&CHUNKED.repeat(2), END), MALFORMED, MALFORMED),
        each(54, encoding("gzip"), Bare(400), MALFORMED),
        each(55, encoding("gzip, chunked"), MALFORMED, MALFORMED),
        each(56, encoding("chunked, gzip"), Bare(400), MALFORMED),
        each(57, old, Bare(400), MALFORMED),
        both(58, buy_with(CHUNKED, "zz\r\n"), MALFORMED),
        both(59, buy_with(CHUNKED, "-1\r\n"), MALFORMED),
        both(60, buy_with(CHUNKED, "fffffffffffffffff\r\n"), MALFORMED),
    ]
}

fn heads() -> Vec<Case> {
    let get = |headers: &str| format!("GET /api/products HTTP/1.1\r\n{headers}\r\n");
    let with = |header: &str| get(&format!("host: a\r\n{header}\r\n"));
    vec![
        both(61, get(""), MALFORMED),
        both(62, get("host: a\r\nhost: b\r\n"), MALFORMED),
        each(63, with("x: a\0b"), Bare(400), MALFORMED),
        each(64, with("x\0y: a"), Bare(400), MALFORMED),
        each(65, with("x: a\rb"), Bare(400), MALFORMED),
        each(66, with("x: a\r\n b"), Bare(400), MALFORMED),
        each(67, with("x : a"), Bare(400), MALFORMED),
        each(68, with("no colon"), Bare(400), MALFORMED),
        each(69, get("host: a\r\n").replace("1.1", "3.0"), Bare(400), MALFORMED),
        each(70, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Closed, MALFORMED),
        each(71, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Bare(400), MALFORMED),
        each(72, "get it please\r\n\r\n", Bare(400), MALFORMED),
        both(73, with(H2C), Taken(200)),
    ]
}

/// An offer to go on in HTTP/2, which is ignored.
const H2C: &str =
    "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__";

fn methods() -> Vec<Case> {
    vec![
        both(74, head("GET /api/buy", ""), NO_METHOD),
        both(75, head("PUT /api/buy", "content-length: 0\r\n"), NO_METHOD),
        both(76, head("BREW /api/buy", ""), NO_METHOD),
        both(77, head("DELETE /api/products/1", ""), NO_METHOD),
        both(78, head("TRACE /api/products", ""), NO_METHOD),
        both(79, head("TRACE /", ""), NO_METHOD),
        // nginx does not read an authority where a path should be.
        each(80, head("CONNECT shop.example:80", ""), NO_METHOD, MALFORMED),
        both(81, head("CONNECT /", ""), NO_METHOD),
        each(82, head("POST /", "content-length: 0\r\n"), Problem(404, "NOT_FOUND"), NO_METHOD),
        each(83, head("get /api/products", ""), NO_METHOD, MALFORMED),
    ]
}

fn sizes() -> Vec<Case> {
    let get = |headers: &str| head("GET /api/products", headers);
    let long = |bytes: usize| head(&format!("GET /api/{}", "a".repeat(bytes)), "");
    let header = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    let too_long = Problem(414, "URI_TOO_LONG");
    vec![
        both(84, get(&"x: y\r\n".repeat(101)), Bare(431)),
        each(85, get(&"x: y\r\n".repeat(1000)), Bare(431), HEADERS),
        each(86, get(&header(9000)), Taken(200), HEADERS),
        each(87, get(&header(4000).repeat(5)), Bare(431), HEADERS),
        each(88, get(&header(100_000)), Bare(431), HEADERS),
        both(89, long(3000), too_long),
        each(90, long(30_000), Bare(431), too_long),
    ]
}
