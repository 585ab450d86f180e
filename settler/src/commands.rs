//! One-shot commands: migrate the schema, load the demo sale, reconcile the books.
//!
//! Invariant: all are idempotent, and wait a bounded time for a database that is starting.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use domain::contract::reconcile::ReconcileView;
use service::backoff::Backoff;
use service::redis_pool::{RedisPool, RedisPoolSettings};
use tokio_postgres::Client;

use crate::reconcile::{self, Reconciler};
use crate::settings::{DemoSettings, MigrateSettings, ReconcileSettings};

const LOCK_MIGRATIONS: &str = include_str!("../../sql/lock_migrations.sql");
const LOAD_DEMO: &str = include_str!("../../sql/load_demo.sql");

/// How long a database may take to start before these commands give up.
const CONNECT_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks: long enough for a batch on its way to be settled.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

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

/// Whether the schema is the one this program was built for; what is not, in words.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn check_schema(database_url: &str) -> anyhow::Result<Result<String, String>> {
    let config = service::postgres::config(database_url).context("DATABASE_URL")?;
    let mut client = service::postgres::connect(&config, &service::postgres::connector()?).await?;
    let runner = schema::migrations::runner();
    let newest = runner.get_migrations().iter().map(refinery::Migration::version).max();
    let applied = runner.get_last_applied_migration_async(&mut client).await?;
    let applied = applied.map(|migration| migration.version());
    let words = |version: Option<_>| version.map_or("none".to_owned(), |n| format!("version {n}"));
    Ok(if applied >= newest {
        Ok(format!("the schema is {}", words(applied)))
    } else {
        let (applied, newest) = (words(applied), words(newest));
        Err(format!("the schema is {applied}, not {newest}: run `settler migrate`"))
    })
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

/// Compares the books until everything is settled or the wait is over, and prints the last look.
///
/// # Errors
/// When PostgreSQL is away or a URL is malformed.
pub async fn reconcile(settings: &ReconcileSettings) -> anyhow::Result<ExitCode> {
    let servers = &settings.servers;
    let pool = service::postgres::pool(&servers.database_url, "settler-reconcile", 1, "")
        .context("DATABASE_URL")?;
    let redis = RedisPoolSettings {
        url: servers.redis_url.clone(),
        connections_max: 1,
        response_timeout: LOOK_PAUSE,
    };
    let redis = RedisPool::connect(&redis, &[]).context("REDIS_URL")?;
    let mut reconciler = Reconciler::new(pool, redis, servers.amqp_url.clone());
    let deadline = tokio::time::Instant::now() + settings.wait_ms;
    let view = loop {
        let view = reconciler.look(reconcile::now_ms()).await?;
        let quiet = view.products.iter().all(|product| product.quiet);
        if quiet || tokio::time::Instant::now() > deadline {
            break view;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    };
    say(&if settings.json { view.to_json() } else { in_words(&view) });
    Ok(if view.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(view: &ReconcileView) -> String {
    let number = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let mut lines = vec![format!(
        "queue {}, dead letters {}",
        number(view.queue.map(i64::from)),
        number(view.dead_letters.map(i64::from))
    )];
    for books in &view.products {
        let state = if books.quiet { "quiet" } else { "not quiet" };
        lines.push(format!(
            "product {}: total {} = stock {} + orders {}; \
             available {}, open {}, outbox {}; {state}",
            books.product_id,
            books.total,
            books.stock,
            books.holding,
            number(books.available),
            number(books.open),
            number(books.outbox)
        ));
        for finding in &books.findings {
            lines.push(format!(
                "  {} broken by {}: {}",
                finding.invariant, finding.amount, finding.detail
            ));
        }
    }
    lines.push(
        if view.holds { "all invariants hold" } else { "NOT all invariants hold" }.to_owned(),
    );
    lines.join("\n")
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

/// A result, to the terminal.
#[expect(clippy::print_stdout, reason = "the result of a one-shot command goes to the terminal")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
