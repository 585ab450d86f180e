//! `openapi.json` against the implementation: what it describes is sent, and answered so.
//!
//! Invariant: nothing in the document is left out.

mod document;
mod feed;
mod goods;
mod lone_edge;
mod schema;
mod shop;
mod wire;

use std::collections::BTreeSet;

use domain::contract::problem::Code;
use edge::http::admin::route::ROUTES as ADMIN_ROUTES;
use edge::http::routes::ROUTES;
use futures_util::future::join_all;
use serde_json::Value;

use document::{Case, cases, load, operations};
use feed::Feed;
use schema::misfits;
use shop::Shop;
use wire::Answer;

/// What an answer has in common with its example; the rest is held by the schema.
const SAME: [&str; 20] = [
    "type",
    "title",
    "status",
    "code",
    "detail",
    "field",
    "replayed",
    "opens_at",
    "closes_at",
    "expires_at",
    "reason",
    "name",
    "price_minor",
    "currency",
    "limit",
    "hold_seconds",
    "state",
    "user_id",
    "delta",
    "total",
];

const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];

#[test]
fn it_describes_every_route_and_no_other() {
    let document = load();
    let described: BTreeSet<String> =
        operations(&document).into_iter().map(|(label, ..)| label).collect();
    let public = |path: &str| path.starts_with("/api/") || path.starts_with("/ws");
    let routed = ROUTES.iter().filter(|route| public(route.template)).flat_map(|route| {
        route.allow.split(", ").map(|method| format!("{method} {}", route.template))
    });
    let admin = ADMIN_ROUTES.iter().map(|route| format!("{} {}", route.method, route.template));
    assert_eq!(routed.chain(admin).collect::<BTreeSet<_>>(), described);
}

#[test]
fn it_names_every_code_and_no_other() {
    let document = load();
    let cases = cases(&document);
    let named: BTreeSet<&str> =
        cases.iter().filter_map(|case| case.value?["code"].as_str()).collect();
    assert_eq!(named, Code::ALL.iter().map(|code| code.as_str()).collect());
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let listed = listed.as_array().unwrap().iter().map(|code| code.as_str().unwrap());
    assert_eq!(listed.collect::<BTreeSet<_>>(), named);
    for case in cases.iter().filter(|case| case.value.is_some_and(|v| v["code"].is_string())) {
        let value = case.value.unwrap();
        let code = Code::ALL.iter().find(|code| code.as_str() == value["code"]).unwrap();
        let told = (value["status"].as_u64(), value["title"].as_str());
        assert_eq!(told, (Some(code.status().into()), Some(code.title())), "{}", case.name);
    }
}

#[test]
fn it_is_well_formed_and_its_examples_fit_its_schemas() {
    let document = load();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    for (label, _, path, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{label}: operationId");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path: BTreeSet<String> = parameters
            .clone()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let wanted = path.split('/').filter(|segment| segment.starts_with('{'));
        assert_eq!(in_path, wanted.map(str::to_owned).collect(), "{label}");
        for parameter in parameters {
            for (name, example) in parameter["examples"].as_object().into_iter().flatten() {
                hold(
                    &document,
                    &parameter["schema"],
                    &example["value"],
                    &format!("{label} {name}"),
                );
            }
        }
        for scheme in operation["security"].as_array().into_iter().flatten() {
            let names = scheme.as_object().unwrap().keys();
            assert!(names.into_iter().all(|name| schemes.contains_key(name)), "{label}: {scheme}");
        }
        let body = &operation["requestBody"]["content"]["application/json"];
        for (name, example) in body["examples"].as_object().into_iter().flatten() {
            hold(&document, &body["schema"], &example["value"], &format!("{label} {name}"));
        }
    }
    for case in cases(&document) {
        if let Some(value) = case.value {
            let (_, schema) = media(case.response);
            hold(&document, schema, value, &format!("{} {}", case.operation, case.name));
        }
    }
}

#[track_caller]
fn hold(document: &Value, schema: &Value, value: &Value, at: &str) {
    let found = misfits(document, schema, value, at);
    assert!(found.is_empty(), "{found:#?}");
}

