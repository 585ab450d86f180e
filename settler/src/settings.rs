//! Everything the settler can be told, from flags or the environment.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use domain::ProductId;
use domain::contract::admin;
use service::settings::{InstanceSettings, LogSettings, ServerSettings, parse_ms, parse_url};

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
    /// Operate a sale: create it, change it, adjust its stock, pause, resume, close and check it
    Sale(Box<SaleSettings>),
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

/// `settler sale`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit codes: 0 done, 1 refused or unfit, 2 not understood.\n\
    What is changed here reaches buyers within a tenth of a second.")]
pub struct SaleSettings {
    /// The three servers.
    #[command(flatten)]
    pub servers: ServerSettings,
    /// Print one JSON document, alone, to stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: SaleCommand,
}

/// What can be done with a sale.
#[derive(Debug, Clone, Subcommand)]
pub enum SaleCommand {
    /// Create a product with its sale; a settler opens it by its window
    Create(CreateSettings),
    /// Print every sale as it is stored
    List,
    /// Change the window, the limit, the price, the hold or the name of a sale
    Change(ChangeSettings),
    /// Add units, or take free ones out: with a reason, once under its key
    Adjust(AdjustSettings),
    /// Sell nothing until `resume`; orders that were accepted are settled all the same
    Pause(OneProduct),
    /// Sell again
    Resume(OneProduct),
    /// End the sale for good
    Close(OneProduct),
    /// Look whether everything a sale needs is there, before it opens; exit code 1 when not
    Check(OneProduct),
}

/// Which product.
#[derive(Debug, Clone, Args)]
pub struct OneProduct {
    /// Its number, as `list` prints it
    #[arg(value_parser = parse_product)]
    pub product: ProductId,
}

/// `settler sale create`.
#[derive(Debug, Clone, Args)]
pub struct CreateSettings {
    /// What people call it
    #[arg(long, value_parser = admin::name_text)]
    pub name: String,
    /// Price in minor units, such as satang
    #[arg(long, value_parser = |text: &str| whole(text, admin::price_minor))]
    pub price_minor: i64,
    /// Currency, ISO 4217
    #[arg(long, value_parser = admin::currency_code)]
    pub currency: String,
    /// Units
    #[arg(long, value_parser = |text: &str| whole(text, admin::units))]
    pub stock: i64,
    /// Most units of one buyer
    #[arg(long, default_value = "1", value_parser = |text: &str| whole(text, admin::buyer_limit))]
    pub limit: i64,
    /// Seconds an order is held until it is paid; 0 confirms at once
    #[arg(long, default_value = "0", value_parser = |text: &str| whole(text, admin::hold_seconds))]
    pub hold_seconds: i32,
    /// When it opens, as in 2026-12-01T12:00:00+07:00; at once when absent
    #[arg(long, value_parser = admin::instant)]
    pub opens_at: Option<i64>,
    /// When it closes; never when absent
    #[arg(long, value_parser = admin::instant)]
    pub closes_at: Option<i64>,
    /// Its number; the next free one when absent
    #[arg(long, value_parser = parse_product)]
    pub product_id: Option<ProductId>,
}

/// `settler sale change`.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub struct SaleChanges {
    /// What people call it
    #[arg(long, value_parser = admin::name_text)]
    pub name: Option<String>,
    /// Price in minor units
    #[arg(long, value_parser = |text: &str| whole(text, admin::price_minor))]
    pub price_minor: Option<i64>,
    /// Most units of one buyer; what buyers have already is theirs
    #[arg(long, value_parser = |text: &str| whole(text, admin::buyer_limit))]
    pub limit: Option<i64>,
    /// Seconds an order is held that is settled from now on
    #[arg(long, value_parser = |text: &str| whole(text, admin::hold_seconds))]
    pub hold_seconds: Option<i32>,
    /// When it opens, or `none`
    #[arg(long, value_parser = parse_instant)]
    pub opens_at: Option<Instant>,
    /// When it closes, or `none`
    #[arg(long, value_parser = parse_instant)]
    pub closes_at: Option<Instant>,
}

/// `settler sale change`.
#[derive(Debug, Clone, Args)]
pub struct ChangeSettings {
    /// Which product.
    #[command(flatten)]
    pub product: OneProduct,
    /// What becomes of it.
    #[command(flatten)]
    pub changes: SaleChanges,
}

/// `settler sale adjust`.
#[derive(Debug, Clone, Args)]
pub struct AdjustSettings {
    /// Which product.
    #[command(flatten)]
    pub product: OneProduct,
    /// Units to add, or, negative, to take out
    #[arg(allow_negative_numbers = true,
          value_parser = |text: &str| whole(text, admin::unit_change))]
    pub delta: i64,
    /// Why, for the ledger
    #[arg(long, value_parser = admin::name_text)]
    pub reason: String,
    /// Key under which it happens once, however often it is asked for; a new one when absent
    #[arg(long, value_parser = admin::idempotency_key)]
    pub key: Option<String>,
}

/// An instant, ms since the Unix epoch, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub Option<i64>);

fn parse_instant(text: &str) -> Result<Instant, String> {
    if text == "none" { Ok(Instant(None)) } else { admin::instant(text).map(Some).map(Instant) }
}

fn parse_product(text: &str) -> Result<ProductId, String> {
    whole(text, |number| ProductId::new(number).map_err(|error| error.to_string()))
}

fn whole<T>(text: &str, read: impl Fn(i64) -> Result<T, String>) -> Result<T, String> {
    read(text.parse().map_err(|_| "must be a whole number".to_owned())?)
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
    /// What people call it.
    #[command(flatten)]
    pub instance: InstanceSettings,
    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "PROBE_ADDR", default_value = "127.0.0.1:9091")]
    pub probe_addr: SocketAddr,
    /// Threads that run tasks; database and broker do the work, so few are enough
    #[arg(long, env = "SETTLER_WORKER_THREADS", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub worker_threads: u16,
    /// Orders one transaction settles at most
    #[arg(long, env = "SETTLER_BATCH_MAX", default_value_t = 2000,
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
