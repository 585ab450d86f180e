//! The gatekeeper: keeps every sale open on a Redis node that somebody vouched for.
//!
//! Owns the comparison of PostgreSQL with Redis; `vouch` owns the steps, `effects` the log.
//! Invariant: a follower only looks. What is decided is a pure function of what was read.

pub mod compare;
mod gates;
pub mod leader;
mod marks;
pub mod node;
pub mod sales;
pub mod vouch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use domain::ProductId;
use service::readiness::Part;
use service::redis_pool::RedisPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use books::effects::{Effects, EffectsError};
use books::office::Office;
use books::updates::SaleUpdates;
use compare::{Step, catch_up, compare_all};
use gates::Gates;
use leader::Leadership;
use marks::Marks;
use node::Node;
use sales::Sale;
use service::postgres::DatabaseError;
use service::redis_reply::RedisStepError;
use vouch::{Vouched, Voucher};

/// How often PostgreSQL and Redis are compared: the sale is closed about this long at least after
/// a Redis restart, and the comparison costs well under 1 % of a core.
const PERIOD: Duration = Duration::from_millis(100);
/// After a node lost everything, settling may go on this long first, so that fewer orders arrive
/// late. For quality, not for safety.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// The stock has stood still this long: the queue is as good as empty.
const DRAIN_QUIET: Duration = Duration::from_millis(200);
/// Whether this settler leads, and what is on sale; for the relay.
#[derive(Debug, Clone, Default)]
pub struct Leading {
    /// This settler vouches and relays.
    pub leads: bool,
    /// Every product.
    pub products: Arc<[ProductId]>,
}

/// The gatekeeper of one settler.
pub struct Gatekeeper {
    /// PostgreSQL, with room for long statements.
    pub pool: Pool,
    /// Redis.
    pub redis: RedisPool,
    /// Who leads.
    pub leadership: Leadership,
    /// The effects log.
    pub effects: Arc<Effects>,
    /// Brings adjustments to their end whose edge died.
    pub office: Office,
    /// What is counted.
    pub metrics: Metrics,
    /// Set while Redis answers.
    pub redis_ready: Part,
    /// Set while every sale is open on a node somebody vouched for.
    pub gate_ready: Part,
}

/// Why one round did not finish.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Redis(#[from] RedisStepError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Node(#[from] node::NodeError),
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl Gatekeeper {
    /// Compares and acts until `stop`.
    pub async fn run(mut self, leading: watch::Sender<Leading>, stop: CancellationToken) {
        let voucher = Voucher::new(self.redis.clone());
        let updates = SaleUpdates::new(self.redis.clone());
        let mut marks = Marks::new(self.redis.clone(), self.office.clone());
        let mut gates = Gates::new(self.metrics.clone(), self.gate_ready.clone());
        let mut trouble = None;
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let leads = self.leadership.check().await;
            let round = self.round(leads, (&voucher, &updates), &leading, &mut gates).await;
            if let (Ok(products), true) = (&round, leads) {
                marks.look(products).await;
            }
            if matches!(round, Err(RoundError::Redis(_) | RoundError::Node(_))) {
                gates.close_all(Instant::now());
            }
            self.note(round.as_ref().err(), &mut trouble);
        }
    }

    /// Logs a trouble once when it begins and once when it ends, not ten times a second.
    fn note(&self, error: Option<&RoundError>, trouble: &mut Option<String>) {
        let text = error.map(ToString::to_string);
        if text == *trouble {
            return;
        }
        match (error, &trouble) {
            (Some(error @ RoundError::Node(_)), _) => tracing::error!(%error, "redis is unfit"),
            (Some(error), _) => tracing::warn!(%error, "gatekeeper cannot work"),
            (None, _) => tracing::info!("gatekeeper works again"),
        }
        *trouble = text;
    }

    async fn round(
        &self,
        leads: bool,
        means: (&Voucher, &SaleUpdates),
        leading: &watch::Sender<Leading>,
        gates: &mut Gates,
    ) -> Result<Arc<[ProductId]>, RoundError> {
        let info = node::read_info(&self.redis).await;
        self.redis_ready.set(info.is_ok());
        let node = node::judge_info(&info?)?;
        let sales = {
            let client = self.pool.get().await.map_err(DatabaseError::from)?;
            sales::list_sales(&client).await?
        };
        publish_leading(leading, leads, &sales);
        let steps = compare_all(&self.redis, &sales, &node).await?;
        let is_open = |step: &Step| !matches!(step, Step::Vouch { .. });
        let open = sales.iter().zip(&steps).map(|(sale, step)| (sale.product, is_open(step)));
        gates.note(open, Instant::now());
        if leads {
            self.act(&sales, &steps, &node, means).await?;
        }
        Ok(leading.borrow().products.clone())
    }

    async fn act(
        &self,
        sales: &[Sale],
        steps: &[Step],
        node: &Node,
        (voucher, updates): (&Voucher, &SaleUpdates),
    ) -> Result<(), RoundError> {
        let lost =
            |(sale, step): (&Sale, &Step)| *step == Step::Vouch { blank: true } && sale.epoch.0 > 0;
        if sales.iter().zip(steps).any(lost) {
            tracing::warn!("redis lost a sale: letting the queue drain before rebuilding");
            self.drain().await?;
        }
        for (sale, step) in sales.iter().zip(steps) {
            match step {
                Step::Nothing => {}
                // Closed meanwhile: the next look finds it so.
                Step::Update => drop(updates.tell(&sale.settings()).await?),
                Step::Tell { applied } => self.tell(sale, *applied).await?,
                Step::Vouch { .. } => self.vouch(sale, node, voucher).await?,
            }
        }
        Ok(())
    }

    async fn tell(&self, sale: &Sale, applied: i64) -> Result<(), RoundError> {
        let client = self.pool.get().await.map_err(DatabaseError::from)?;
        Ok(catch_up(&self.effects, &client, sale, applied).await?)
    }

    async fn vouch(&self, sale: &Sale, node: &Node, voucher: &Voucher) -> Result<(), RoundError> {
        let started = Instant::now();
        let mut client = self.pool.get().await.map_err(DatabaseError::from)?;
        match voucher.vouch(&mut client, &self.effects, sale.product, node).await {
            Ok(Vouched::Opened { epoch, adopted }) => {
                tracing::info!(
                    product.id = sale.product.get(),
                    sale.epoch = epoch.0,
                    holders.adopted = adopted,
                    elapsed_ms = started.elapsed().as_millis(),
                    "vouched for the redis node: the sale is open"
                );
                Ok(())
            }
            Ok(Vouched::Outrun) | Err(EffectsError::Closed) => {
                tracing::info!(product.id = sale.product.get(), "another gatekeeper vouches");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the stock stands still, at most [`DRAIN_MAX`].
    async fn drain(&self) -> Result<(), RoundError> {
        let deadline = Instant::now() + DRAIN_MAX;
        let client = self.pool.get().await.map_err(DatabaseError::from)?;
        let mut before = sales::list_sales(&client).await?;
        while Instant::now() < deadline {
            tokio::time::sleep(DRAIN_QUIET).await;
            let now = sales::list_sales(&client).await?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

fn publish_leading(leading: &watch::Sender<Leading>, leads: bool, sales: &[Sale]) {
    leading.send_if_modified(|current| {
        let same = current.leads == leads
            && current.products.iter().copied().eq(sales.iter().map(|sale| sale.product));
        if !same {
            *current = Leading { leads, products: sales.iter().map(|s| s.product).collect() };
        }
        !same
    });
}
