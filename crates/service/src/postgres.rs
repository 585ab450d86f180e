//! A bounded pool of PostgreSQL connections with a timeout on every wait.
//!
//! Invariant: no call waits for a connection or a handshake longer than its named limit.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::NoTls;

/// How long a caller waits for a free connection before its work is called unavailable.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a TCP connect and the handshake may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Builds a pool of at most `connections_max`, without connecting. `session_settings` are sent with
/// each handshake, as in `-c statement_timeout=5s`.
///
/// # Errors
/// When the URL is not a PostgreSQL URL.
pub fn pool(
    url: &str,
    name: &str,
    connections_max: usize,
    session_settings: &str,
) -> Result<Pool, tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = url.parse()?;
    config.application_name(name).connect_timeout(CONNECT_MAX);
    config.options(session_settings);
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, NoTls, manager_config);
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
