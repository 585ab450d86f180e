//! Everything the settler can be told, from flags or the environment.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use service::settings::{LogSettings, ServerSettings, parse_ms, parse_url};

/// Records queued orders of a flash sale in PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "settler", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Consume, settle, vouch and relay until stopped
    Run(RunSettings),
    /// Bring the database schema up to date, then exit
    Migrate(MigrateSettings),
    /// Create the demo sale (product 1, iPhone 15 Pro) unless it exists, then exit
    Demo(DemoSettings),
    /// Compare PostgreSQL, Redis and RabbitMQ and print what does not add up; exit code 1 if any
    Reconcile(ReconcileSettings),
    /// Messages no settler could read: list them, publish them again, drop them
    Dead(DeadSettings),
    /// Ask the settler that runs on this machine whether it is ready; exit code 0 when it is
    Healthcheck(HealthcheckSettings),
}

/// `settler reconcile`.
#[derive(Debug, Clone, Args)]
pub struct ReconcileSettings {
    /// The three servers.
    #[command(flatten)]
    pub servers: ServerSettings,
    /// Print JSON, alone, to stdout
    #[arg(long)]
    pub json: bool,
    /// Longest wait for everything to be settled, ms; some drift shows only then
    #[arg(long, default_value = "5000", value_parser = parse_ms)]
    pub wait_ms: Duration,
}

/// `settler dead`.
#[derive(Debug, Clone, Args)]
pub struct DeadSettings {
    /// RabbitMQ, `amqp://user:password@host:port/vhost`
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_parser = parse_url)]
    pub amqp_url: String,
    /// What to do.
    #[command(subcommand)]
    pub command: DeadCommand,
}

/// What can be done with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadCommand {
    /// Print each with its id, why it was refused, and the beginning of its body
    List {
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Publish them to the settlers again, as after an upgrade that can read them
    Replay(Which),
    /// Delete them for good
    Drop(Which),
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Every one
    #[arg(long)]
    pub all: bool,
    /// Message ids, as `list` prints them
    pub message_ids: Vec<String>,
}

/// `settler healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckSettings {
    /// Where that settler serves /readyz
    #[arg(long, env = "PROBE_ADDR", default_value = "127.0.0.1:9091")]
    pub probe_addr: SocketAddr,
}

/// `settler run`.
#[derive(Debug, Clone, Args)]
pub struct RunSettings {
    /// The three servers.
    #[command(flatten)]
    pub servers: ServerSettings,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "PROBE_ADDR", default_value = "127.0.0.1:9091")]
    pub probe_addr: SocketAddr,
    /// Threads that run tasks; database and broker do the work, so few are enough
    #[arg(long, env = "SETTLER_WORKER_THREADS", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub worker_threads: u16,
    /// Orders one transaction settles at most
    #[arg(long, env = "SETTLER_BATCH_MAX", default_value_t = 500,
          value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub batch_max: u32,
    /// Messages the broker sends ahead of their acknowledgement
    #[arg(long, env = "SETTLER_PREFETCH", default_value_t = 256,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub prefetch: u16,
    /// Age at which the relay publishes an outbox entry an edge left behind, ms
    #[arg(long, env = "SETTLER_RELAY_AGE_MS", default_value = "2000", value_parser = parse_ms)]
    pub relay_age_ms: Duration,
    /// Time between two looks of the reconciler at the books, ms
    #[arg(long, env = "SETTLER_RECONCILE_MS", default_value = "10000", value_parser = parse_ms)]
    pub reconcile_ms: Duration,
    /// Time from a stop signal to leaving with work undone, ms
    #[arg(long, env = "SETTLER_SHUTDOWN_GRACE_MS", default_value = "10000",
          value_parser = parse_ms)]
    pub shutdown_grace_ms: Duration,
}

/// `settler migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateSettings {
    /// PostgreSQL, `postgresql://user:password@host:port/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = parse_url)]
    pub database_url: String,
}

/// `settler demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoSettings {
    /// PostgreSQL, `postgresql://user:password@host:port/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = parse_url)]
    pub database_url: String,
    /// Units on sale
    #[arg(long, env = "STOCK", default_value_t = 1000,
          value_parser = clap::value_parser!(i64).range(0..1_000_000_000_000))]
    pub stock: i64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
