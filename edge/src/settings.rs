//! Everything the edge can be told, from flags or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use domain::ProductId;
use service::settings::{InstanceSettings, LogSettings, ServerSettings, parse_ms};

/// Answers buyers of a flash sale over HTTP and shows the stock over WebSocket.
#[derive(Debug, Parser)]
#[command(name = "edge", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until stopped
    Run(Box<Settings>),
    /// Ask the edge that runs on this machine whether it is ready; exit code 0 when it is
    Healthcheck(HealthcheckSettings),
}

/// `edge healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckSettings {
    /// Where that edge listens
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:8081")]
    pub http_addr: SocketAddr,
}

/// `edge run`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The three servers.
    #[command(flatten)]
    pub servers: ServerSettings,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
    /// What people call it.
    #[command(flatten)]
    pub instance: InstanceSettings,
    /// HTTP and WebSocket.
    #[command(flatten)]
    pub http: HttpSettings,
    /// Who may buy.
    #[command(flatten)]
    pub buyer_token: BuyerTokenSettings,
    /// Reserving and publishing.
    #[command(flatten)]
    pub reserve: ReserveSettings,
    /// Operators.
    #[command(flatten)]
    pub admin: AdminSettings,
    /// Threads that run tasks
    #[arg(long, env = "EDGE_WORKER_THREADS", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub worker_threads: u16,
    /// Time from a stop signal to leaving with work undone, ms
    #[arg(long, env = "EDGE_SHUTDOWN_GRACE_MS", default_value = "10000", value_parser = parse_ms)]
    pub shutdown_grace_ms: Duration,
    /// Part of it in which connections are still taken, and each ends with its next answer, ms
    #[arg(long, env = "EDGE_LAME_DUCK_MS", default_value = "500", value_parser = parse_ms)]
    pub lame_duck_ms: Duration,
}

/// HTTP and WebSocket.
#[derive(Debug, Clone, Args)]
pub struct HttpSettings {
    /// Where the edge listens
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:8081")]
    pub http_addr: SocketAddr,
    /// Origins whose pages may open a WebSocket besides this host's own, comma-separated
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Connections at once; more wait in the listen backlog
    #[arg(long, env = "EDGE_CONNECTIONS_MAX", default_value_t = 16384,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,
    /// Time a connection may be idle, take for a request's head, or leave an answer unread, ms;
    /// longer than a proxy in front keeps an idle connection
    #[arg(long, env = "EDGE_IDLE_MS", default_value = "75000", value_parser = parse_ms)]
    pub idle_ms: Duration,
    /// Time a WebSocket client may be silent, though pinged, before it is closed, ms
    #[arg(long, env = "EDGE_SILENCE_MS", default_value = "45000", value_parser = parse_ms)]
    pub silence_ms: Duration,
}

/// Who may buy.
#[derive(Debug, Clone, Args)]
pub struct BuyerTokenSettings {
    /// Key of the shop's buyer tokens, at least 16 bytes; with one, whoever buys needs a token
    #[arg(long, env = "BUYER_TOKEN_KEY", hide_env_values = true)]
    pub buyer_token_key: Option<String>,
    /// File that holds this key instead; a newline at its end does not count
    #[arg(long, env = "BUYER_TOKEN_KEY_FILE", conflicts_with = "buyer_token_key")]
    pub buyer_token_key_file: Option<PathBuf>,
}

impl BuyerTokenSettings {
    /// The bytes of the key; `None` when none is asked for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_key(&self) -> std::io::Result<Option<Vec<u8>>> {
        service::settings::read_secret(
            self.buyer_token_key.as_deref(),
            self.buyer_token_key_file.as_deref(),
        )
    }
}

/// Reserving and publishing.
#[derive(Debug, Clone, Args)]
pub struct ReserveSettings {
    /// Requests that share one call to Redis at most
    #[arg(long, env = "EDGE_BATCH_MAX", default_value_t = 256,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch_max: u16,
    /// Batches that share one message at most
    #[arg(long, env = "EDGE_MESSAGE_BATCHES_MAX", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub message_batches_max: u16,
    /// Longest time a batch waits for the one before it to be confirmed, ms
    #[arg(long, env = "EDGE_LINGER_MS_MAX", default_value = "10", value_parser = parse_ms)]
    pub linger_ms_max: Duration,
    /// Batches that may wait for the broker in Redis before buyers are turned away
    #[arg(long, env = "EDGE_OUTBOX_MAX", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub outbox_max: u32,
    /// Requests of one product that may wait, as for a sale that is closed, besides the batch under
    /// way; more are turned away at once
    #[arg(long, env = "EDGE_WAITING_MAX", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub waiting_max: u32,
    /// Connections to Redis at most, in a cluster to each node
    #[arg(long, env = "EDGE_REDIS_CONNECTIONS", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub redis_connections: u32,
    /// Time one answer of Redis may take, ms
    #[arg(long, env = "EDGE_REDIS_TIMEOUT_MS", default_value = "250", value_parser = parse_ms)]
    pub redis_timeout_ms: Duration,
    /// Time a request may wait for a reservation before it is told 503, ms
    #[arg(long, env = "EDGE_BUY_TIMEOUT_MS", default_value = "1000", value_parser = parse_ms)]
    pub buy_timeout_ms: Duration,
    /// Time a reserved request waits for the broker's confirm before it is told 202 anyway, ms
    #[arg(long, env = "EDGE_CONFIRM_TIMEOUT_MS", default_value = "1000", value_parser = parse_ms)]
    pub confirm_timeout_ms: Duration,
}

/// What operators may do over HTTP.
#[derive(Debug, Clone, Args)]
pub struct AdminSettings {
    /// Bearer token of /api/admin; without one there is no such path
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// File that holds this token instead; a newline at its end does not count
    #[arg(long, env = "ADMIN_TOKEN_FILE", conflicts_with = "admin_token")]
    pub admin_token_file: Option<PathBuf>,
    /// Products whose sale may be reset, with its orders deleted, comma-separated
    #[arg(long, env = "EDGE_RESET_PRODUCTS", value_delimiter = ',', value_parser = parse_product)]
    pub reset_products: Vec<ProductId>,
}

impl AdminSettings {
    /// The token; `None` when none is asked for.
    ///
    /// # Errors
    /// When the file cannot be read, or the token is empty.
    pub fn read_token(&self) -> std::io::Result<Option<Vec<u8>>> {
        let file = self.admin_token_file.as_deref();
        let token = service::settings::read_secret(self.admin_token.as_deref(), file)?;
        match token {
            Some(token) if token.is_empty() => Err(std::io::Error::other("the token is empty")),
            token => Ok(token),
        }
    }
}

fn parse_product(text: &str) -> Result<ProductId, String> {
    let number = text.trim().parse().map_err(|_| "must be product ids".to_owned())?;
    ProductId::new(number).map_err(|error| error.to_string())
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
