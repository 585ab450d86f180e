//! Runs a private Redis, RabbitMQ, PostgreSQL, nginx, edges and settlers on free loopback ports.
//!
//! Owns starting, supervising and stopping; `make run`, integration tests and benches use it.
//! Invariant: whatever happens to a [`Stack`], no process of it outlives it by more than a moment:
//! dropped, it kills them; killed itself, its guard does.

pub mod cli;
mod control;
mod data_dir;
mod doctor;
mod find;
mod guard;
mod http;
mod install;
mod loadtest;
mod options;
mod process;
mod programs;
pub mod proxy;
mod rabbitmqctl;
mod redis;
mod requirements;
mod servers;
mod signal;
mod stack;
mod supervise;
mod wheels;

pub use options::{Limits, Server, StackOptions};
pub use process::{ProcessStatus, State};
pub use stack::{Stack, Status};
