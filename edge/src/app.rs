//! Wires one edge and runs it until it is told to stop.
//!
//! Owns the order of starting and stopping. An edge takes connections once nothing is missing, as a
//! proxy goes to the next one meanwhile. Every server may be away at start, in any order, for ever:
//! then it serves a second later, says 503 and what is missing, and each part retries by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use books::office::Office;
use deadpool_postgres::Pool;
use prometheus_client::registry::Registry;
use service::readiness::Readiness;
use service::redis_pool::{RedisPool, RedisPoolSettings};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::feed::{Board, Feed, Subscriber, Watchers};
use crate::holds::Holds;
use crate::http::Context;
use crate::http::admin::Admin;
use crate::http::token::{self, TokenKey};
use crate::http::trace::Tracer;
use crate::metrics::Metrics;
use crate::publish::{Publisher, publisher};
use crate::read::{Catalogue, OrderReader};
use crate::reserve::{Limits, RedisClock, Reserver, script};
use crate::server;
use crate::settings::{AdminSettings, BuyerTokenSettings, ReserveSettings, Settings};
use crate::stats::{Speaker, Stats};

/// Reads only: the catalogue, and orders people follow.
const DATABASE_CONNECTIONS: usize = 4;
/// A read that takes longer helps nobody.
const DATABASE_SESSION: &str = "-c statement_timeout=2000 -c default_transaction_read_only=on";

/// How long a start waits for what is missing: many times what it takes when every server is there,
/// and short for whoever asks what is wrong.
const READY_WAIT_MAX: Duration = Duration::from_secs(1);
const READY_LOOK: Duration = Duration::from_millis(2);

/// Operators are few, and what they do must not wait for buyers, nor buyers for it.
const OFFICE_CONNECTIONS: usize = 2;
/// An edge that freezes inside a transaction loses its lock on the product after 2 s.
const OFFICE_SESSION: &str =
    "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=2000";
/// Paying and cancelling: a few at once, as each holds its product for a millisecond.
const BOOKS_CONNECTIONS: usize = 4;
const BOOKS_SESSION: &str = "-c statement_timeout=2000 -c idle_in_transaction_session_timeout=2000";

/// An edge, ready to run.
struct Edge {
    context: Arc<Context>,
    pool: Pool,
    publisher: Publisher,
    subscriber: Subscriber,
    board: Board,
    speaker: Speaker,
    database: service::readiness::Part,
    products: service::readiness::Part,
    /// Not told to stop.
    staying: service::readiness::Part,
    /// Batchers; they end when the last request is answered.
    batchers: TaskTracker,
}

/// Runs until `stop`, then lets connections end, answers what was asked and publishes what was
/// accepted, within the grace period.
///
/// # Errors
/// When a URL is malformed or the address cannot be bound.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let address = settings.http.http_addr;
    let socket = server::bind(address).with_context(|| format!("HTTP_ADDR {address}"))?;
    let leave = server::Leave {
        asked: stop.clone(),
        lame_duck: settings.lame_duck_ms,
        closed: CancellationToken::new(),
    };
    let closed = leave.closed.clone();
    let edge = Edge::new(&settings, closed.clone())?;
    let clients = edge.context.clients.clone();
    let limits = server::Limits {
        connections_max: settings.http.connections_max as usize,
        idle_max: settings.http.idle_ms,
    };
    let give_up = CancellationToken::new();

    let background = TaskTracker::new();
    let catalogue = edge.context.feed.catalogue.clone();
    background.spawn(catalogue.refresh(edge.pool, edge.database, edge.products, closed.clone()));
    background.spawn(edge.subscriber.run(edge.board, closed.clone()));
    background.spawn(edge.speaker.run(closed));
    let publishing = tokio::spawn(edge.publisher.run(give_up.clone()));

    edge.staying.set(true);
    first_ready(&edge.context.readiness, &stop).await;
    let listener = server::listen(socket).with_context(|| format!("HTTP_ADDR {address}"))?;
    let serving = tokio::spawn(server::run(listener, edge.context, limits, leave));
    stop.cancelled().await;
    edge.staying.set(false);
    let drained = async {
        // In the order work flows: requests, their batches, the messages of those. The publisher
        // ends by itself once the last batcher dropped its handle.
        let _ = serving.await;
        clients.close();
        clients.wait().await;
        edge.batchers.close();
        edge.batchers.wait().await;
        let _ = publishing.await;
        background.close();
        background.wait().await;
    };
    if tokio::time::timeout(settings.shutdown_grace_ms, drained).await.is_err() {
        give_up.cancel();
        tracing::warn!("leaving with work undone: the outbox holds what was accepted");
    }
    Ok(())
}

/// Ends when nothing is missing, when it is no use to wait any longer, or with `stop`.
async fn first_ready(readiness: &Readiness, stop: &CancellationToken) {
    let ready = async {
        while !readiness.is_ready() {
            tokio::time::sleep(READY_LOOK).await;
        }
    };
    tokio::select! {
        () = ready => {}
        () = tokio::time::sleep(READY_WAIT_MAX) => {}
        () = stop.cancelled() => {}
    }
}

