//! Bad input, numbered, through nginx and at an edge itself: a precise answer in the shape of every
//! error, nothing reserved, and the next request works.
//!
//! Invariant: each case is sent on a connection of its own, and looked after before the next.

mod allow;
mod auth;
mod bodies;
mod framing;
mod paths;
mod slow;

use crate::fixture::Sale;
use crate::raw::{Answer, Raw, ask, buy_bytes};

/// How a request is to be answered.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// With a problem of this status and code.
    Problem(u16, &'static str),
    /// With 422 about this field.
    Field(&'static str),
    /// With this status; hyper, which answers by itself here, has no words for it.
    Bare(u16),
    /// As a good request.
    Taken(u16),
    /// Not at all: the connection ends.
    Closed,
}

/// One row of a table.
#[derive(Debug)]
struct Case {
    number: u16,
    sent: Vec<u8>,
    edge: Wanted,
    nginx: Wanted,
}

/// The same answer at both.
fn both(number: u16, sent: impl Into<Vec<u8>>, wanted: Wanted) -> Case {
    Case { number, sent: sent.into(), edge: wanted, nginx: wanted }
}

/// nginx answers by itself, and differently.
fn each(number: u16, sent: impl Into<Vec<u8>>, edge: Wanted, nginx: Wanted) -> Case {
    Case { number, sent: sent.into(), edge, nginx }
}

/// A request line and headers, with a Host before them.
fn head(request_line: &str, headers: &str) -> String {
    format!("{request_line} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// A press of Buy with these headers instead of a length, and whatever body.
fn buy_with(headers: &str, body: &str) -> String {
    head("POST /api/buy", &format!("content-type: application/json\r\n{headers}")) + body
}

/// What holds after every case.
struct After {
    /// A good request, whose answer never changes.
    good: Vec<u8>,
    status: u16,
    available: i64,
}

impl After {
    /// A buyer who has a unit already is told so, which takes the way of every press of Buy.
    async fn bought(sale: &Sale) -> Self {
        assert_eq!(ask(&sale.edge, &buy_bytes(1)).await.unwrap().status, 202);
        Self { good: buy_bytes(1), status: 409, available: sale.available().await }
    }

    async fn hold(&self, sale: &Sale, base: &str, what: &str) {
        assert_eq!(sale.available().await, self.available, "I12: {what} reserved something");
        let next = ask(base, &self.good).await;
        assert_eq!(next.map(|a| a.status), Some(self.status), "the next request after {what}");
    }
}

/// Sends every case to both, and looks after each.
async fn send_all(sale: &Sale, after: &After, cases: Vec<Case>) {
    let mut numbers: Vec<u16> = cases.iter().map(|case| case.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), cases.len(), "every case has a number of its own");
    let mut wrong = Vec::new();
    for case in cases {
        let doors =
            [("the edge", sale.edge.as_str(), case.edge), ("nginx", sale.stack.http(), case.nginx)];
        for (door, base, wanted) in doors {
            let what = format!("B{} at {door}", case.number);
            let answer = ask(base, &case.sent).await;
            wrong.extend(compare(answer.as_ref(), wanted).map(|how| format!("{what}: {how}")));
            after.hold(sale, base, &what).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is not as wanted.
fn compare(answer: Option<&Answer>, wanted: Wanted) -> Option<String> {
    let Some(answer) = answer else {
        let closed = matches!(wanted, Wanted::Closed);
        return (!closed).then(|| format!("closed instead of {wanted:?}"));
    };
    let (status, code) = match wanted {
        Wanted::Problem(status, code) => (status, code),
        Wanted::Field(_) => (422, "INVALID_FIELD"),
        Wanted::Closed => return Some(format!("{answer:?} instead of nothing")),
        Wanted::Bare(status) | Wanted::Taken(status) => {
            return (answer.status != status).then(|| format!("{answer:?} instead of {status}"));
        }
    };
    let is_problem = answer.head.contains("content-type: application/problem+json")
        && answer.body["status"] == answer.status
        && answer.body["title"].is_string();
    let names = match wanted {
        Wanted::Field(field) => answer.body["field"] == field,
        _ => true,
    };
    let header = match status {
        401 => "\r\nwww-authenticate: bearer\r\n",
        405 => "\r\nallow: ",
        _ => "",
    };
    let right = (answer.status, answer.code()) == (status, code);
    let good = right && is_problem && names && answer.head.contains(header);
    (!good).then(|| format!("{answer:?} instead of {wanted:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_precisely_and_reserves_nothing() {
    let sale = Sale::start().await;
    let after = After::bought(&sale).await;
    send_all(&sale, &after, bodies::cases()).await;
    send_all(&sale, &after, framing::cases()).await;
    send_all(&sale, &after, paths::cases()).await;
    for (number, base) in [(0, sale.edge.as_str()), (1, sale.stack.http())] {
        three_at_once_are_answered_in_order(base, 1000 * number + 11).await;
        chunked_and_expected_bodies_are_taken(base, 1000 * number + 21).await;
    }
    sale.stack.shutdown().await;
}

/// B91
async fn three_at_once_are_answered_in_order(base: &str, user: u64) {
    let mut raw = Raw::connect(base).await;
    raw.send(&[buy_bytes(user), buy_bytes(user + 1), buy_bytes(user + 2)].concat()).await;
    let mut positions = Vec::new();
    for _ in 0..3 {
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, 202);
        positions.push(answer.body["position"].as_i64().unwrap());
    }
    assert!(positions.is_sorted(), "{positions:?}");
}

/// B92 and B93
async fn chunked_and_expected_bodies_are_taken(base: &str, user: u64) {
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    let (one, two) = body.split_at(10);
    let chunks = format!("{:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    let chunked = buy_with("transfer-encoding: chunked\r\n", &chunks);
    assert_eq!(ask(base, chunked.as_bytes()).await.unwrap().status, 202);
    let body = format!(r#"{{"user_id":{},"product_id":1}}"#, user + 1);
    let expecting = format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len());
    let mut raw = Raw::connect(base).await;
    raw.send(buy_with(&expecting, "").as_bytes()).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(body.as_bytes()).await;
    assert_eq!(raw.answer().await.unwrap().status, 202);
}
