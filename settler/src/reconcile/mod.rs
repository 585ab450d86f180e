//! The reconciler: compares PostgreSQL, Redis and RabbitMQ, and says what does not add up.
//!
//! Owns the looking and the alarm; `judge` owns the arithmetic. It repairs nothing: whoever hides
//! a drift hides its cause. What is stranded it names to the sweeper, after the alarm.
//! Invariant: it takes at most one part in twenty of the time.

pub mod judge;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deadpool_postgres::Pool;
use domain::contract::keys;
use domain::contract::reconcile::{ProductBooks, ReconcileView};
use domain::contract::rfc3339;
use domain::{Epoch, ProductId};
use service::postgres::DatabaseError;
use service::redis_pool::{RedisCalls, RedisPool};
use service::redis_reply::RedisStepError;
use tokio::sync::{mpsc, watch};
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use crate::consume::broker::{Depths, Observer};
use crate::gatekeeper::Leading;
use crate::metrics::Metrics;
use crate::settle::SettleError;
use books::cut::{Cut, Cuts};
use judge::{Ledger, Look, judge};

const AUDIT_SALES: &str = include_str!("../../../sql/audit_sales.sql");

/// All orders are counted at every so many looks, those of unchanged products too: what somebody
/// changes by hand leaves the version as it was.
const COUNT_ALL_EVERY: u32 = 30;
/// A look may read every order; so many times its duration passes before the next.
const PAUSE_FACTOR: u32 = 20;

/// Looks at everything.
pub struct Reconciler {
    pool: Pool,
    queues: Observer,
    redis: RedisPool,
    cuts: Cuts,
    before: HashMap<ProductId, Look>,
    looks: u32,
}

/// Reservations that wait nowhere: found by [`Reconciler::run`], republished by the sweeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranded {
    /// The product.
    pub product: ProductId,
    /// The present life of its state in Redis.
    pub epoch: Epoch,
}

