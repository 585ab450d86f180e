//! The table for people and the JSON for programs; both hold every row.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::accounting::Usage;
use crate::row::{Bound, Row};

/// What a bench run was, and everything it measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) cores: usize,
    /// Length of one run.
    pub(crate) seconds: u64,
    /// Length of everything, with starting and settling.
    pub(crate) took_seconds: u64,
    pub(crate) invariants_hold: bool,
    pub(crate) goals_met: usize,
    pub(crate) goals: usize,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(rows: Vec<Row>, seconds: u64, took_seconds: u64) -> Self {
        let goals = || rows.iter().flat_map(|row| &row.goals);
        Self {
            date: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            seconds,
            took_seconds,
            invariants_hold: rows.iter().all(Row::holds),
            goals_met: goals().filter(|goal| goal.met).count(),
            goals: goals().count(),
            rows,
        }
    }

    /// Writes the JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// The last line.
    pub(crate) fn summary(&self) -> String {
        let broken: usize =
            self.rows.iter().flat_map(|row| &row.checks).filter(|check| !check.holds).count();
        let checks: usize = self.rows.iter().map(|row| row.checks.len()).sum();
        let verdict = match broken {
            0 => format!("all {checks} checks hold"),
            broken => format!("{broken} of {checks} checks are BROKEN"),
        };
        format!(
            "{} of {} goals met, {verdict}; {} s, {} cores, commit {}",
            self.goals_met, self.goals, self.took_seconds, self.cores, self.commit
        )
    }
}

/// Writes one line to the terminal.
pub(crate) fn say(line: &str) {
    // A closed terminal must not end the run.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The line above the rows.
pub(crate) fn heading() -> String {
    format!(
        "\n{:<13} {:<26} {:>10} {:>8} {:>8} {:>8} {:>10} {:>6}",
        "row", "of", "a second", "p50 ms", "p99 ms", "p99.9 ms", "ceiling", "ratio"
    )
}

/// One row with everything below it.
pub(crate) fn lines(row: &Row) -> Vec<String> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut lines = vec![format!(
        "{:<13} {:<26} {:>10} {:>8} {:>8} {:>8} {:>10} {:>6}",
        row.row,
        row.of,
        number(row.per_second, 0),
        number(row.p50_ms, 2),
        number(row.p99_ms, 2),
        number(row.p999_ms, 2),
        number(row.ceiling_per_second, 0),
        number(row.ratio(), 2),
    )];
    if !row.usage.is_empty() {
        lines.push(format!(
            "    CPU s per million {}: {}",
            row.unit,
            join(&row.usage, per_million)
        ));
        let switches = join(&row.usage, |usage| usage.context_switches.to_string());
        lines.push(format!("    context switches: {switches}"));
        let memory = join(&row.usage, |usage| (usage.memory_bytes / 1_048_576).to_string());
        lines.push(format!("    memory MiB: {memory}"));
    }
    if !row.ceiling_usage.is_empty() {
        let cost = join(&row.ceiling_usage, per_million);
        lines.push(format!("    CPU s per million of the ceiling: {cost}"));
    }
    let facts: Vec<_> =
        row.facts.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
    for some in facts.chunks(5) {
        lines.push(format!("    {}", some.join(" · ")));
    }
    for goal in &row.goals {
        let mark = if goal.met { "✓ met    " } else { "✗ NOT MET" };
        let bound = match goal.bound {
            Bound::AtLeast(bound) => format!(">= {bound}"),
            Bound::AtMost(bound) => format!("<= {bound}"),
        };
        lines.push(format!("  {mark} {}: {:.2}, goal {bound}", goal.what, goal.reached));
    }
    for check in &row.checks {
        let mark = if check.holds { "✓ holds  " } else { "✗ BROKEN " };
        lines.push(format!("  {mark} {}: {}", check.what, check.figures));
    }
    lines
}

/// Each group with its value, groups that have none left out.
fn join(usage: &BTreeMap<&'static str, Usage>, show: impl Fn(&Usage) -> String) -> String {
    let parts = usage.iter().map(|(group, usage)| (group, show(usage)));
    let parts = parts.filter(|(_, value)| !matches!(value.as_str(), "0" | "0.0"));
    parts.map(|(group, value)| format!("{group} {value}")).collect::<Vec<_>>().join(", ")
}

fn per_million(usage: &Usage) -> String {
    format!("{:.1}", usage.cpu_seconds_per_million)
}

fn said(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_and_a_broken_check_are_shown_and_counted() {
        let mut row = Row::new("accepted", "256 connections");
        row.per_second = Some(10.0);
        row.ceiling_per_second = Some(40.0);
        row.goal("of the ceiling", Bound::AtLeast(0.55), 0.25);
        row.check("nobody has two", false, "3 users");
        let text = lines(&row).join("\n");
        for part in ["0.25", "✗ NOT MET of the ceiling", "✗ BROKEN  nobody has two: 3 users"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let report = Report::new(vec![row], 5, 60);
        assert!(!report.invariants_hold);
        assert!(report.summary().starts_with("0 of 1 goals met, 1 of 1 checks are BROKEN"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["goals"][0]["bound"]["at_least"], 0.55);
    }
}