/// The one media type of a response, and its schema.
fn media(response: &Value) -> (&str, &Value) {
    let mut content = response["content"].as_object().unwrap().iter();
    let (name, media) = content.next().unwrap();
    assert!(content.next().is_none(), "one media type a response");
    (name, &media["schema"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_describes_is_answered_so() {
    let document = load();
    let cases = cases(&document);
    let shop = Shop::open().await;
    let feed = Feed::open(shop.stack.http(), "/ws").await;
    let stats = Feed::open(shop.stack.http(), "/ws/stats").await;
    let mut wrong = Vec::new();
    let mut judge = |case: &Case<'_>, answer: &Answer| {
        let found = compare(&document, case, answer);
        wrong.extend(
            found.into_iter().map(|what| format!("{} {}: {what}", case.operation, case.name)),
        );
    };
    // Each takes seconds, and none minds the others.
    let (slow, quick): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| case.name == "request_timeout");
    for (case, answer) in
        slow.iter().zip(join_all(slow.iter().map(|case| shop.ask(case, &cases))).await)
    {
        judge(case, &answer);
    }
    for case in quick {
        judge(case, &shop.ask(case, &cases).await);
    }
    for case in cases.iter().filter(|case| !case.operation.is_empty() && case.status < 300) {
        wrong.extend(other_methods(&shop, &document, case).await);
    }
    wrong.extend(feed.close(&document).await);
    wrong.extend(stats.close(&document).await);
    shop.close().await;
    assert!(wrong.is_empty(), "{} cases: {wrong:#?}", cases.len());
}

/// What is not as the case says.
fn compare(document: &Value, case: &Case<'_>, answer: &Answer) -> Vec<String> {
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != case.status {
        return vec![format!("{} instead of {}: {body}", answer.status, case.status)];
    }
    let mut wrong = Vec::new();
    for (name, header) in case.response["headers"].as_object().into_iter().flatten() {
        let only_in = header["x-in"].as_array();
        let wanted = only_in.is_none_or(|names| names.contains(&Value::from(case.name)));
        match answer.header(name) {
            Some(value) if wanted => {
                wrong.extend(misfits(document, &header["schema"], &Value::from(value), name));
            }
            None if wanted => wrong.push(format!("the header {name} is missing")),
            Some(value) => wrong.push(format!("the header {name}: {value}")),
            None => {}
        }
    }
    let Some(example) = case.value else {
        wrong.extend((!answer.body.is_empty()).then(|| "a body that is not described".to_owned()));
        return wrong;
    };
    let (media_type, schema) = media(case.response);
    if answer.header("content-type") != Some(media_type) {
        wrong.push(format!("{:?} instead of {media_type}", answer.header("content-type")));
    }
    let Ok(value) = serde_json::from_str::<Value>(&body) else {
        wrong.push(format!("not JSON: {body}"));
        return wrong;
    };
    wrong.extend(misfits(document, schema, &value, "body"));
    let names = |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    for (field, shown) in example.as_object().into_iter().flatten() {
        if value[field].is_null() != shown.is_null() {
            wrong.push(format!("{field}: {} instead of {shown}", value[field]));
        }
    }
    for field in SAME {
        if value[field] != example[field] {
            wrong.push(format!("{field}: {} instead of {}", value[field], example[field]));
        }
    }
    if media_type == "application/problem+json" && names(&value) != names(example) {
        wrong.push(format!("{:?} instead of {:?}", names(&value), names(example)));
    }
    wrong
}

/// Methods a path is not described with are refused, and the refusal names the others.
async fn other_methods(shop: &Shop, document: &Value, case: &Case<'_>) -> Vec<String> {
    let (_, path) = case.operation.split_once(' ').unwrap();
    let described: Vec<String> =
        document["paths"][path].as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
    let mut wrong = Vec::new();
    for method in METHODS.iter().filter(|method| !described.contains(&(**method).to_owned())) {
        let answer = shop.ask_with(&case.sent, method).await;
        let allow: BTreeSet<&str> =
            answer.header("allow").unwrap_or_default().split(", ").collect();
        if answer.status != 405 || allow != described.iter().map(String::as_str).collect() {
            wrong.push(format!("{method} {path}: {} with {allow:?}", answer.status));
        }
    }
    wrong
}