impl Edge {
    fn new(settings: &Settings, stop: CancellationToken) -> anyhow::Result<Self> {
        let servers = &settings.servers;
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let mut readiness = Readiness::default();
        let open = |name, connections, session| {
            service::postgres::pool(&servers.database_url, name, connections, session)
                .context("DATABASE_URL")
        };
        let pool = open("edge", DATABASE_CONNECTIONS, DATABASE_SESSION)?;
        let books = open("edge-books", BOOKS_CONNECTIONS, BOOKS_SESSION)?;
        let redis = redis_pool(&servers.redis_url, &settings.reserve)?;
        let (publish, publisher) = publisher(
            servers.amqp_url.clone(),
            usize::from(settings.reserve.message_batches_max),
            redis.clone(),
            metrics.clone(),
            readiness.part("broker"),
        );
        let batchers = TaskTracker::new();
        let reserver = Reserver::new(
            redis.clone(),
            limits(&settings.reserve),
            publish,
            metrics.clone(),
            batchers.clone(),
        );
        let board = Board::default();
        let orders = OrderReader::new(pool.clone(), redis.clone());
        let feed = feed(&board, orders, metrics.clone(), settings.http.silence_ms, stop);
        let admin = admin(&servers.database_url, &redis, &settings.admin)?;
        let holds = Holds::new(books, redis.clone(), feed.orders.clone(), metrics.clone());
        let subscriber =
            subscriber(&feed, redis.clone(), reserver.clone(), readiness.part("redis"));
        let (database, products) = (readiness.part("database"), readiness.part("products"));
        let staying = readiness.part("staying");
        let context = Arc::new(Context {
            reserver,
            feed,
            admin,
            holds,
            metrics,
            registry,
            readiness,
            allowed_origins: settings.http.allowed_origins.clone(),
            buyer_token_key: buyer_token_key(&settings.buyer_token)?,
            tracer: Tracer::new(Instant::now()),
            connections: TaskTracker::new(),
            clients: TaskTracker::new(),
            sold_out: Context::sold_out_body(),
        });
        let speaker = speaker(settings, redis, &context);
        Ok(Self {
            context,
            pool,
            publisher,
            subscriber,
            board,
            speaker,
            database,
            products,
            staying,
            batchers,
        })
    }
}

/// What clients of the feed are served from.
fn feed(
    board: &Board,
    orders: OrderReader,
    metrics: Metrics,
    silence_max: Duration,
    stop: CancellationToken,
) -> Feed {
    Feed {
        board: board.reader(),
        catalogue: Catalogue::default(),
        orders,
        watchers: Watchers::default(),
        stats: Stats::default(),
        clock: Arc::new(RedisClock::new(Instant::now())),
        metrics,
        silence_max,
        stop,
    }
}

/// What keeps the board of `feed`.
fn subscriber(
    feed: &Feed,
    redis: RedisPool,
    reserver: Reserver,
    ready: service::readiness::Part,
) -> Subscriber {
    Subscriber {
        redis,
        catalogue: feed.catalogue.clone(),
        clock: feed.clock.clone(),
        watchers: feed.watchers.clone(),
        stats: feed.stats.clone(),
        reserver,
        ready,
        metrics: feed.metrics.clone(),
    }
}

/// What says how the edge of `context` is, to its viewers and to the other edges.
fn speaker(settings: &Settings, redis: RedisPool, context: &Context) -> Speaker {
    Speaker {
        name: settings.instance.name(settings.http.http_addr),
        stats: context.feed.stats.clone(),
        redis,
        metrics: context.metrics.clone(),
        readiness: context.readiness.clone(),
        connections: context.connections.clone(),
        clock: context.feed.clock.clone(),
    }
}

fn buyer_token_key(settings: &BuyerTokenSettings) -> anyhow::Result<Option<TokenKey>> {
    let Some(bytes) = settings.read_key().context("BUYER_TOKEN_KEY")? else { return Ok(None) };
    let key = TokenKey::new(&bytes);
    let too_short = || format!("BUYER_TOKEN_KEY needs at least {} bytes", token::KEY_BYTES_MIN);
    key.with_context(too_short).map(Some)
}

fn redis_pool(url: &str, settings: &ReserveSettings) -> anyhow::Result<RedisPool> {
    let pool = RedisPoolSettings {
        url: url.to_owned(),
        connections_max: settings.redis_connections,
        response_timeout: settings.redis_timeout_ms,
    };
    RedisPool::connect(&pool, &[&script()]).context("REDIS_URL")
}

/// What operators may do; nothing without a token.
fn admin(
    database_url: &str,
    redis: &RedisPool,
    settings: &AdminSettings,
) -> anyhow::Result<Option<Admin>> {
    let Some(token) = settings.read_token().context("ADMIN_TOKEN")? else { return Ok(None) };
    let pool =
        service::postgres::pool(database_url, "edge-office", OFFICE_CONNECTIONS, OFFICE_SESSION)
            .context("DATABASE_URL")?;
    let office = Office::new(pool, redis.clone());
    Ok(Some(Admin::new(token, office, settings.reset_products.clone())))
}

fn limits(settings: &ReserveSettings) -> Limits {
    Limits {
        batch_max: usize::from(settings.batch_max),
        // A batch of one has nothing to wait for.
        linger_max: if settings.batch_max == 1 { Duration::ZERO } else { settings.linger_ms_max },
        waiting_max: settings.waiting_max as usize,
        outbox_max: settings.outbox_max,
        buy_timeout: settings.buy_timeout_ms,
        confirm_timeout: settings.confirm_timeout_ms,
    }
}
