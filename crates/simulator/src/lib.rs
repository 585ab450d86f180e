//! A simulator of the protocol: the programs' own steps and the real Lua scripts over models of
//! Redis, RabbitMQ and PostgreSQL, under seeded schedules of faults.
//!
//! What it proves is the order of steps: nothing of it knows a socket, a disk or a clock. Real
//! servers under real faults are the business of `chaos` and the integration tests.
//! Invariant: a seed makes the same run, so a run that broke can be looked at again.

mod actors;
mod executor;
mod holds;
mod keyspace;
mod ledger;
mod mutant;
mod port;
mod queue;
mod redis_nodes;
mod run;
mod scripts;
mod tables;
mod told;

pub use mutant::Mutant;
pub use run::{Broken, Simulation, Tally};
