//! The document, cut into cases: one a response example, with the request it answers.
//!
//! A response answers the request examples of the same name, or the first; `x-sent` says what
//! differs: method, path, `padding` (so many characters more), headers, those it is `without`,
//! body.

use serde_json::{Map, Value};

use crate::dockerfile::read;

/// One example of one response.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// `POST /api/buy`; empty for what any path may answer.
    pub(crate) operation: String,
    pub(crate) status: u16,
    pub(crate) name: &'a str,
    pub(crate) response: &'a Value,
    /// The answer; `None` when it has no body.
    pub(crate) value: Option<&'a Value>,
    pub(crate) sent: Sent,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    /// Which of `buyer_token` and `admin_token` it may need.
    pub(crate) security: Option<String>,
}

pub(crate) fn load() -> Value {
    serde_json::from_str(&read("edge/openapi.json")).unwrap()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Every operation, as (`POST /api/buy`, method, path, description).
pub(crate) fn operations(document: &Value) -> Vec<(String, String, &str, &Value)> {
    let mut found = Vec::new();
    for (path, methods) in members(&document["paths"]) {
        for (method, operation) in members(methods) {
            let method = method.to_uppercase();
            found.push((format!("{method} {path}"), method, path.as_str(), operation));
        }
    }
    found
}

/// Every case of every operation, and of what any path may answer.
pub(crate) fn cases(document: &Value) -> Vec<Case<'_>> {
    let mut found = Vec::new();
    for (label, method, path, operation) in operations(document) {
        for (status, response) in members(&operation["responses"]) {
            let status = status.parse().unwrap();
            for (name, example) in examples(response) {
                let sent = request(&method, path, operation, name, &example["x-sent"]);
                let (operation, value) = (label.clone(), example.get("value"));
                found.push(Case { operation, status, name, response, value, sent });
            }
        }
    }
    for (_, response) in members(&document["components"]["responses"]) {
        for (name, example) in examples(response) {
            let value = &example["value"];
            let status = u16::try_from(value["status"].as_u64().unwrap()).unwrap();
            let sent = request("GET", "/", &Value::Null, name, &example["x-sent"]);
            let (operation, value) = (String::new(), Some(value));
            found.push(Case { operation, status, name, response, value, sent });
        }
    }
    found
}

/// The examples of a response, in its one media type or, without a body, beside it.
fn examples(response: &Value) -> Vec<(&String, &Value)> {
    let content = members(&response["content"]).flat_map(|(_, media)| members(&media["examples"]));
    let found: Vec<_> = content.chain(members(&response["x-examples"])).collect();
    assert!(!found.is_empty(), "a response without an example is not held: {response}");
    found
}

/// The request that example is the answer to.
fn request(method: &str, path: &str, operation: &Value, name: &str, differs: &Value) -> Sent {
    let body = &operation["requestBody"]["content"]["application/json"]["examples"];
    let body = body.get(name).or_else(|| members(body).next().map(|(_, example)| example));
    let mut sent = Sent {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: body.map(|example| example["value"].to_string()),
        security: security(operation),
    };
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        add_parameter(&mut sent, parameter, name);
    }
    if sent.body.is_some() {
        sent.headers.push(("content-type".into(), "application/json".into()));
    }
    differ(&mut sent, differs);
    sent
}

fn security(operation: &Value) -> Option<String> {
    let schemes = operation["security"].as_array().into_iter().flatten();
    schemes.filter_map(Value::as_object).flat_map(Map::keys).next().cloned()
}

fn add_parameter(sent: &mut Sent, parameter: &Value, name: &str) {
    let (examples, own) = (&parameter["examples"], parameter["name"].as_str().unwrap());
    let required = parameter["required"] == true;
    let first = || members(examples).next().map(|(_, example)| example).filter(|_| required);
    let Some(example) = examples.get(name).or_else(first) else { return };
    let value = example["value"].as_str().unwrap();
    match parameter["in"].as_str().unwrap() {
        "path" => sent.path = sent.path.replace(&format!("{{{own}}}"), value),
        "query" => {
            let joint = if sent.path.contains('?') { '&' } else { '?' };
            sent.path = format!("{}{joint}{own}={value}", sent.path);
        }
        "header" => sent.headers.push((own.to_lowercase(), value.to_owned())),
        other => panic!("a parameter in {other}"),
    }
}

fn differ(sent: &mut Sent, differs: &Value) {
    if let Some(path) = differs["path"].as_str() {
        path.clone_into(&mut sent.path);
    }
    for (what, value) in members(differs) {
        match what.as_str() {
            "method" => sent.method = value.as_str().unwrap().to_owned(),
            "path" => {}
            "padding" => {
                sent.path.push_str(&"x".repeat(usize::try_from(value.as_u64().unwrap()).unwrap()));
            }
            "body" => sent.body = Some(value.as_str().unwrap().to_owned()),
            "headers" => {
                let pairs = value.as_array().unwrap().iter();
                let pairs: Vec<(String, String)> =
                    pairs.map(|pair| serde_json::from_value(pair.clone()).unwrap()).collect();
                sent.headers.retain(|(name, _)| pairs.iter().all(|(other, _)| other != name));
                sent.headers.extend(pairs);
            }
            "without" => {
                let names = value.as_array().unwrap();
                sent.headers.retain(|(name, _)| !names.contains(&Value::from(name.as_str())));
            }
            other => panic!("x-sent does not say {other}"),
        }
    }
}
