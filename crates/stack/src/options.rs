//! What a stack is made of.

use std::path::PathBuf;

/// A server the stack can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Redis.
    Redis,
    /// RabbitMQ.
    RabbitMq,
    /// PostgreSQL.
    Postgres,
}

impl Server {
    /// Every server.
    pub const ALL: [Self; 3] = [Self::Redis, Self::RabbitMq, Self::Postgres];

    /// The program, as `stack doctor` lists it.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::RabbitMq => "rabbitmq-server",
            Self::Postgres => "postgres",
        }
    }

    /// The name its process has in the stack.
    pub const fn process_name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::Postgres => "postgres",
        }
    }
}

/// Whether nginx limits what one address may ask for, as `nginx/limits` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Limits {
    /// Whoever measures from one address measures the system.
    #[default]
    Off,
    /// As in production.
    On,
}

/// Options of [`crate::Stack::start`]. The default is the whole system in a directory of its own
/// that is deleted at the end.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Where data, logs and ports are kept; `None` is a new directory, deleted when dropped.
    pub dir: Option<PathBuf>,
    /// Port of nginx; 0 is any free one.
    pub http_port: u16,
    /// Edges; with 0 there is no nginx either.
    pub edges: usize,
    /// Settlers; with 0 nothing is migrated or loaded.
    pub settlers: usize,
    /// Units of the demo sale.
    pub stock: i64,
    /// Servers to run, unless a URL is given for one.
    pub servers: Vec<Server>,
    /// Nodes of Redis; several are the primaries of a Redis Cluster, `redis-1` and so on. Redis
    /// wants three at least.
    pub redis_nodes: usize,
    /// A Redis to use instead of running one.
    pub redis_url: Option<String>,
    /// A RabbitMQ to use instead of running one.
    pub amqp_url: Option<String>,
    /// A PostgreSQL to use instead of running one.
    pub database_url: Option<String>,
    /// A program to run in the edges' place, with its arguments: it listens on `HTTP_ADDR` and
    /// answers `/readyz`. Whoever measures nginx puts something that does nothing behind it.
    pub edge_program: Option<(PathBuf, Vec<String>)>,
    /// Requests nginx sends one edge at a time; more are told 503 at once.
    pub requests_an_edge: u32,
    /// Limits of one address in nginx.
    pub limits: Limits,
    /// Addresses of proxies whose `X-Forwarded-For` nginx believes.
    pub known_proxies: Vec<String>,
    /// More environment for edges and settlers.
    pub env: Vec<(String, String)>,
    /// Whether progress is written to stdout.
    pub verbose: bool,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            dir: None,
            http_port: 0,
            edges: 3,
            settlers: 1,
            stock: 1000,
            servers: Server::ALL.to_vec(),
            redis_nodes: 1,
            redis_url: None,
            amqp_url: None,
            database_url: None,
            edge_program: None,
            requests_an_edge: 2048,
            limits: Limits::Off,
            known_proxies: Vec::new(),
            env: Vec::new(),
            verbose: false,
        }
    }
}

impl StackOptions {
    /// These servers and nothing else.
    pub fn servers(servers: &[Server]) -> Self {
        Self { edges: 0, settlers: 0, servers: servers.to_vec(), ..Self::default() }
    }

    /// Whether the stack itself runs this server.
    pub(crate) fn runs(&self, server: Server) -> bool {
        let external = match server {
            Server::Redis => &self.redis_url,
            Server::RabbitMq => &self.amqp_url,
            Server::Postgres => &self.database_url,
        };
        external.is_none() && self.servers.contains(&server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_url_means_that_server_is_not_run() {
        let mut options = StackOptions::servers(&[Server::Redis]);
        assert!(options.runs(Server::Redis) && !options.runs(Server::Postgres));
        options.redis_url = Some("redis://elsewhere/".into());
        assert!(!options.runs(Server::Redis));
    }
}
