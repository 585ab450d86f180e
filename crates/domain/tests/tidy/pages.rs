//! The words of the pages: both languages say the same, and every text is there and is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use domain::contract::problem::Code;
use serde_json::Value;

use crate::tree::{root, sources};

/// What nginx alone answers; the other codes are the contract's.
const NGINX_CODES: [&str; 2] = ["HEADERS_TOO_LARGE", "TOO_MANY_REQUESTS"];

/// The texts of a language, by key, of every page.
fn texts(language: &str) -> BTreeMap<String, Value> {
    let folder = root().join("public/i18n").join(language);
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let file: BTreeMap<String, Value> =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for (key, text) in file {
            assert!(
                texts.insert(key.clone(), text).is_none(),
                "{key} is there twice in {language}"
            );
        }
    }
    texts
}

/// The parameters of a text, in whatever plural.
fn parameters(text: &Value) -> BTreeSet<String> {
    let all = match text {
        Value::Object(forms) => forms.values().map(Value::to_string).collect(),
        one => one.to_string(),
    };
    all.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
}

/// Every page and every script of ours.
fn pages() -> Vec<String> {
    let sources = [sources(&["public"], "html"), sources(&["public/js"], "js")].concat();
    sources.iter().map(|source| source.lines.join("\n")).collect()
}

/// What the pages name: whole keys, and beginnings that something is put behind.
fn named() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut keys, mut beginnings) = (BTreeSet::new(), BTreeSet::new());
    for text in pages() {
        for (before, after) in
            [("data-i18n=\"", '"'), ("data-i18n-label=\"", '"'), ("'", '\''), ("`", '`')]
        {
            for part in text.split(before).skip(1) {
                let name = part.split(after).next().unwrap_or_default();
                match name.split_once("${") {
                    Some((beginning, _)) if beginning.ends_with('.') => {
                        beginnings.insert(beginning.to_owned());
                    }
                    _ => drop(keys.insert(name.to_owned())),
                }
            }
        }
    }
    (keys, beginnings)
}

/// The first argument of every `t('…')`, and every `data-i18n`.
fn asked() -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for text in pages() {
        for (before, after) in
            [("data-i18n=\"", '"'), ("data-i18n-label=\"", '"'), (" t('", '\''), ("(t('", '\'')]
        {
            let parts = text.split(before).skip(1);
            asked.extend(parts.filter_map(|part| Some(part.split_once(after)?.0.to_owned())));
        }
    }
    asked
}

/// Everything that is not as it should be.
pub(crate) fn findings() -> Vec<String> {
    let (english, thai) = (texts("en"), texts("th"));
    let (keys, beginnings) = named();
    let mut findings = Vec::new();
    for key in english.keys().chain(thai.keys()) {
        let (Some(one), Some(other)) = (english.get(key), thai.get(key)) else {
            findings.push(format!("{key} is there in one language only"));
            continue;
        };
        if parameters(one) != parameters(other) {
            findings.push(format!("{key} has other parameters in Thai"));
        }
        if !keys.contains(key) && !beginnings.iter().any(|start| key.starts_with(start)) {
            findings.push(format!("{key} is named by no page"));
        }
    }
    let missing = asked().into_iter().filter(|key| !english.contains_key(key));
    findings.extend(missing.map(|key| format!("{key} has no text")));
    let codes = Code::ALL.iter().map(|code| code.as_str()).chain(NGINX_CODES);
    let mute = codes.map(|code| format!("code.{code}")).filter(|key| !english.contains_key(key));
    findings.extend(mute.map(|key| format!("{key} has no text")));
    findings
}
