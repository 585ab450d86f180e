//! One row of the table: figures, what they cost, goals, and the invariants checked afterwards.
//!
//! Invariant: a goal that is missed and a check that fails stay in the row; nothing drops one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::accounting::{self, Usage};

/// What one measurement says.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    /// Which measurement, as `--rows` names it.
    pub(crate) row: String,
    /// Under which circumstances.
    pub(crate) of: String,
    /// What is counted; `requests` unless said otherwise.
    pub(crate) unit: &'static str,
    pub(crate) per_second: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p999_ms: Option<f64>,
    /// The ceiling measured next to it.
    pub(crate) ceiling_per_second: Option<f64>,
    /// By process group.
    pub(crate) usage: BTreeMap<&'static str, Usage>,
    /// Of the ceiling.
    pub(crate) ceiling_usage: BTreeMap<&'static str, Usage>,
    /// Requests it is the cost of.
    #[serde(skip)]
    ceiling_requests: u64,
    /// Everything else worth knowing, by name with its unit.
    pub(crate) facts: Vec<(String, f64)>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) checks: Vec<Check>,
}

/// A goal, and what was reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    pub(crate) reached: f64,
    pub(crate) met: bool,
}

/// Which side of a number is good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, reached: f64) -> bool {
        match self {
            Self::AtLeast(bound) => reached >= bound,
            Self::AtMost(bound) => reached <= bound,
        }
    }
}

/// An invariant, with its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) holds: bool,
    pub(crate) figures: String,
}

impl Row {
    /// An empty row.
    pub(crate) fn new(row: &str, of: impl Into<String>) -> Self {
        Self { row: row.to_owned(), of: of.into(), unit: "requests", ..Self::default() }
    }

    /// A row that could not be measured; it counts as broken.
    pub(crate) fn failed(row: &str, error: &anyhow::Error) -> Self {
        let mut failed = Self::new(row, "");
        failed.check("measured", false, format!("{error:#}"));
        failed
    }

    pub(crate) fn fact(&mut self, what: impl Into<String>, value: f64) {
        self.facts.push((what.into(), value));
    }

    /// Adds what one round of the ceiling cost.
    pub(crate) fn ceiling_cost(&mut self, usage: &BTreeMap<&'static str, Usage>, requests: u64) {
        self.ceiling_requests += requests;
        accounting::add(&mut self.ceiling_usage, usage, self.ceiling_requests);
    }

    pub(crate) fn goal(&mut self, what: &str, bound: Bound, reached: f64) {
        // What could not be measured, such as a ratio to nothing, is not met.
        let met = reached.is_finite() && bound.holds(reached);
        self.goals.push(Goal { what: what.to_owned(), bound, reached, met });
    }

    pub(crate) fn check(&mut self, what: &str, holds: bool, figures: impl Into<String>) {
        self.checks.push(Check { what: what.to_owned(), holds, figures: figures.into() });
    }

    /// Rate over the ceiling's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.per_second? / self.ceiling_per_second?)
    }

    /// Whether every invariant held.
    pub(crate) fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_on_its_side_only_and_never_by_what_was_not_measured() {
        let mut row = Row::new("accepted", "");
        row.goal("ratio", Bound::AtLeast(0.55), 0.55);
        row.goal("ratio", Bound::AtLeast(0.55), 0.54);
        row.goal("p99 ms", Bound::AtMost(10.0), 10.0);
        row.goal("p99 ms", Bound::AtMost(10.0), 10.1);
        row.goal("ratio", Bound::AtLeast(0.55), f64::INFINITY);
        row.goal("p99 ms", Bound::AtMost(10.0), f64::NAN);
        let met: Vec<_> = row.goals.iter().map(|goal| goal.met).collect();
        assert_eq!(met, [true, false, true, false, false, false]);
    }

    #[test]
    fn a_row_that_could_not_be_measured_is_broken() {
        assert!(Row::new("feed", "").holds());
        assert!(!Row::failed("feed", &anyhow::anyhow!("no servers")).holds());
    }
}
