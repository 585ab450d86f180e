//! B100 to B119: paths that try to be something else. Never a file outside of `public/`.

use super::Wanted::{Problem, Taken};
use super::{Case, Wanted, both, each, head};

const NOWHERE: Wanted = Problem(404, "NOT_FOUND");
const MALFORMED: Wanted = Problem(400, "BAD_REQUEST");
const NO_METHOD: Wanted = Problem(405, "METHOD_NOT_ALLOWED");
const EMPTY: &str = "content-type: application/json\r\ncontent-length: 0\r\n";

pub(super) fn cases() -> Vec<Case> {
    let get = |path: &str| head(&format!("GET {path}"), "");
    let post = |path: &str| head(&format!("POST {path}"), EMPTY);
    vec![
        each(100, get("/../etc/passwd"), NOWHERE, MALFORMED),
        each(101, get("/%2e%2e/%2e%2e/etc/passwd"), NOWHERE, MALFORMED),
        both(102, get("/%252e%252e/etc/passwd"), NOWHERE),
        each(103, get("/%00"), NOWHERE, MALFORMED),
        each(104, get("/index.html%00.js"), NOWHERE, MALFORMED),
        both(105, get("//api//buy"), NOWHERE),
        // nginx serves files there, and files take GET only.
        each(106, post("//api//buy"), NOWHERE, NO_METHOD),
        both(107, post("/api/buy/"), NOWHERE),
        both(108, post("/api/x/../buy/"), NOWHERE),
        each(109, get("/api/../../etc/passwd"), NOWHERE, MALFORMED),
        both(110, get("/.git/config"), NOWHERE),
        both(111, get("/%2egit/config"), NOWHERE),
        both(112, get("/api/.env"), NOWHERE),
        both(113, get("/..\\..\\etc\\passwd"), NOWHERE),
        both(114, get("/problem/bad_request"), NOWHERE),
        each(115, get("/metrics"), Taken(200), NOWHERE),
        each(116, get("/readyz"), Taken(200), NOWHERE),
        both(117, get("/api/products/0"), Problem(404, "UNKNOWN_PRODUCT")),
        both(118, get("/api/orders/not-a-uuid"), Problem(404, "UNKNOWN_ORDER")),
        // Without a token there is nothing for operators, whatever they send.
        both(119, head("GET /api/admin/reconcile", "authorization: Bearer x\r\n"), NOWHERE),
    ]
}
