//! The rules. Each returns one line a finding, `path:line: what`.

use std::collections::HashMap;

use crate::tree::{Source, root, sources};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;
const LUA_LINES_MAX: usize = 100;

/// Which modules of the edge may import which.
pub(crate) const EDGE_ARROWS: &[(&str, &[&str])] = &[
    ("main", &["edge"]),
    (
        "app",
        &[
            "server", "http", "feed", "stats", "holds", "reserve", "publish", "read", "metrics",
            "settings",
        ],
    ),
    ("server", &["http", "feed", "metrics"]),
    ("http", &["feed", "holds", "reserve", "publish", "read", "metrics"]),
    ("feed", &["stats", "reserve", "publish", "read", "metrics"]),
    ("stats", &["reserve", "metrics"]),
    ("holds", &["read", "metrics"]),
    ("reserve", &["publish", "metrics"]),
    ("publish", &["metrics"]),
    ("read", &["metrics"]),
    ("metrics", &[]),
    ("settings", &[]),
    ("lib", &[]),
];

/// Which modules of the settler may import which.
pub(crate) const SETTLER_ARROWS: &[(&str, &[&str])] = &[
    ("main", &["settler"]),
    (
        "app",
        &[
            "consume",
            "expiry",
            "relay",
            "gatekeeper",
            "reconcile",
            "sweeper",
            "report",
            "stats",
            "metrics",
            "settings",
        ],
    ),
    ("sweeper", &["consume", "reconcile", "settle"]),
    ("commands", &["reconcile", "settings"]),
    ("dead", &["commands", "consume", "settings"]),
    ("sale_command", &["commands", "preflight", "settings"]),
    ("preflight", &["commands", "consume", "gatekeeper", "reconcile"]),
    ("reconcile", &["consume", "gatekeeper", "settle", "metrics", "codes"]),
    ("consume", &["settle", "report", "metrics"]),
    ("relay", &["consume", "gatekeeper", "metrics"]),
    ("gatekeeper", &["metrics", "codes"]),
    ("expiry", &["gatekeeper", "report", "metrics"]),
    ("report", &[]),
    ("stats", &["gatekeeper", "reconcile", "metrics"]),
    ("settle", &[]),
    ("codes", &[]),
    ("metrics", &[]),
    ("settings", &[]),
    ("lib", &[]),
];

pub(crate) fn opens_with_a_doc_comment(source: &Source) -> Vec<String> {
    let first = source.lines.first().map(String::as_str).unwrap_or_default();
    if first.starts_with("//! ") { Vec::new() } else { vec![format!("{}:1: {first}", source.path)] }
}

pub(crate) fn size(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    if source.lines.len() > FILE_LINES_MAX {
        findings.push(format!("{}: {} lines", source.path, source.lines.len()));
    }
    for (n, line) in source.lines.iter().enumerate() {
        // A literal that is compared byte by byte cannot be broken.
        if line.chars().count() > LINE_CHARS_MAX && !line.contains("r#\"") {
            findings.push(format!("{}:{}: {} chars", source.path, n + 1, line.chars().count()));
        }
    }
    findings
}

/// Relies on rustfmt: a function ends at the first `}` indented like its `fn`.
pub(crate) fn function_size(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (start, line) in source.lines.iter().enumerate() {
        let code = line.trim_start();
        let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub const fn "]
            .iter()
            .any(|opening| code.starts_with(opening));
        if !is_function || line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let length = source.lines[start..].iter().position(|l| *l == end).map_or(0, |n| n + 1);
        if length > FUNCTION_LINES_MAX {
            findings.push(format!("{}:{}: {length} lines", source.path, start + 1));
        }
    }
    findings
}

pub(crate) fn forbidden(folders: &[&str], words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources(folders, "rs") {
        for (n, code) in source.code() {
            for word in words.iter().filter(|word| code.contains(**word)) {
                findings.push(format!("{}:{n}: {word}", source.path));
            }
        }
    }
    findings
}

pub(crate) fn arrows(folder: &str, allowed: &[(&str, &[&str])]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources(&[folder], "rs") {
        let inside = source.path.strip_prefix(&format!("{folder}/")).unwrap();
        let module = inside.split(['/', '.']).next().unwrap();
        let Some((_, targets)) = allowed.iter().find(|(name, _)| *name == module) else {
            findings.push(format!("{}: module `{module}` has no arrows", source.path));
            continue;
        };
        for (n, code) in source.code() {
            for import in code.split("crate::").skip(1) {
                let target: String =
                    import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if target != module && !targets.contains(&target.as_str()) && !target.is_empty() {
                    findings.push(format!("{}:{n}: {module} -> {target}", source.path));
                }
            }
        }
    }
    findings
}

pub(crate) fn includes(folders: &[&str], sql: &str, lua: &str) -> Vec<String> {
    let mut readers: HashMap<String, Vec<String>> = HashMap::new();
    for source in sources(folders, "rs") {
        for (n, code) in source.code() {
            let Some((_, rest)) = code.split_once("include_str!(\"") else { continue };
            let file = rest.split('"').next().unwrap().trim_start_matches("../").to_owned();
            readers.entry(file).or_default().push(format!("{}:{n}", source.path));
        }
    }
    let mut findings = Vec::new();
    for folder in [sql, lua] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.contains('.') {
                let file = format!("{folder}/{name}");
                match readers.get(&file).map_or(0, Vec::len) {
                    1 => {}
                    count => findings.push(format!("{file}: read by {count}")),
                }
            }
        }
    }
    findings
}

pub(crate) fn lua_script(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let mut miss = |what: &str| findings.push(format!("{}: {what}", source.path));
    if source.lines.len() > LUA_LINES_MAX {
        miss("more than 100 lines");
    }
    if !source.lines[0].starts_with("#!lua") {
        miss("no `#!lua` line, so Redis would not refuse it when out of memory");
    }
    for heading in ["-- Purpose: ", "-- KEYS: ", "-- ARGV: ", "-- Returns: "] {
        if !source.lines.iter().any(|line| line.starts_with(heading)) {
            miss(heading);
        }
    }
    let is_code = |line: &&String| !line.starts_with("--") && !line.starts_with("#!");
    let first = source.lines.iter().find(is_code).map(String::as_str).unwrap_or_default();
    if !first.starts_with("local ") || !first.contains("KEYS[1]") {
        miss("the first statement does not name the keys");
    }
    findings
}

pub(crate) fn sql_statement(source: &Source) -> Vec<String> {
    if source.path.contains("sql/schema/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut miss = |what: &str| findings.push(format!("{}: {what}", source.path));
    if !source.lines[0].starts_with("-- ") {
        miss("no header sentence");
    }
    if !source.lines.iter().any(|line| line.starts_with("-- Params: ")) {
        miss("no `-- Params:`");
    }
    let code = source.lines.iter().filter(|line| !line.starts_with("--"));
    if code.clone().any(|line| line.contains(';')) {
        miss("more than one statement");
    }
    if code.clone().any(|line| line.contains("SELECT *")) {
        miss("columns are not named");
    }
    findings
}
