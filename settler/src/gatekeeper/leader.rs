//! Which settler vouches and relays: the one that holds a PostgreSQL advisory lock.
//!
//! Liveness only: the scripts and the ids make two leaders at once harmless. The lock ends with
//! its connection, and the server ends a connection that went silent, as of a frozen settler.

use std::time::Duration;

use service::postgres::{ConfigError, Connector};
use tokio_postgres::Client;

const TRY_LEAD: &str = include_str!("../../../sql/try_lead.sql");

/// The server ends a silent leader's connection after this long; the gatekeeper asks far oftener.
const SESSION_OPTIONS: &str = "-c idle_session_timeout=3000 -c statement_timeout=2000";
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// This settler's claim to lead.
pub struct Leadership {
    config: tokio_postgres::Config,
    connector: Connector,
    client: Option<Client>,
    leads: bool,
}

impl Leadership {
    /// Does not connect yet.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let mut config = service::postgres::config(url)?;
        config
            .application_name("settler-leader")
            .connect_timeout(CONNECT_MAX)
            .options(SESSION_OPTIONS);
        let connector = service::postgres::connector()?;
        Ok(Self { config, connector, client: None, leads: false })
    }

    /// Whether this settler leads now; tries to, when nobody does.
    pub async fn check(&mut self) -> bool {
        match self.ask().await {
            Ok(leads) => self.leads = leads,
            Err(error) => {
                tracing::debug!(%error, "leadership unknown");
                self.client = None;
                self.leads = false;
            }
        }
        self.leads
    }

    async fn ask(&mut self) -> Result<bool, tokio_postgres::Error> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let client = service::postgres::connect(&self.config, &self.connector).await?;
            self.client = Some(client);
            self.leads = false;
        }
        let Some(client) = &self.client else { return Ok(false) };
        if self.leads {
            // The lock is held as long as the connection; this proves that it lives, and keeps it.
            client.simple_query("").await?;
            return Ok(true);
        }
        Ok(client.query_one(TRY_LEAD, &[]).await?.get("leads"))
    }
}
