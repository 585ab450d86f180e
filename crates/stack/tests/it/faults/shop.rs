//! Servers, settlers and edges as three stacks, so that either kind of program can be cut off from
//! a server, or slowed down, while the other is not.

use stack::proxy::Proxy;
use stack::{Server, Stack, StackOptions};

/// The three servers as one kind of program reaches them.
pub(super) struct Links {
    pub(super) redis: Proxy,
    pub(super) amqp: Proxy,
    /// Kept: dropped, it would end every connection through it.
    _database: Proxy,
}

impl Links {
    /// Proxies in front of the servers, and options that lead through them.
    async fn to(servers: &Stack, env: &[(&str, &str)]) -> (Self, StackOptions) {
        let (redis, redis_url) = Proxy::in_front_of(servers.redis_url()).await.unwrap();
        let (amqp, amqp_url) = Proxy::in_front_of(servers.amqp_url()).await.unwrap();
        let (database, database_url) = Proxy::in_front_of(servers.database_url()).await.unwrap();
        let options = StackOptions {
            edges: 0,
            settlers: 0,
            redis_url: Some(redis_url),
            amqp_url: Some(amqp_url),
            database_url: Some(database_url),
            env: super::env(env),
            ..StackOptions::default()
        };
        (Self { redis, amqp, _database: database }, options)
    }
}

/// What a shop is made of.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) edges: usize,
    pub(super) settlers: usize,
    pub(super) stock: i64,
    pub(super) edge_env: &'a [(&'a str, &'a str)],
    pub(super) settler_env: &'a [(&'a str, &'a str)],
}

/// A running shop.
pub(super) struct Shop {
    pub(super) edges: Stack,
    pub(super) settlers: Stack,
    pub(super) servers: Stack,
    pub(super) of_edges: Links,
    pub(super) of_settlers: Links,
}

impl Shop {
    pub(super) async fn open(plan: Plan<'_>) -> Self {
        let servers = Stack::start(StackOptions::servers(&Server::ALL)).await.unwrap();
        let (of_settlers, options) = Links::to(&servers, plan.settler_env).await;
        let options = StackOptions { settlers: plan.settlers, stock: plan.stock, ..options };
        let settlers = Stack::start(options).await.unwrap();
        let (of_edges, options) = Links::to(&servers, plan.edge_env).await;
        let edges = Stack::start(StackOptions { edges: plan.edges, ..options }).await.unwrap();
        Self { edges, settlers, servers, of_edges, of_settlers }
    }

    pub(super) fn http(&self) -> &str {
        self.edges.http()
    }

    pub(super) async fn close(self) {
        self.edges.shutdown().await;
        self.settlers.shutdown().await;
        self.servers.shutdown().await;
    }
}
