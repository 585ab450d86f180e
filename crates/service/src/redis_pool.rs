//! What programs ask of Redis, be it one node or a Redis Cluster: commands, pipelines, scripts.
//!
//! Owns the seam and the scripts; `redis_node` owns connections, `redis_cluster` who holds what.
//! Invariant: a call is sent at most once, except after NOSCRIPT, where nothing ran. It is never
//! redirected: a node that does not hold the key refuses it, and the caller asks again.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::PubSub;
use redis::{Cmd, IntoConnectionInfo, Pipeline, RedisError, Value};

use crate::redis_cluster::Cluster;
use crate::redis_node::{Node, NodeSettings};
use crate::redis_url::RedisUrl;

pub use crate::redis_node::NodeName;
pub use crate::redis_url::RedisUrlError;

/// A Lua script with the hash EVALSHA calls it by.
#[derive(Debug)]
pub struct LoadedScript {
    text: &'static str,
    sha: String,
}

impl LoadedScript {
    /// Hashes the script; [`RedisPool::connect`] loads it.
    pub fn new(text: &'static str) -> Self {
        Self { text, sha: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Its source.
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// `EVALSHA sha keys…`; arguments are appended by the caller.
    pub fn command(&self, keys: &[&str]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.sha).arg(keys.len()).arg(keys);
        command
    }
}

/// Why a call has no answer, by what the caller may assume.
#[derive(Debug, thiserror::Error)]
pub enum RedisCallError {
    /// No connection could be had: nothing was sent.
    #[error("no connection to redis: {0}")]
    NotSent(String),
    /// The connection broke or timed out: the command may or may not have run.
    #[error("outcome unknown: {0}")]
    Unknown(#[source] RedisError),
    /// Redis answered with an error.
    #[error("redis refused: {0}")]
    Refused(#[source] RedisError),
}

/// What programs ask of Redis: the pool answers, and in a simulator a model of a node.
pub trait RedisCalls: Sync {
    /// Sends one command, whose first argument is its key.
    ///
    /// # Errors
    /// See [`RedisCallError`].
    fn query(&self, command: &Cmd) -> impl Future<Output = Result<Value, RedisCallError>> + Send;

    /// Sends one command without a key, such as INFO or TIME, to the node that holds `key`.
    ///
    /// # Errors
    /// See [`RedisCallError`].
    fn query_at(
        &self,
        key: &str,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value, RedisCallError>> + Send;

    /// Sends a pipeline of commands with keys, with one answer a command. In a cluster each node
    /// gets its part.
    ///
    /// # Errors
    /// See [`RedisCallError`]; also when one node of several does not answer.
    fn query_pipeline(
        &self,
        pipeline: &Pipeline,
    ) -> impl Future<Output = Result<Vec<Value>, RedisCallError>> + Send;

    /// Sends a command made by [`LoadedScript::command`]; after NOSCRIPT loads the script and
    /// sends it once more.
    ///
    /// # Errors
    /// See [`RedisCallError`].
    fn call(
        &self,
        script: &LoadedScript,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value, RedisCallError>> + Send;

    /// The node that holds `key`, as far as is known; what it is asked may go elsewhere by then.
    fn node_of(&self, key: &str) -> impl Future<Output = NodeName> + Send;
}

/// Sorts items by the node that holds their keys, nodes in the order of their first items.
pub async fn group_by_node<T: Send>(
    redis: &impl RedisCalls,
    items: Vec<T>,
    key: impl Fn(&T) -> String + Send + Sync,
) -> Vec<(NodeName, Vec<T>)> {
    let mut groups: Vec<(NodeName, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        let node = redis.node_of(&key).await;
        match groups.iter_mut().find(|(name, _)| *name == node) {
            Some((_, group)) => group.push(item),
            None => groups.push((node, vec![item])),
        }
    }
    groups
}

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisPoolSettings {
    /// `redis://…`, or `redis+cluster://…` for a cluster.
    pub url: String,
    /// Most connections at once, to each node.
    pub connections_max: u32,
    /// How long one answer may take.
    pub response_timeout: Duration,
}

/// Why a pool cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RedisConfigError {
    /// The URL of a cluster is none.
    #[error(transparent)]
    Cluster(#[from] RedisUrlError),
    /// The URL of a node is none.
    #[error(transparent)]
    Node(#[from] RedisError),
}

/// The pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisPool(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Node(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl RedisPool {
    /// Builds the pool without connecting; connections come up on use and load `scripts`.
    ///
    /// # Errors
    /// When the URL is not a Redis URL.
    pub fn connect(
        settings: &RedisPoolSettings,
        scripts: &[&LoadedScript],
    ) -> Result<Self, RedisConfigError> {
        let node_settings = NodeSettings {
            connections_max: settings.connections_max,
            response_timeout: settings.response_timeout,
            scripts: scripts.iter().map(|script| script.text).collect(),
        };
        Ok(Self(match RedisUrl::parse(&settings.url)? {
            RedisUrl::Node(url) => {
                let info = url.into_connection_info()?;
                let name = NodeName::new(&info.addr().to_string());
                Kind::Node(Arc::new(Node::new(name, info, &node_settings)?))
            }
            RedisUrl::Cluster(url) => Kind::Cluster(Arc::new(Cluster::new(url, node_settings)?)),
        }))
    }

    /// Opens a connection for Pub/Sub. What is published reaches every node of a cluster, so one
    /// node after the other has its turn.
    ///
    /// # Errors
    /// When that node does not answer.
    pub async fn open_pubsub(&self, turn: usize) -> Result<PubSub, RedisError> {
        match &self.0 {
            Kind::Node(node) => node.open_pubsub().await,
            Kind::Cluster(cluster) => cluster.open_pubsub(turn).await,
        }
    }

    /// Publishes to a channel, through one node of a cluster after the other like
    /// [`RedisPool::open_pubsub`].
    ///
    /// # Errors
    /// See [`RedisCallError`]; nobody hears it then, or everybody does.
    pub async fn publish(
        &self,
        turn: usize,
        channel: &str,
        payload: &[u8],
    ) -> Result<(), RedisCallError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(payload);
        match &self.0 {
            Kind::Node(node) => node.query(&publish).await,
            Kind::Cluster(cluster) => cluster.query_any(turn, &publish).await,
        }
        .map(drop)
    }

    /// Another number whenever keys may have another holder.
    pub fn generation(&self) -> u64 {
        match &self.0 {
            Kind::Node(_) => 0,
            Kind::Cluster(cluster) => cluster.generation(),
        }
    }

    /// Whether there is another node to turn to when one is silent.
    pub const fn is_cluster(&self) -> bool {
        matches!(self.0, Kind::Cluster(_))
    }
}

impl RedisCalls for RedisPool {
    async fn query(&self, command: &Cmd) -> Result<Value, RedisCallError> {
        match &self.0 {
            Kind::Node(node) => node.query(command).await,
            Kind::Cluster(cluster) => cluster.query(command).await,
        }
    }

    async fn query_at(&self, key: &str, command: &Cmd) -> Result<Value, RedisCallError> {
        match &self.0 {
            Kind::Node(node) => node.query(command).await,
            Kind::Cluster(cluster) => cluster.query_at(key, command).await,
        }
    }

    async fn query_pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisCallError> {
        match &self.0 {
            Kind::Node(node) => node.query_pipeline(pipeline).await,
            Kind::Cluster(cluster) => cluster.query_pipeline(pipeline).await,
        }
    }

    async fn call(&self, script: &LoadedScript, command: &Cmd) -> Result<Value, RedisCallError> {
        match &self.0 {
            Kind::Node(node) => node.call(script, command).await,
            Kind::Cluster(cluster) => cluster.call(script, command).await,
        }
    }

    async fn node_of(&self, key: &str) -> NodeName {
        match &self.0 {
            Kind::Node(node) => node.name().clone(),
            Kind::Cluster(cluster) => cluster.node_of(key).await,
        }
    }
}
