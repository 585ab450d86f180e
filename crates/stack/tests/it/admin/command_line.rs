//! `settler sale` as a person and a script use it.

use std::process::Command;

use serde_json::{Value, json};
use stack::{Stack, StackOptions};

use crate::buyer::{get, post_buy};
use crate::documents::program;
use crate::wait::wait_until;

/// Runs the settler's command line; its exit code, and what it printed to stdout.
pub(super) fn settler(stack: &Stack, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program("settler"))
        .args(args)
        .env("REDIS_URL", stack.redis_url())
        .env("AMQP_URL", stack.amqp_url())
        .env("DATABASE_URL", stack.database_url())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn json_of(stack: &Stack, args: &[&str]) -> (Option<i32>, Value) {
    let all: Vec<&str> = ["sale"].iter().chain(args).chain(&["--json"]).copied().collect();
    let (code, printed) = settler(stack, &all);
    assert_eq!(printed.trim_end().lines().count(), 1, "one document: {printed}");
    (code, serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}")))
}

/// What a check finds wrong.
fn unfit(stack: &Stack) -> Vec<String> {
    let (code, view) = json_of(stack, &["check", "2"]);
    let checks = view["checks"].as_array().unwrap();
    let wrong = checks.iter().filter(|check| check["ok"] == false);
    let names: Vec<_> = wrong.map(|check| check["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        (code, &view["fit"]),
        (Some(i32::from(!names.is_empty())), &names.is_empty().into())
    );
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_is_operated_from_a_terminal() {
    // No token: the command line needs the servers only.
    let options = StackOptions { edges: 1, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let http = stack.http();
    assert_eq!(unfit(&stack), ["product", "books"], "there is none yet");
    let create = ["create", "--name", "Pixel 10", "--price-minor", "2990000", "--currency", "THB"];
    let more = ["--stock", "5", "--opens-at", "2099-12-01T12:00:00+07:00"];
    let (code, sale) = json_of(&stack, &[&create[..], &more].concat());
    assert_eq!((code, &sale["product_id"], &sale["applied"]), (Some(0), &json!(2), &json!(true)));
    assert_eq!(sale["opens_at"], "2099-12-01T05:00:00.000Z");
    assert_eq!(unfit(&stack), [""; 0]);
    let (code, words) = settler(&stack, &["sale", "check", "2"]);
    assert!(code == Some(0) && words.ends_with("fit to sell\n"), "{words}");
    assert!(words.contains("ok   window: opens at 2099-12-01"), "{words}");

    let (code, sale) = json_of(&stack, &["change", "2", "--opens-at", "none", "--limit", "2"]);
    assert_eq!((code, &sale["opens_at"], &sale["limit"]), (Some(0), &Value::Null, &json!(2)));
    wait_until("it sells", || async {
        let body = json!({ "user_id": 1, "product_id": 2, "quantity": 2 }).to_string();
        matches!(post_buy(http, body).await.unwrap().status.as_u16(), 202 | 409)
    })
    .await;
    let key = ["--reason", "damaged", "--key", "k-1"];
    let (code, adjusted) = json_of(&stack, &[&["adjust", "2", "-1"][..], &key].concat());
    assert_eq!(
        (code, &adjusted["total"], &adjusted["replayed"]),
        (Some(0), &json!(4), &false.into())
    );
    let (_, again) = json_of(&stack, &[&["adjust", "2", "-1"][..], &key].concat());
    assert_eq!((&again["total"], &again["replayed"]), (&json!(4), &true.into()));
    let (code, refused) = json_of(&stack, &["adjust", "2", "-3", "--reason", "too many"]);
    let told = (code, refused["code"].as_str(), refused["available"].as_i64());
    assert_eq!(told, (Some(1), Some("NOT_ENOUGH_FREE"), Some(2)));
    let (code, words) = settler(&stack, &["sale", "adjust", "2", "-3", "--reason", "x"]);
    assert_eq!((code, words.as_str()), (Some(1), "refused: only 2 units are free\n"));

    assert_eq!(json_of(&stack, &["pause", "2"]).1["state"], "paused");
    assert_eq!(unfit(&stack), ["window"], "a paused sale does not open by itself");
    assert_eq!(json_of(&stack, &["resume", "2"]).1["state"], "open");
    stack.stop("settler-1").await.unwrap();
    assert_eq!(unfit(&stack), ["settlers"], "nobody would record an order");
    stack.resume("settler-1").await.unwrap();
    assert_eq!(json_of(&stack, &["close", "2"]).1["state"], "closed");
    let (code, refused) = json_of(&stack, &["resume", "2"]);
    assert_eq!((code, refused["code"].as_str()), (Some(1), Some("SALE_ENDED")));
    let (code, refused) = json_of(&stack, &["pause", "404"]);
    assert_eq!((code, refused["code"].as_str()), (Some(1), Some("UNKNOWN_PRODUCT")));
    let (code, list) = json_of(&stack, &["list"]);
    assert_eq!((code, list["sales"].as_array().unwrap().len()), (Some(0), 2));
    let (code, words) = settler(&stack, &["sale", "list"]);
    assert!(code == Some(0) && words.contains("product 2: Pixel 10\n  closed"), "{words}");
    let listed = get(http, "/api/products/2").await.unwrap();
    assert_eq!(listed.body["state"], "closed");
    stack.shutdown().await;
}

#[test]
fn what_is_not_understood_is_told_apart_from_what_is_refused_and_no_secret_is_shown() {
    let run = |name: &str, args: &[&str]| {
        let mut command = Command::new(program(name));
        command.args(args).env_clear().env("ADMIN_TOKEN", "do-not-show");
        for url in ["REDIS_URL", "AMQP_URL", "DATABASE_URL"] {
            command.env(url, "redis://do-not-show@127.0.0.1:1/");
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    for args in [
        &["sale"][..],
        &["sale", "sell", "1"],
        &["sale", "pause"],
        &["sale", "pause", "0"],
        &["sale", "change", "1"],
        &["sale", "change", "1", "--opens-at", "noon"],
        &["sale", "adjust", "1", "0", "--reason", "x"],
        &["sale", "adjust", "1", "5"],
        &["sale", "create", "--name", "x"],
    ] {
        let (code, said) = run("settler", args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
    }
    for (name, args) in [("settler", &["sale", "--help"][..]), ("edge", &["run", "--help"])] {
        let (code, help) = run(name, args);
        assert_eq!(code, Some(0));
        assert!(!help.contains("do-not-show"), "{help}");
    }
    let (_, help) = run("settler", &["sale", "--help"]);
    for word in ["Exit codes", "create", "adjust", "check", "--json"] {
        assert!(help.contains(word), "{help}");
    }
}
