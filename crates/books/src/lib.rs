//! The books: PostgreSQL's side of a sale outside of settlement, and how Redis is told of it.
//!
//! Owns the effects log, holds, and what an operator changes; leaves settling to the settler. Both
//! programs use it, so that the API and the command line are one code. Invariant: what adds stock
//! is committed here before Redis hears of it, and Redis hears of it through the log alone, in
//! order, exactly once.

pub mod adjustments;
pub mod codes;
pub mod cut;
mod effect_rows;
pub mod effects;
pub mod error;
pub mod holds;
pub mod ledger;
pub mod marks;
pub mod office;
pub mod orders;
pub mod records;
pub mod report;
pub mod reports;
mod reset;
pub mod sales;
pub mod updates;
