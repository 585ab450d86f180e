//! Where packages come from and under which licence, held against deny.toml.
//!
//! Invariant: a package is judged by what its own manifest says; one that says nothing is refused.

use std::process::Command;

use serde_json::Value;

use crate::tree::root;

/// The strings of `name = [ … ]` in deny.toml.
fn list(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let start = format!("\n{name} = [");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("deny.toml has no {name}"));
    let (inside, _) = rest.split_once(']').unwrap();
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every package of a Linux build, with every feature, as cargo sees it.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--format-version=1", "--locked"]);
    cargo.args(["--all-features", "--filter-platform=x86_64-unknown-linux-gnu"]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    said["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met with these licences. `AND` binds tighter than `OR`; old
/// manifests write `/` for `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    let met = either(&words, &mut at, allowed);
    met && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= both(words, at, allowed);
    }
    met
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = either(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    let mut licence = (*word).to_owned();
    if let Some(["WITH", exception]) = words.get(*at..*at + 2) {
        licence.push_str(&format!(" WITH {exception}"));
        *at += 2;
    }
    allowed.contains(&licence)
}

/// What deny.toml does not allow, one line a package.
pub(crate) fn findings() -> Vec<String> {
    let (licences, banned) = (list("allow"), list("deny"));
    let registries = list("allow-registry");
    let mut findings = Vec::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let (name, licence, source) = (text("name"), text("license"), text("source"));
        if !is_met(licence, &licences) {
            findings.push(format!("{name}: licence {licence:?}"));
        }
        if banned.iter().any(|banned| banned == name) {
            findings.push(format!("{name}: banned"));
        }
        let registry = source.strip_prefix("registry+").unwrap_or(source);
        // Members of the workspace have no source.
        if !source.is_empty() && !registries.iter().any(|known| known == registry) {
            findings.push(format!("{name}: from {source}"));
        }
    }
    findings
}

#[test]
fn an_expression_is_met_by_what_is_allowed() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for fine in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR X) AND ISC", "X OR MIT AND ISC"] {
        assert!(is_met(fine, &allowed), "{fine}");
    }
    assert!(is_met("Apache-2.0 WITH LLVM-exception OR X", &allowed));
    for bad in ["", "GPL-3.0", "MIT AND X", "(MIT", "Apache-2.0", "MIT MIT", "(MIT OR X) AND X"] {
        assert!(!is_met(bad, &allowed), "{bad}");
    }
}
