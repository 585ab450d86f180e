//! Everything the edge can be told, from flags or the environment.
//!
//! Invariant: only this file of the edge reads the environment; every bound has a default.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use service::settings::{LogSettings, ServerSettings, parse_ms};

/// Serves a flash sale over HTTP and WebSocket: reserves in Redis, queues orders in RabbitMQ.
#[derive(Debug, Clone, Parser)]
#[command(name = "edge", version, about)]
pub struct Settings {
    /// The three servers.
    #[command(flatten)]
    pub servers: ServerSettings,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where buyers are served
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:8081")]
    pub http_addr: SocketAddr,
    /// Origins whose pages may open /ws, `https://shop.example,…`; the page's own host always may
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Threads that run tasks
    #[arg(long, env = "EDGE_WORKER_THREADS", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub worker_threads: u16,
    /// Requests one call to Redis carries at most
    #[arg(long, env = "EDGE_BATCH_MAX", default_value_t = 256,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch_max: u16,
    /// Longest wait for more requests to share a call, under load only, ms; 0 never waits
    #[arg(long, env = "EDGE_LINGER_MS_MAX", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(0..=100))]
    pub linger_ms_max: u16,
    /// Outbox entries of a product that may wait for the broker before buyers are shed
    #[arg(long, env = "EDGE_OUTBOX_MAX", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub outbox_max: u32,
    /// Connections to Redis, besides the one that listens to the feed
    #[arg(long, env = "EDGE_REDIS_CONNECTIONS", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(2..=256))]
    pub redis_connections: u16,
    /// Longest wait for one answer of Redis, ms
    #[arg(long, env = "EDGE_REDIS_TIMEOUT_MS", default_value = "250", value_parser = parse_ms)]
    pub redis_timeout_ms: Duration,
    /// Connections to PostgreSQL
    #[arg(long, env = "EDGE_DATABASE_CONNECTIONS", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub database_connections: u16,
    /// Longest a buyer waits for a reservation before hearing 503, ms
    #[arg(long, env = "EDGE_BUY_TIMEOUT_MS", default_value = "1000", value_parser = parse_ms)]
    pub buy_timeout_ms: Duration,
    /// Longest a 202 waits for the broker's confirm, ms
    #[arg(long, env = "EDGE_CONFIRM_TIMEOUT_MS", default_value = "1000", value_parser = parse_ms)]
    pub confirm_timeout_ms: Duration,
    /// Time a request body may take to arrive, ms
    #[arg(long, env = "EDGE_BODY_TIMEOUT_MS", default_value = "5000", value_parser = parse_ms)]
    pub body_timeout_ms: Duration,
    /// HTTP connections at once; more wait in the listen backlog
    #[arg(long, env = "EDGE_CONNECTIONS_MAX", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,
    /// WebSocket clients at once; more are answered 503
    #[arg(long, env = "EDGE_SOCKETS_MAX", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sockets_max: u32,
    /// Time from a stop signal to leaving with work undone, ms
    #[arg(long, env = "EDGE_SHUTDOWN_GRACE_MS", default_value = "10000", value_parser = parse_ms)]
    pub shutdown_grace_ms: Duration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Settings::command().debug_assert();
    }
}
