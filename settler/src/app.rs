//! Wires one settler and runs it until it is told to stop.
//!
//! Owns the order of starting and stopping. Every server may be away at start, in any order, for
//! ever: each part retries by itself and reports its readiness.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::Pool;
use prometheus_client::registry::Registry;
use service::backoff::Backoff;
use service::probe::Probe;
use service::readiness::{Part, Readiness};
use service::redis_pool::{RedisPool, RedisPoolSettings};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::consume::Consume;
use crate::consume::broker::Publisher;
use crate::expiry::Expiry;
use crate::gatekeeper::leader::Leadership;
use crate::gatekeeper::{Gatekeeper, Leading};
use crate::metrics::Metrics;
use crate::reconcile::Reconciler;
use crate::relay::Relay;
use crate::report;
use crate::settings::RunSettings;
use crate::stats::Speaker;
use crate::sweeper::Sweeper;
use books::effects::Effects;
use books::office::Office;

/// One connection settles, one expires; one is spare while a broken one is replaced.
const SETTLE_CONNECTIONS: usize = 3;
/// The gatekeeper works on one sale of each of two nodes at a time; the reporter and the reconciler
/// may need one each.
const GATE_CONNECTIONS: usize = 4;
/// Gatekeeper, reporter, relay, reconciler and stats; to each node of a cluster.
const REDIS_CONNECTIONS: u32 = 5;
/// A call adopts at most 500 holders, a few milliseconds.
const REDIS_TIMEOUT: Duration = Duration::from_millis(500);
/// Stranded products that wait for the sweeper; more are found again by the next look.
const STRANDED_MAX: usize = 16;
/// A settler that froze inside a transaction loses its locks after 2 s; a statement that waits for
/// a lock somebody else holds gives up after 5 s, and its batch is tried again.
const SETTLE_SESSION: &str =
    "-c idle_in_transaction_session_timeout=2000 -c statement_timeout=5000";
/// Rebuilding streams every holder of a sale out of one statement.
const GATE_SESSION: &str =
    "-c idle_in_transaction_session_timeout=10000 -c statement_timeout=120000";

/// Runs until `stop`, then finishes the open batch within the grace period.
///
/// # Errors
/// When a URL is malformed or the probe address cannot be bound.
pub async fn run(settings: RunSettings, stop: CancellationToken) -> anyhow::Result<()> {
    let stores = Stores::new(&settings)?;
    let mut readiness = Readiness::default();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let listener = TcpListener::bind(settings.probe_addr)
        .await
        .with_context(|| format!("PROBE_ADDR {}", settings.probe_addr))?;

    let tasks = TaskTracker::new();
    let stop_reporter = CancellationToken::new();
    let database = readiness.part("database");
    tasks.spawn(watch_database(stores.settle_pool.clone(), database, stop.clone()));
    let consume = stores.consume(&settings, &metrics, readiness.part("broker"));
    let (reporter, report) =
        report::reporter(stores.effects.clone(), stores.gate_pool.clone(), stop_reporter.clone());
    tasks.spawn(report);
    let consuming = tasks.spawn(consume.run(reporter.clone(), stop.clone()));
    let (lead, leading) = watch::channel(Leading::default());
    let expiry = Expiry { pool: stores.settle_pool.clone(), reporter, metrics: metrics.clone() };
    tasks.spawn(expiry.run(leading.clone(), stop.clone()));
    let amqp_url = settings.servers.amqp_url.clone();
    let sweeper = stores.sweeper(amqp_url.clone());
    let reconciler = Reconciler::new(stores.gate_pool.clone(), stores.redis.clone(), amqp_url);
    let gatekeeper = Gatekeeper {
        office: Office::new(stores.gate_pool.clone(), stores.redis.clone()),
        pool: stores.gate_pool,
        redis: stores.redis.clone(),
        leadership: Leadership::new(&settings.servers.database_url).context("DATABASE_URL")?,
        effects: stores.effects,
        metrics: metrics.clone(),
        redis_ready: readiness.part("redis"),
        gate_ready: readiness.part("gate"),
    };
    tasks.spawn(gatekeeper.run(lead, stop.clone()));
    let relay = Relay {
        redis: stores.redis.clone(),
        publisher: Publisher::new(settings.servers.amqp_url.clone(), "settler-relay"),
        age: settings.relay_age_ms,
        metrics: metrics.clone(),
    };
    tasks.spawn(relay.run(leading.clone(), stop.clone()));
    let speaker = Speaker {
        name: settings.instance.name(settings.probe_addr),
        redis: stores.redis,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        leading: leading.clone(),
    };
    tasks.spawn(speaker.run(stop.clone()));
    let (sweep, stranded) = mpsc::channel(STRANDED_MAX);
    let period = settings.reconcile_ms;
    tasks.spawn(reconciler.run(period, metrics, leading, sweep, stop.clone()));
    tasks.spawn(sweeper.run(stranded, stop.clone()));
    let probe = Arc::new(Probe { readiness, metrics: registry });
    tasks.spawn(service::probe::serve(listener, probe, stop.clone()));
    tasks.close();

    stop.cancelled().await;
    let drained = async {
        // The reporter goes last: the batch that is being settled still has to be told.
        let _ = consuming.await;
        stop_reporter.cancel();
        tasks.wait().await;
    };
    if tokio::time::timeout(settings.shutdown_grace_ms, drained).await.is_err() {
        tracing::warn!("leaving with work undone: it will be delivered again");
    }
    Ok(())
}

