//! A bounded pool of connections to one Redis node that recover by themselves, and preloaded
//! scripts.
//!
//! `bb8-redis` never reports a connection broken, so a dead one would stay for ever; the manager
//! here wraps it with a dead flag, TCP_NODELAY and a response timeout.
//! Invariant: a call is sent at most once, except after NOSCRIPT, where nothing ran.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Cmd, ConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value};

use crate::redis_pool::{LoadedScript, RedisCallError};

/// What a node is called: its `host:port`. Two keys with the same name are held by one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// A name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every node is given.
#[derive(Debug, Clone)]
pub(crate) struct NodeSettings {
    pub(crate) connections_max: u32,
    pub(crate) response_timeout: Duration,
    pub(crate) scripts: Arc<[&'static str]>,
}

/// The connections to one node.
#[derive(Debug)]
pub(crate) struct Node {
    name: NodeName,
    client: redis::Client,
    pool: bb8::Pool<Manager>,
}

impl Node {
    /// Builds the pool without connecting; connections come up on use and load the scripts.
    ///
    /// # Errors
    /// When the node cannot be reached the way it is named.
    pub(crate) fn new(
        name: NodeName,
        info: ConnectionInfo,
        settings: &NodeSettings,
    ) -> Result<Self, RedisError> {
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        let manager = Manager {
            inner: RedisConnectionManager::new(info.clone())?,
            response_timeout: settings.response_timeout,
            scripts: settings.scripts.clone(),
        };
        let pool = bb8::Pool::builder()
            .max_size(settings.connections_max)
            // The dead flag finds broken connections without a PING a checkout.
            .test_on_check_out(false)
            .connection_timeout(settings.response_timeout)
            .retry_connection(false)
            .build_unchecked(manager);
        Ok(Self { name, client: redis::Client::open(info)?, pool })
    }

    pub(crate) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(crate) async fn open_pubsub(&self) -> Result<PubSub, RedisError> {
        self.client.get_async_pubsub().await
    }

    async fn checkout(&self) -> Result<bb8::PooledConnection<'_, Manager>, RedisCallError> {
        self.pool.get().await.map_err(|error| RedisCallError::NotSent(error.to_string()))
    }

    pub(crate) async fn query(&self, command: &Cmd) -> Result<Value, RedisCallError> {
        let mut connection = self.checkout().await?;
        let result = command.query_async(&mut connection.inner).await;
        result.map_err(|error| connection.classify(error))
    }

    pub(crate) async fn query_pipeline(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, RedisCallError> {
        let mut connection = self.checkout().await?;
        let result = pipeline.query_async(&mut connection.inner).await;
        result.map_err(|error| connection.classify(error))
    }

    pub(crate) async fn call(
        &self,
        script: &LoadedScript,
        command: &Cmd,
    ) -> Result<Value, RedisCallError> {
        let mut connection = self.checkout().await?;
        match command.query_async(&mut connection.inner).await {
            Ok(value) => return Ok(value),
            Err(error) if !is_no_script(&error) => return Err(connection.classify(error)),
            Err(_) => {}
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.text());
        if let Err(error) = load.query_async::<()>(&mut connection.inner).await {
            return Err(connection.classify(error));
        }
        let result = command.query_async(&mut connection.inner).await;
        result.map_err(|error| connection.classify(error))
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

#[derive(Debug)]
struct Manager {
    inner: RedisConnectionManager,
    response_timeout: Duration,
    scripts: Arc<[&'static str]>,
}

#[derive(Debug)]
struct Connection {
    inner: MultiplexedConnection,
    dead: bool,
}

impl Connection {
    /// Sorts an error by what the caller may assume, and retires a connection that cannot be used.
    fn classify(&mut self, error: RedisError) -> RedisCallError {
        if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() {
            self.dead = true;
            return RedisCallError::Unknown(error);
        }
        RedisCallError::Refused(error)
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        let mut inner = self.inner.connect().await?;
        inner.set_response_timeout(self.response_timeout);
        if !self.scripts.is_empty() {
            let mut load = redis::pipe();
            for script in self.scripts.iter() {
                load.cmd("SCRIPT").arg("LOAD").arg(*script).ignore();
            }
            load.query_async::<()>(&mut inner).await?;
        }
        Ok(Connection { inner, dead: false })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
        self.inner.is_valid(&mut connection.inner).await
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.dead
    }
}
