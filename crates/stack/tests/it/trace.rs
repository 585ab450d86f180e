//! One press of Buy, followed through the logs of both programs.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;
use stack::{Stack, StackOptions};

use crate::buyer::{Answer, send};
use crate::wait::wait_until;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn buy(stack: &Stack, user: u64, headers: &[(&str, &str)]) -> Answer {
    let body = format!(r#"{{"user_id":{user},"product_id":1}}"#);
    let mut request = Request::post("/api/buy")
        .header("host", "localhost")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(stack.http(), request.body(Full::from(Bytes::from(body))).unwrap()).await.unwrap()
}

/// Log lines of a process that name the trace.
fn lines(stack: &Stack, process: &str) -> Vec<Value> {
    let path = stack.dir().join("logs").join(format!("{process}.log"));
    let text = std::fs::read_to_string(path).unwrap();
    let of_trace = text.lines().filter(|line| line.contains(TRACE));
    of_trace.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_request_is_named_in_both_logs_and_others_cost_no_line() {
    let json = ("LOG_FORMAT".to_owned(), "json".to_owned());
    let options = StackOptions { edges: 1, env: vec![json], ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let sampled = [("traceparent", traceparent.as_str()), ("x-request-id", "order-desk-4711")];
    let followed = buy(&stack, 1, &sampled).await;
    assert_eq!(followed.status, 202);
    assert_eq!(followed.headers["x-request-id"], "order-desk-4711");

    wait_until("the settler names the trace", || async { !lines(&stack, "settler-1").is_empty() })
        .await;
    let (at_edge, at_settler) = (lines(&stack, "edge-1"), lines(&stack, "settler-1"));
    assert_eq!((at_edge.len(), at_settler.len()), (1, 1), "{at_edge:?} {at_settler:?}");
    let (at_edge, at_settler) = (&at_edge[0], &at_settler[0]);
    assert_eq!((&at_edge["message"], &at_edge["code"]), (&"buy".into(), &"ACCEPTED".into()));
    assert_eq!(at_edge["location"], followed.text("status_url"));
    assert_eq!(
        (&at_settler["message"], &at_settler["batch.orders"]),
        (&"settled".into(), &1.into())
    );
    for line in [at_edge, at_settler] {
        assert_eq!((&line["trace_id"], &line["request_id"]), (&TRACE.into(), &sampled[1].1.into()));
        assert!(line["timestamp"].is_string() && line["level"] == "INFO");
    }
    assert_eq!(at_edge["span_id"], at_settler["parent_span_id"], "the settler's span is a child");
    assert_ne!(at_edge["span_id"], "b7ad6b7169203331", "the edge has a span of its own");

    // Not sampled, or without a trace: a request id all the same, and no line.
    let unsampled = traceparent.replace("-01", "-00");
    let quiet = buy(&stack, 2, &[("traceparent", &unsampled), ("x-request-id", "bad id\"")]).await;
    assert_eq!(quiet.status, 202);
    let made = quiet.headers["x-request-id"].to_str().unwrap();
    assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
    assert_eq!(lines(&stack, "edge-1").len(), 1);
    let page = crate::buyer::get(stack.http(), "/nothing").await.unwrap();
    assert!(page.headers.contains_key("x-request-id"), "errors nginx answers itself have one, too");
    stack.shutdown().await;
}
