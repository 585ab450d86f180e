//! Dashboards and alerts against the metrics a running system exports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stack::{Stack, StackOptions};

use crate::buyer::{buy, get};
use crate::dockerfile::read;
use crate::wait::wait_until;

/// Labels of every series, by name.
type Exported = BTreeMap<String, BTreeSet<String>>;

/// Names and labels of a page in the OpenMetrics text format; every metric has a help text.
fn read_page(page: &str, exported: &mut Exported) {
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().unwrap();
            let help = format!("# HELP {name} ");
            let text = page.lines().find_map(|line| line.strip_prefix(&help)).unwrap_or_default();
            assert!(text.len() > 10, "{name} has no help text");
        }
        if line.starts_with('#') {
            continue;
        }
        let series = line.split(' ').next().unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
        let known = exported.entry(name.to_owned()).or_default();
        known.extend(labels.map(|(label, _)| label.to_owned()));
    }
}

/// Words of an expression that name a metric of ours, with the labels asked of it.
fn asked(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("flashsale_") {
        let tail = &rest[at..];
        let end = tail.find(|c| !is_word(c)).unwrap_or(tail.len());
        let selector = tail[end..].strip_prefix('{').and_then(|inside| inside.split('}').next());
        let labels = selector.unwrap_or_default().split(',').filter(|s| !s.is_empty());
        let labels = labels.map(|one| one.split(['=', '!']).next().unwrap().to_owned()).collect();
        found.push((tail[..end].to_owned(), labels));
        rest = &tail[end..];
    }
    found
}

/// Labels an expression sums by.
fn grouped(expression: &str) -> Vec<String> {
    let groups = expression.split(" by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    groups.flat_map(|group| group.split(',').map(|label| label.trim().to_owned())).collect()
}

fn check(place: &str, expression: &str, exported: &Exported) -> usize {
    let asked = asked(expression);
    for (name, labels) in &asked {
        let known = exported.get(name).unwrap_or_else(|| panic!("{place}: nobody exports {name}"));
        let groups = grouped(expression);
        for label in labels.iter().chain(&groups) {
            assert!(known.contains(label), "{place}: {name} has no label {label}, only {known:?}");
        }
    }
    asked.len()
}

/// Expressions of the dashboard, each with its panel's title.
fn panels() -> Vec<(String, String)> {
    let board: Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/flash-sale.json")).unwrap();
    let source: Value =
        serde_saphyr::from_str(&read("deploy/grafana/provisioning/datasources/prometheus.yml"))
            .unwrap();
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{title}: its id is another's");
        assert_eq!(panel["datasource"]["uid"], source["datasources"][0]["uid"], "{title}");
        assert!(panel["description"].as_str().is_some_and(|d| d.ends_with('.')), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            found.push((title.to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    found
}

/// Expressions of the alerts, each with its name.
pub(crate) fn alerts() -> Vec<(String, String)> {
    let file: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let rules = file["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array());
    let rules = rules.flatten().map(|rule| {
        let name = rule["alert"].as_str().unwrap();
        assert!(rule["annotations"]["summary"].as_str().is_some_and(|s| !s.is_empty()), "{name}");
        assert!(["page", "warn"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        (name.to_owned(), rule["expr"].as_str().unwrap().to_owned())
    });
    rules.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_and_alerts_ask_for_metrics_there_are() {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "100".to_owned())];
    let options = StackOptions { edges: 1, env, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    assert_eq!(buy(stack.http(), 1).await.unwrap().status, 202);
    assert_eq!(buy(stack.http(), 1).await.unwrap().status, 409);
    let settler = stack.url("settler-1").unwrap();
    let page = async |url: &str| get(url, "/metrics").await.unwrap().body.to_string();
    wait_until("the order is counted as settled and the books were looked at", || async {
        let page = page(&settler).await;
        page.contains("settled_orders_total{status=\\\"confirmed\\\"} 1")
            && page.contains("flashsale_queue_messages{")
    })
    .await;

    let mut exported = Exported::new();
    for url in [settler, stack.url("edge-1").unwrap()] {
        let Value::String(text) = get(&url, "/metrics").await.unwrap().body else {
            panic!("{url}/metrics is JSON");
        };
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("le=\"0.00025\""), "latencies are told apart from 0.25 ms");
        read_page(&text, &mut exported);
    }
    let (panels, alerts) = (panels(), alerts());
    assert!(panels.len() > 15 && alerts.len() > 8);
    let asked: usize =
        panels.iter().chain(&alerts).map(|(place, e)| check(place, e, &exported)).sum();
    assert!(asked > 25, "{asked}");
    // Whatever is exported is shown somewhere.
    let shown: String = panels.into_iter().map(|(_, expression)| expression + "\n").collect();
    for name in exported.keys() {
        let stem = ["_bucket", "_sum", "_count"]
            .iter()
            .fold(name.as_str(), |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
        assert!(shown.contains(stem), "no panel shows {stem}");
    }
    stack.shutdown().await;
}
