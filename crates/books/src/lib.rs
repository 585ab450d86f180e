//! The books: PostgreSQL's side of a sale outside of settlement, and how Redis is told of it.
//!
//! Owns holds and the effects log; leaves settling to the settler. Both programs use it, so that
//! the API and the command line are one code. Invariant: what adds stock is committed here before
//! Redis hears of it, and Redis hears of it through the log alone, in order, exactly once.

pub mod codes;
pub mod effects;
pub mod holds;
pub mod ledger;
pub mod report;
