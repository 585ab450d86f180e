//! What a 405 names as allowed: what the path takes, also where nginx says 405 itself, as to TRACE.

use edge::http::{admin, routes};

use super::head;
use crate::fixture::Sale;
use crate::raw::ask;

/// Every path of the table that nginx passes on, with what it takes.
fn resources() -> Vec<(String, &'static str)> {
    let passed = |template: &str| template.starts_with("/api/") || template.starts_with("/ws");
    let ours = routes::ROUTES.iter().map(|route| (route.template, route.allow));
    let operators = admin::route::ROUTES.iter().map(|route| (route.template, route.method));
    let all = ours.chain(operators).filter(|(template, _)| passed(template));
    all.map(|(template, allow)| (filled(template), allow)).collect()
}

/// A path of a template.
fn filled(template: &str) -> String {
    template.replace("{product_id}", "1").replace("{reservation_id}", "x")
}

async fn allowed(base: &str, request_line: &str, headers: &str) -> String {
    let answer = ask(base, head(request_line, headers).as_bytes()).await.unwrap();
    assert_eq!(answer.status, 405, "{request_line} at {base}: {answer:?}");
    let allow = answer.head.lines().find_map(|line| line.strip_prefix("allow: "));
    allow.unwrap_or_else(|| panic!("{request_line} at {base}: {answer:?}")).to_ascii_uppercase()
}

pub(super) async fn a_405_names_what_the_path_takes(sale: &Sale, headers: &str) {
    let doors = [sale.edge.as_str(), sale.stack.http()];
    for (path, allow) in resources() {
        for base in doors {
            let trace = allowed(base, &format!("TRACE {path}"), headers).await;
            assert_eq!(trace, allow, "TRACE {path} at {base}");
            let query = allowed(base, &format!("TRACE {path}?a=b"), headers).await;
            assert_eq!(query, allow, "TRACE {path}?a=b at {base}");
            let put = allowed(base, &format!("PUT {path}"), headers).await;
            assert_eq!(put, allow, "PUT {path} at {base}");
        }
    }
    for request_line in ["POST /", "PUT /index.html", "TRACE /index.html", "CONNECT /"] {
        let allow = allowed(sale.stack.http(), request_line, "content-length: 0\r\n").await;
        assert_eq!(allow, "GET, HEAD", "{request_line}");
    }
}
