//! What the tests share: a sale behind one edge, what Redis and PostgreSQL say of it, and waiting.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use stack::{Stack, StackOptions};
use tokio_postgres::NoTls;

/// How long a condition may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running sale of 1,000 units with one edge and one settler.
pub(crate) struct Sale {
    pub(crate) stack: Stack,
    /// The edge itself, without nginx.
    pub(crate) edge: String,
    redis: MultiplexedConnection,
    database: tokio_postgres::Client,
}

impl Sale {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with more environment.
    pub(crate) async fn start_with(env: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env = env.iter().map(own).collect();
        Self::start_as(StackOptions { env, ..StackOptions::default() }).await
    }

    /// The same, of another kind.
    pub(crate) async fn start_as(options: StackOptions) -> Self {
        // A stall of the machine is no answer; what a test asks for itself comes later, and counts.
        let patience = ["EDGE_BUY_TIMEOUT_MS", "EDGE_REDIS_TIMEOUT_MS"];
        let patience = patience.map(|name| (name.to_owned(), "9000".to_owned()));
        let env = patience.into_iter().chain(options.env).collect();
        let options = StackOptions { edges: 1, env, ..options };
        let stack = Stack::start(options).await.unwrap();
        let client = redis::Client::open(stack.redis_url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        let (database, connection) =
            tokio_postgres::connect(stack.database_url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { edge: stack.url("edge-1").unwrap(), stack, redis, database }
    }

    /// Units that can still be reserved.
    pub(crate) async fn available(&self) -> i64 {
        let mut redis = self.redis.clone();
        let mut get = redis::cmd("HGET");
        get.arg("sale:{1}").arg("available").query_async(&mut redis).await.unwrap()
    }

    /// Takes the vouch away: the sale is closed until a settler vouches again.
    pub(crate) async fn close(&self) {
        let mut redis = self.redis.clone();
        let mut delete = redis::cmd("HDEL");
        delete.arg("sale:{1}").arg("vouch").exec_async(&mut redis).await.unwrap();
    }

    /// One number from PostgreSQL.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.database.query_one(query, &[]).await.unwrap().get(0)
    }
}

/// Waits until `condition` holds; panics with `what` at the deadline.
pub(crate) async fn wait_until<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
