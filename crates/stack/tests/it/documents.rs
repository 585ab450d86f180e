//! README against the programs: every setting is documented, and nothing else is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_stack")).with_file_name(name)
}

/// Variable and default of every setting `--help` names, as in `[env: STOCK=] [default: 1000]`.
pub(crate) fn settings(program_name: &str, args: &[&str]) -> BTreeMap<String, String> {
    let mut command = Command::new(program(program_name));
    command.args(args).arg("--help").env_clear();
    let output = command.output().unwrap_or_else(|error| {
        panic!("{program_name} is not built, run `cargo build --workspace`: {error}")
    });
    let help = String::from_utf8(output.stdout).unwrap();
    let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = BTreeMap::new();
    for part in text.split("[env: ").skip(1) {
        let (variable, rest) = part.split_once(']').unwrap();
        let name = variable.split('=').next().unwrap().to_owned();
        let default = rest.strip_prefix(" [default: ").map(|d| d.split(']').next().unwrap());
        found.insert(name, default.unwrap_or_default().to_owned());
    }
    found
}

/// Rows `| `NAME` | program | default | meaning |` of the configuration table.
fn documented() -> BTreeMap<(String, String), String> {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"))
            .unwrap();
    let rows = readme.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let name = cells[0].trim_end_matches('`');
        let is_variable = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        if !is_variable || cells.len() < 4 {
            return None;
        }
        let default = cells[2].trim_matches('`').to_owned();
        let programs = cells[1].split(", ").map(str::to_owned).collect::<Vec<_>>();
        Some(programs.into_iter().map(move |p| ((p, name.to_owned()), default.clone())))
    });
    rows.flatten().collect()
}

#[test]
fn the_configuration_table_says_what_help_says() {
    let programs: [(&str, &str, &[&str]); 3] =
        [("edge", "edge", &["run"]), ("settler", "settler", &["run"]), ("stack", "stack", &["up"])];
    let mut real = BTreeMap::new();
    for (label, program_name, args) in programs {
        for (name, default) in settings(program_name, args) {
            real.insert((label.to_owned(), name), default);
        }
    }
    assert!(real.len() > 20, "help was not understood: {real:?}");
    assert_eq!(documented(), real);
}