/// Why a look found out nothing: PostgreSQL is away.
#[derive(Debug, thiserror::Error)]
#[error("the books cannot be read: {0}")]
pub struct LookError(#[from] SettleError);

impl Reconciler {
    /// Does not connect yet.
    pub fn new(pool: Pool, redis: RedisPool, amqp_url: String) -> Self {
        let queues = Observer::new(amqp_url);
        let cuts = Cuts::new(redis.clone());
        Self { pool, queues, redis, cuts, before: HashMap::new(), looks: 0 }
    }

    /// Looks every `period` while this settler leads, exports what it finds and raises the alarm,
    /// until `stop`.
    pub async fn run(
        mut self,
        period: Duration,
        metrics: Metrics,
        leading: watch::Receiver<Leading>,
        sweep: mpsc::Sender<Stranded>,
        stop: CancellationToken,
    ) {
        let mut alarmed = Vec::new();
        let mut pause = period;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            if !leading.borrow().leads {
                metrics.books.forget();
                continue;
            }
            let started = Instant::now();
            let looked = tokio::select! {
                looked = self.look(now_ms()) => looked,
                () = stop.cancelled() => return,
            };
            pause = period.max(started.elapsed() * PAUSE_FACTOR);
            match looked {
                Ok(view) => {
                    metrics.books.export(&view);
                    self.keep(&view).await;
                    raise_alarm(&view.products, &mut alarmed);
                    for stranded in self.stranded(&view.products) {
                        // Full: it is being swept.
                        let _ = sweep.try_send(stranded);
                    }
                }
                Err(error) => tracing::debug!(%error, "no reconciliation"),
            }
        }
    }

    /// Looks once. What is away is left out.
    ///
    /// # Errors
    /// When PostgreSQL is away.
    pub async fn look(&mut self, now_ms: i64) -> Result<ReconcileView, LookError> {
        // PostgreSQL first: see `judge`.
        let ledgers = self.read_ledgers().await?;
        self.looks = self.looks.wrapping_add(1);
        let cuts = self.read_cuts(&ledgers).await;
        let depths = self.queues.depths().await.ok();
        let queue = depths.map(|depths| depths.orders);
        let mut products = Vec::with_capacity(ledgers.len());
        for (ledger, cut) in ledgers.into_iter().zip(cuts) {
            let look = Look { ledger, cut, queue };
            let before = self.before.insert(ledger.product, look);
            products.push(judge(&look, before.as_ref()));
        }
        Ok(view(now_ms, products, depths))
    }

    /// Keeps the report for whoever asks an edge for it.
    async fn keep(&self, view: &ReconcileView) {
        let kept = async {
            let client = self.pool.get().await.map_err(DatabaseError::from)?;
            books::reports::store(&client, &view.to_json()).await
        };
        if let Err(error) = kept.await {
            tracing::debug!(%error, "the report cannot be kept");
        }
    }

    /// Products with units that are reserved while nothing waits that would settle them.
    fn stranded(&self, products: &[ProductBooks]) -> Vec<Stranded> {
        let waiting = products.iter().filter(|books| books.quiet && books.open > Some(0));
        let stranded = waiting.filter_map(|books| {
            let product = ProductId::new(books.product_id).ok()?;
            let epoch = self.before.get(&product)?.cut?.epoch;
            Some(Stranded { product, epoch })
        });
        stranded.collect()
    }

    async fn read_ledgers(&self) -> Result<Vec<Ledger>, SettleError> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(AUDIT_SALES).await?;
        let known = self.before.values().map(|look| look.ledger);
        let known = known.filter(|_| !self.looks.is_multiple_of(COUNT_ALL_EVERY));
        let (ids, versions): (Vec<_>, Vec<_>) =
            known.map(|ledger| (ledger.product.get(), ledger.version)).unzip();
        let rows = client.query(&statement, &[&ids, &versions]).await?;
        Ok(rows.iter().filter_map(|row| self.read_ledger(row)).collect())
    }

    /// What was not counted again is as it was at the look before.
    fn read_ledger(&self, row: &Row) -> Option<Ledger> {
        let product = ProductId::new(row.get("id")).ok()?;
        let (holding, over_limit) = match row.get("counted") {
            true => (row.get("holding"), row.get("over_limit")),
            false => {
                let before = self.before.get(&product)?.ledger;
                (before.holding, before.over_limit)
            }
        };
        Some(Ledger {
            product,
            total: row.get("total"),
            stock: row.get("stock"),
            holding,
            unexplained: row.get("unexplained"),
            over_limit,
            epoch: Epoch(row.get("epoch")),
            effect_seq: row.get("effect_seq"),
            version: row.get("version"),
        })
    }

    /// A cut of each sale. A node that does not answer is asked no further.
    async fn read_cuts(&self, ledgers: &[Ledger]) -> Vec<Option<Cut>> {
        let mut cuts = Vec::with_capacity(ledgers.len());
        let mut away = HashSet::new();
        for ledger in ledgers {
            let node = self.redis.node_of(&keys::sale(ledger.product)).await;
            if away.contains(&node) {
                cuts.push(None);
                continue;
            }
            let cut = self.cuts.read(ledger.product).await;
            if let Err(RedisStepError::Call(_)) = cut {
                away.insert(node);
            }
            cuts.push(cut.ok().flatten());
        }
        cuts
    }
}

/// The time on this machine's clock; it only dates a report.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn view(now_ms: i64, products: Vec<ProductBooks>, depths: Option<Depths>) -> ReconcileView {
    ReconcileView {
        checked_at: rfc3339::from_ms(now_ms),
        holds: products.iter().all(|product| product.findings.is_empty()),
        queue: depths.map(|depths| depths.orders),
        dead_letters: depths.map(|depths| depths.dead),
        products,
    }
}

/// Says once that something is wrong, and once that it is not any more.
fn raise_alarm(products: &[ProductBooks], alarmed: &mut Vec<ProductBooks>) {
    let same = |a: &ProductBooks, b: &ProductBooks| {
        a.product_id == b.product_id && a.findings == b.findings
    };
    for now in products {
        let known = alarmed.iter().any(|before| same(before, now));
        for finding in now.findings.iter().filter(|_| !known) {
            tracing::error!(
                product.id = now.product_id,
                invariant = finding.invariant,
                amount = finding.amount,
                stock = now.stock,
                available = now.available,
                "{}",
                finding.detail
            );
        }
    }
    let fine = |id: i64| products.iter().any(|p| p.product_id == id && p.findings.is_empty());
    for before in alarmed.iter().filter(|before| fine(before.product_id)) {
        tracing::warn!(product.id = before.product_id, "the books add up again");
    }
    *alarmed = products.iter().filter(|p| !p.findings.is_empty()).cloned().collect();
}
