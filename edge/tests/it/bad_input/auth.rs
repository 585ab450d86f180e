//! B120 to B139: who may not. A header that says where a request comes from changes nothing.

use super::Wanted::{Problem, Taken};
use super::{After, Case, Wanted, allow, both, each, head, send_all};
use crate::fixture::Sale;
use crate::raw::ask;

const KEY: &str = "an example key, not a secret";
/// The README's example for this key: of user 999.
const TOKEN: &str =
    "999.9999999999.1864d5d7f4f4693581120914dad4776a4b0387803ad42e00863582418e62bdd6";
const ADMIN: &str = "the token of operators";
const DENIED: Wanted = Problem(401, "INVALID_TOKEN");
const FORWARDED: &str = "x-forwarded-for: 127.0.0.1\r\nx-real-ip: 127.0.0.1\r\n\
                         forwarded: for=127.0.0.1\r\n";

fn buy(user: u64, headers: &str) -> String {
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    let length = body.len();
    let common = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    head("POST /api/buy", &(common + headers)) + &body
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Headers that let nobody in.
fn denied() -> [String; 8] {
    [
        String::new(),
        bearer("wrong"),
        bearer(""),
        "authorization:\r\n".to_owned(),
        "authorization: Bearer\r\n".to_owned(),
        "authorization: Basic dGhlOnRva2Vu\r\n".to_owned(),
        bearer("\u{0}").replace('\0', "\u{ff}"),
        FORWARDED.to_owned(),
    ]
}

fn cases() -> Vec<Case> {
    let report = |headers: &str| head("GET /api/admin/reconcile", headers);
    let mut cases: Vec<Case> = (120..)
        .zip(denied())
        .map(|(number, headers)| both(number, report(&headers), DENIED))
        .collect();
    cases.extend((128..).zip(denied()).map(|(number, h)| both(number, buy(999, &h), DENIED)));
    let twice = bearer(ADMIN).repeat(2);
    let flipped = TOKEN.replace("bdd6", "bdd7");
    cases.extend([
        both(136, buy(999, &bearer(&flipped)), DENIED),
        both(137, buy(998, &bearer(TOKEN)), Problem(403, "FOREIGN_USER")),
        each(138, report(&twice), DENIED, Problem(400, "BAD_REQUEST")),
        both(139, report(&(bearer(ADMIN) + FORWARDED)), Taken(200)),
    ]);
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so_and_reserves_nothing() {
    let sale = Sale::start_with(&[("BUYER_TOKEN_KEY", KEY), ("ADMIN_TOKEN", ADMIN)]).await;
    let good = buy(999, &bearer(TOKEN));
    assert_eq!(ask(&sale.edge, good.as_bytes()).await.unwrap().status, 202);
    let after = After { good: good.into(), status: 409, available: sale.available().await };
    // The first look at the books comes with the leading settler's first round.
    crate::fixture::wait_until("there is a report", || async {
        let asked = head("GET /api/admin/reconcile", &bearer(ADMIN));
        ask(&sale.edge, asked.as_bytes()).await.unwrap().status == 200
    })
    .await;
    send_all(&sale, &after, cases()).await;
    allow::a_405_names_what_the_path_takes(&sale, &bearer(ADMIN)).await;
    sale.stack.shutdown().await;
}
