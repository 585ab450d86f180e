//! README's operators' part, typed as it stands: every command works and prints what is shown.

use stack::StackOptions;

use super::shop;
use crate::dockerfile::read;
use crate::runbook::shell;

/// Commands and what is shown after each, from the console block of a section.
fn examples(readme: &str, heading: &str) -> Vec<(String, String)> {
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, block) = section.split_once("```console\n").unwrap();
    let block = block.split("```").next().unwrap();
    let mut examples = Vec::new();
    for example in format!("\n{block}").split("\n$ ").skip(1) {
        // A command goes on while its lines end in a backslash, or a quote is open.
        let mut command = String::new();
        let mut lines = example.lines();
        for line in lines.by_ref() {
            command.push_str(line);
            command.push('\n');
            if !line.ends_with('\\') && command.matches('\'').count().is_multiple_of(2) {
                break;
            }
        }
        let shown = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        examples.push((command, shown));
    }
    examples
}

/// Space and line breaks do not count, and `…` is anything.
fn agrees(printed: &str, shown: &str) -> Result<(), String> {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let mut rest = plain(printed);
    for piece in plain(shown).split('…') {
        let Some((_, after)) = rest.split_once(piece) else {
            return Err(format!("no {piece:?} in {rest:?}"));
        };
        rest = after.to_owned();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_the_operators_part_works_as_it_stands() {
    let examples = examples(&read("README.md"), "Operate a sale");
    assert!(examples.len() >= 7, "{examples:?}");
    let stack = shop(StackOptions { edges: 2, ..StackOptions::default() }, &[]).await;
    let host = stack.http().strip_prefix("http://").unwrap();
    for (command, shown) in examples {
        let typed = command.replace("localhost:8080", host).replace("curl ", "curl -sS ");
        let printed = shell(&stack, &typed);
        agrees(&printed, &shown).unwrap_or_else(|why| panic!("{command}{why}"));
    }
    stack.shutdown().await;
}

#[test]
fn a_wrong_example_is_found() {
    assert!(agrees("{\"a\":1,\"b\":2}", "{\"a\":1, … }").is_ok());
    assert!(agrees("{\"a\":1,\"b\":2}", "{\"a\":2, … }").is_err());
}
