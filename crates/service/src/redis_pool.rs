//! A bounded pool of Redis connections that recover by themselves, and preloaded scripts.
//!
//! `bb8-redis` never reports a connection broken, so a dead one would stay for ever; the manager
//! here wraps it with a dead flag, TCP_NODELAY and a response timeout.
//! Invariant: a call is sent at most once, except after NOSCRIPT, where nothing ran.

use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value};

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
    /// Sends one command.
    ///
    /// # Errors
    /// See [`RedisCallError`].
    fn query(&self, command: &Cmd) -> impl Future<Output = Result<Value, RedisCallError>> + Send;

    /// Sends a pipeline, with one answer a command.
    ///
    /// # Errors
    /// See [`RedisCallError`].
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
}

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisPoolSettings {
    /// `redis://…`
    pub url: String,
    /// Most connections at once.
    pub connections_max: u32,
    /// How long one answer may take.
    pub response_timeout: Duration,
}

/// The pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisPool {
    pool: bb8::Pool<Manager>,
}

impl RedisPool {
    /// Builds the pool without connecting; connections come up on use and load `scripts`.
    ///
    /// # Errors
    /// When the URL is not a Redis URL.
    pub fn connect(
        settings: &RedisPoolSettings,
        scripts: &[&LoadedScript],
    ) -> Result<Self, RedisError> {
        let info = settings.url.as_str().into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let manager = Manager {
            inner: RedisConnectionManager::new(info.set_tcp_settings(tcp))?,
            response_timeout: settings.response_timeout,
            scripts: scripts.iter().map(|script| script.text).collect(),
        };
        let pool = bb8::Pool::builder()
            .max_size(settings.connections_max)
            // The dead flag finds broken connections without a PING a checkout.
            .test_on_check_out(false)
            .connection_timeout(settings.response_timeout)
            .retry_connection(false)
            .build_unchecked(manager);
        Ok(Self { pool })
    }

    async fn checkout(&self) -> Result<bb8::PooledConnection<'_, Manager>, RedisCallError> {
        self.pool.get().await.map_err(|error| RedisCallError::NotSent(error.to_string()))
    }
}

impl RedisCalls for RedisPool {
    async fn query(&self, command: &Cmd) -> Result<Value, RedisCallError> {
        let mut connection = self.checkout().await?;
        let result = command.query_async(&mut connection.inner).await;
        result.map_err(|error| connection.classify(error))
    }

    async fn query_pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisCallError> {
        let mut connection = self.checkout().await?;
        let result = pipeline.query_async(&mut connection.inner).await;
        result.map_err(|error| connection.classify(error))
    }

    async fn call(&self, script: &LoadedScript, command: &Cmd) -> Result<Value, RedisCallError> {
        let mut connection = self.checkout().await?;
        match command.query_async(&mut connection.inner).await {
            Ok(value) => return Ok(value),
            Err(error) if !is_no_script(&error) => return Err(connection.classify(error)),
            Err(_) => {}
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.text);
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
    scripts: Vec<&'static str>,
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
            for script in &self.scripts {
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