/// What the parts share.
struct Stores {
    settle_pool: Pool,
    gate_pool: Pool,
    redis: RedisPool,
    effects: Arc<Effects>,
}

impl Stores {
    fn new(settings: &RunSettings) -> anyhow::Result<Self> {
        let database_url = &settings.servers.database_url;
        let pool = |name, connections, session| {
            service::postgres::pool(database_url, name, connections, session)
                .context("DATABASE_URL")
        };
        let redis_settings = RedisPoolSettings {
            url: settings.servers.redis_url.clone(),
            connections_max: REDIS_CONNECTIONS,
            response_timeout: REDIS_TIMEOUT,
        };
        let redis = RedisPool::connect(&redis_settings, &[]).context("REDIS_URL")?;
        Ok(Self {
            settle_pool: pool("settler", SETTLE_CONNECTIONS, SETTLE_SESSION)?,
            gate_pool: pool("settler-gate", GATE_CONNECTIONS, GATE_SESSION)?,
            effects: Arc::new(Effects::new(redis.clone())),
            redis,
        })
    }

    fn consume(&self, settings: &RunSettings, metrics: &Metrics, broker_ready: Part) -> Consume {
        Consume {
            amqp_url: settings.servers.amqp_url.clone(),
            pool: self.settle_pool.clone(),
            batch_max: settings.batch_max as usize,
            prefetch: settings.prefetch,
            metrics: metrics.clone(),
            broker_ready,
        }
    }

    fn sweeper(&self, amqp_url: String) -> Sweeper {
        Sweeper {
            pool: self.gate_pool.clone(),
            redis: self.redis.clone(),
            publisher: Publisher::new(amqp_url, "settler-sweep"),
        }
    }
}

/// Looks whether PostgreSQL answers, once a second, and says so the first time.
async fn watch_database(pool: Pool, ready: Part, stop: CancellationToken) {
    let mut announced = false;
    let mut backoff = Backoff::for_connection();
    loop {
        let answers = match pool.get().await {
            Ok(client) => client.simple_query("").await.is_ok(),
            Err(_) => false,
        };
        ready.set(answers);
        if answers && !std::mem::replace(&mut announced, true) {
            service::telemetry::announce_connected("Database");
        }
        let pause = if answers {
            backoff.reset();
            Duration::from_secs(1)
        } else {
            backoff.next_delay(service::backoff::jitter())
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
