//! Holds the whole tree to its house rules, so that review can be about ideas.
//!
//! Owns the rules a machine can check; the reasons stand in ARCHITECTURE.md.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod pages;
mod rules;
mod supply;
mod tree;

use tree::{Source, sources};

/// Programs and libraries under the rules; `crates/stack` is a tool and keeps the size limits only.
const PROGRAMS: [&str; 5] =
    ["crates/books/src", "crates/domain/src", "crates/service/src", "edge/src", "settler/src"];
const EVERYTHING: [&str; 13] = [
    "crates/bench",
    "crates/books",
    "crates/chaos",
    "crates/domain",
    "crates/service",
    "crates/simulator",
    "crates/stack",
    "edge/src",
    "edge/tests",
    "settler/src",
    "settler/tests",
    "perf/benches",
    "public",
];

#[track_caller]
fn hold(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

fn check(folders: &[&str], extension: &str, rule: fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = sources(folders, extension);
    assert!(!sources.is_empty(), "nothing to check in {folders:?}: did a folder move?");
    sources.iter().flat_map(|source| rule(source).into_iter()).collect()
}

#[test]
fn every_file_says_what_it_owns() {
    hold("open with `//!`", &check(&EVERYTHING, "rs", rules::opens_with_a_doc_comment));
}

#[test]
fn files_functions_and_lines_stay_small() {
    hold("file <= 400, line <= 100", &check(&EVERYTHING, "rs", rules::size));
    hold("function <= 70", &check(&EVERYTHING, "rs", rules::function_size));
}

#[test]
fn http_names_no_store_and_reserve_names_no_http() {
    let stores = ["redis::", "bb8::", "lapin::", "tokio_postgres::", "deadpool_postgres::"];
    hold("edge/src/http names no store", &rules::forbidden(&["edge/src/http"], &stores));
    hold("edge/src/reserve names no hyper", &rules::forbidden(&["edge/src/reserve"], &["hyper::"]));
    hold(
        "domain performs no I/O",
        &rules::forbidden(&["crates/domain/src"], &["std::net", "tokio"]),
    );
    hold("edge and settler are strangers", &rules::forbidden(&["edge/src"], &["settler::"]));
    hold("settler and edge are strangers", &rules::forbidden(&["settler/src"], &["edge::"]));
}

#[test]
fn imports_follow_the_arrows() {
    hold("edge", &rules::arrows("edge/src", rules::EDGE_ARROWS));
    hold("settler", &rules::arrows("settler/src", rules::SETTLER_ARROWS));
}

#[test]
fn one_file_spells_redis_keys() {
    let spelled = ["\"sale:", "\"buyers:", "\"outbox:", "\"feed\"", "\"stats\""];
    let findings = rules::forbidden(&PROGRAMS, &spelled);
    let elsewhere: Vec<_> =
        findings.into_iter().filter(|f| !f.contains("contract/keys.rs")).collect();
    hold("keys are spelled in domain::contract::keys only", &elsewhere);
}

#[test]
fn only_the_contract_is_serialised() {
    let findings = rules::forbidden(&PROGRAMS, &["Serialize)", "Serialize,"]);
    let elsewhere: Vec<_> =
        findings.into_iter().filter(|f| !f.contains("domain/src/contract/")).collect();
    hold("only domain::contract derives Serialize", &elsewhere);
}

#[test]
fn sql_and_lua_live_in_their_own_files_each_read_by_one_module() {
    let texts = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE ", "\"CREATE ", "redis.call('"];
    hold("no SQL or Lua inside .rs", &rules::forbidden(&PROGRAMS, &texts));
    hold("each file is read by one module, and by one", &rules::includes(&PROGRAMS, "sql", "lua"));
}

#[test]
fn only_settings_read_the_environment() {
    let readers = ["env::var", "env!(", "env = \""];
    let findings = rules::forbidden(&PROGRAMS, &readers);
    let elsewhere: Vec<_> = findings.into_iter().filter(|f| !f.contains("settings.rs")).collect();
    hold("only settings read the environment", &elsewhere);
}

#[test]
fn scripts_have_a_header_and_name_their_arguments_first() {
    hold("lua", &check(&["lua"], "lua", rules::lua_script));
}

#[test]
fn statements_have_a_header_and_stand_alone() {
    hold("sql", &check(&["sql"], "sql", rules::sql_statement));
}

#[test]
fn every_package_is_one_that_deny_toml_allows() {
    hold("licences, bans and sources", &supply::findings());
}

#[test]
fn pages_have_their_words_in_both_languages() {
    hold("i18n", &pages::findings());
}

#[test]
fn scripts_of_the_pages_stay_small() {
    hold("file <= 400, line <= 100", &check(&["public/js"], "js", rules::size));
}
