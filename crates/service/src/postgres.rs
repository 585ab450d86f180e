//! A bounded pool of PostgreSQL connections with a timeout on every wait.
//!
//! Invariant: no call waits for a connection or a handshake longer than its named limit.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

/// How long a caller waits for a free connection before its work is called unavailable.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a TCP connect and the handshake may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How connections are secured: by TLS when the server takes it, or not at all.
#[cfg(feature = "tls")]
pub type Connector = tokio_postgres_rustls::MakeRustlsConnect;
/// How connections are secured: not at all.
#[cfg(not(feature = "tls"))]
pub type Connector = tokio_postgres::NoTls;

/// Why PostgreSQL cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a PostgreSQL URL.
    #[error(transparent)]
    Url(#[from] tokio_postgres::Error),
    /// Nothing to verify a certificate with.
    #[error("no certificate authority was found: set SSL_CERT_FILE {0}")]
    NoAuthority(String),
}

/// Why a statement failed, by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Try the same again.
    #[error("database: {0}")]
    Transient(String),
    /// The same will fail again: a defect, or a schema that is not ours.
    #[error("database refused: {}", explain(.0))]
    Refused(#[source] tokio_postgres::Error),
}

impl DatabaseError {
    /// One after which the same is tried again.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::Transient(why.into())
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            // Two writers met: one of them tries again.
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Self::Transient(explain(&error)),
            // Class 22 data exception, 23 integrity constraint violation, 42 syntax or access.
            Some(code) if matches!(&code.code()[..2], "22" | "23" | "42") => Self::Refused(error),
            Some(code) => Self::Transient(format!("{} ({})", explain(&error), code.code())),
            None => Self::Transient(explain(&error)),
        }
    }
}

impl From<PoolError> for DatabaseError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::from(error),
            other => Self::Transient(explain(&other)),
        }
    }
}

/// An error with its causes: PostgreSQL's own words are the cause of "db error".
pub fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut said: Vec<String> = causes.map(ToString::to_string).collect();
    // Some errors say their cause themselves.
    said.dedup_by(|cause, error| error.ends_with(cause.as_str()));
    said.join(": ")
}

/// Reads the URL. libpq's `sslmode=verify-full` is what `require` means here: rustls verifies the
/// certificate and the name in it whenever TLS is used.
///
/// # Errors
/// When the URL is not a PostgreSQL URL.
pub fn config(url: &str) -> Result<Config, tokio_postgres::Error> {
    url.replace("sslmode=verify-full", "sslmode=require").parse()
}

/// What connections of this configuration are made with.
///
/// # Errors
/// When TLS is required and the system has no certificates.
#[cfg(feature = "tls")]
pub fn connector() -> Result<Connector, ConfigError> {
    match Connector::with_native_certs() {
        Ok((connector, errors)) => {
            for error in errors {
                tracing::warn!(%error, "a certificate of the system cannot be read");
            }
            Ok(connector)
        }
        Err(errors) => {
            let reasons: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Err(ConfigError::NoAuthority(reasons.join("; ")))
        }
    }
}

/// What connections are made with.
///
/// # Errors
/// Never; a build with TLS may find no certificates.
#[cfg(not(feature = "tls"))]
pub const fn connector() -> Result<Connector, ConfigError> {
    Ok(tokio_postgres::NoTls)
}

/// Makes one connection, which a task of its own serves until it ends.
///
/// # Errors
/// When the server is away or refuses.
#[cfg_attr(not(feature = "tls"), expect(clippy::clone_on_copy, reason = "with TLS it is not Copy"))]
pub async fn connect(
    config: &Config,
    connector: &Connector,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(connector.clone()).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = explain(&error), "a database connection ended");
        }
    });
    Ok(client)
}

/// Builds a pool of at most `connections_max`, without connecting. `session_settings` are sent with
/// each handshake, as in `-c statement_timeout=5s`.
///
/// # Errors
/// See [`ConfigError`].
pub fn pool(
    url: &str,
    name: &str,
    connections_max: usize,
    session_settings: &str,
) -> Result<Pool, ConfigError> {
    let mut config = config(url)?;
    config.application_name(name).connect_timeout(CONNECT_MAX);
    // Compiling a statement takes PostgreSQL longer than it saves in any of ours.
    config.options(format!("-c jit=off {session_settings}"));
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, connector()?, manager_config);
    let pool = Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(WAIT_MAX),
            create: Some(CONNECT_MAX),
            recycle: Some(CONNECT_MAX),
        })
        .build()
        .expect("a pool with a runtime always builds");
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        let cause = std::io::Error::other("no certificate");
        let told = ConfigError::NoAuthority("x".into());
        assert_eq!(explain(&told), "no certificate authority was found: set SSL_CERT_FILE x");
        assert_eq!(explain(&std::io::Error::other(cause)), "no certificate");
        let refused = config("postgresql://u@h/d?sslmode=sometimes").unwrap_err();
        let told = explain(&refused);
        assert!(told.contains("sslmode") && told.len() > refused.to_string().len(), "{told}");
    }

    #[test]
    fn verified_tls_is_understood_as_libpq_spells_it() {
        let mode = |url: &str| config(url).map(|config| config.get_ssl_mode());
        let url = "postgresql://u@h/d?sslmode=verify-full";
        assert!(matches!(mode(url), Ok(SslMode::Require)));
        assert!(matches!(mode("postgresql://u@h/d"), Ok(SslMode::Prefer)));
        assert!(mode("postgresql://u@h/d?sslmode=sometimes").is_err());
    }
}
