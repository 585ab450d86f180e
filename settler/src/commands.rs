//! One-shot commands: migrate the schema, load the demo sale.
//!
//! Invariant: both are idempotent, and wait a bounded time for a database that is starting.

use std::time::Duration;

use anyhow::Context;
use service::backoff::Backoff;
use tokio_postgres::Client;

use crate::settings::{DemoSettings, MigrateSettings};

const LOCK_MIGRATIONS: &str = include_str!("../../sql/lock_migrations.sql");
const LOAD_DEMO: &str = include_str!("../../sql/load_demo.sql");

/// How long a database may take to start before these commands give up.
const CONNECT_MAX: Duration = Duration::from_secs(60);

mod schema {
    refinery::embed_migrations!("../sql/schema");
}

/// Brings the schema up to date; says so on stdout.
///
/// # Errors
/// When the database stays away for a minute, or refuses a statement.
pub async fn migrate(settings: &MigrateSettings) -> anyhow::Result<()> {
    let mut client = connect(&settings.database_url).await?;
    client.batch_execute(LOCK_MIGRATIONS).await.context("waiting for another migration")?;
    let report = schema::migrations::runner().run_async(&mut client).await?;
    let applied = report.applied_migrations().len();
    say(&format!("schema is up to date ({applied} migrations applied now)"));
    Ok(())
}

/// Creates the demo sale unless it exists; says so on stdout.
///
/// # Errors
/// When the database stays away for a minute, or refuses the statement.
pub async fn load_demo(settings: &DemoSettings) -> anyhow::Result<()> {
    let client = connect(&settings.database_url).await?;
    let created = client.execute(LOAD_DEMO, &[&settings.stock]).await?;
    say(match created {
        0 => "demo sale kept as it is".to_owned(),
        _ => format!("demo sale loaded: iPhone 15 Pro, {} units", settings.stock),
    }
    .as_str());
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let config = service::postgres::config(url).context("DATABASE_URL")?;
    let connector = service::postgres::connector()?;
    let mut backoff = Backoff::for_connection();
    let deadline = tokio::time::Instant::now() + CONNECT_MAX;
    loop {
        match service::postgres::connect(&config, &connector).await {
            Ok(client) => return Ok(client),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error).context("the database stayed away for a minute");
            }
            Err(_) => backoff.wait().await,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the result of a one-shot command goes to the terminal")]
fn say(line: &str) {
    println!("{line}");
}
