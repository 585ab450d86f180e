//! The gatekeeper: keeps every sale open on a Redis node that somebody vouched for.
//!
//! Owns the comparison of PostgreSQL with Redis; `look` owns what is read of which node, `vouch`
//! the steps, `effects` the log.
//! Invariant: a follower only looks. What is decided is a pure function of what was read.

pub mod compare;
mod gates;
pub mod leader;
mod look;
mod marks;
pub mod node;
pub mod sales;
pub mod vouch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use domain::ProductId;
use futures_util::{StreamExt, stream};
use service::readiness::Part;
use service::redis_pool::{NodeName, RedisPool};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use books::effects::{Effects, EffectsError};
use books::office::Office;
use books::records::{self, SaleRecord};
use books::updates::SaleUpdates;
use compare::{Step, catch_up};
use gates::Gates;
use leader::Leadership;
use look::{Look, look_at_all};
use marks::Marks;
use node::Node;
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
/// Nodes of a Redis Cluster vouched for at once: each takes a connection to PostgreSQL.
const NODES_AT_ONCE: usize = 2;

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
    #[error("{0}: {1}")]
    Redis(NodeName, #[source] RedisStepError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("{0}: {1}")]
    Node(NodeName, #[source] node::NodeError),
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
            if leads && round.is_ok() {
                let products = leading.borrow().products.clone();
                marks.look(&products).await;
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
            (Some(error @ RoundError::Node(..)), _) => tracing::error!(%error, "redis is unfit"),
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
    ) -> Result<(), RoundError> {
        let (sales, listed) = match self.list_sales().await {
            Ok(sales) => {
                publish_leading(leading, leads, &sales);
                (sales, Ok(()))
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        // Each node is read before any is vouched for: see `Voucher::vouch`.
        let looks = look_at_all(&self.redis, sales).await;
        self.redis_ready.set(looks.iter().any(Look::is_answered));
        if looks.iter().all(|look| look.found.is_err()) {
            gates.close_all(Instant::now());
        } else if listed.is_ok() {
            let open = looks.iter().flat_map(Look::open);
            gates.note(open.map(|(sale, open)| (sale.product, open)), Instant::now());
        }
        let acted = if leads { self.act_everywhere(&looks, means).await } else { Ok(()) };
        looks.into_iter().try_for_each(|look| look.found.map(|_| ()))?;
        acted.and(listed)
    }

    async fn list_sales(&self) -> Result<Vec<SaleRecord>, RoundError> {
        let client = self.pool.get().await.map_err(DatabaseError::from)?;
        Ok(records::list(&client, None).await?)
    }

    /// Acts on every node that answered; the first trouble met.
    async fn act_everywhere(
        &self,
        looks: &[Look],
        means: (&Voucher, &SaleUpdates),
    ) -> Result<(), RoundError> {
        let mut acts = Vec::with_capacity(looks.len());
        for look in looks {
            if let Ok((node, steps)) = &look.found {
                acts.push(self.act(&look.sales, steps, node, means));
            }
        }
        let acts: Vec<_> = stream::iter(acts).buffer_unordered(NODES_AT_ONCE).collect().await;
        acts.into_iter().collect()
    }

    async fn act(
        &self,
        sales: &[SaleRecord],
        steps: &[Step],
        node: &Node,
        (voucher, updates): (&Voucher, &SaleUpdates),
    ) -> Result<(), RoundError> {
        let lost = |(sale, step): (&SaleRecord, &Step)| {
            *step == Step::Vouch { blank: true } && sale.epoch.0 > 0
        };
        if sales.iter().zip(steps).any(lost) {
            tracing::warn!("redis lost a sale: letting the queue drain before rebuilding");
            self.drain().await?;
        }
        for (sale, step) in sales.iter().zip(steps) {
            match step {
                Step::Nothing => {}
                // Closed meanwhile: the next look finds it so.
                Step::Update => {
                    let told = updates.tell(&sale.settings()).await;
                    told.map_err(EffectsError::from)?;
                }
                Step::Tell { applied } => self.tell(sale, *applied).await?,
                Step::Vouch { .. } => self.vouch(sale, node, voucher).await?,
            }
        }
        Ok(())
    }

    async fn tell(&self, sale: &SaleRecord, applied: i64) -> Result<(), RoundError> {
        let client = self.pool.get().await.map_err(DatabaseError::from)?;
        Ok(catch_up(&self.effects, &client, sale, applied).await?)
    }

    async fn vouch(
        &self,
        sale: &SaleRecord,
        node: &Node,
        voucher: &Voucher,
    ) -> Result<(), RoundError> {
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
        let mut before = records::list(&client, None).await?;
        while Instant::now() < deadline {
            tokio::time::sleep(DRAIN_QUIET).await;
            let now = records::list(&client, None).await?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

fn publish_leading(leading: &watch::Sender<Leading>, leads: bool, sales: &[SaleRecord]) {
    leading.send_if_modified(|current| {
        let same = current.leads == leads
            && current.products.iter().copied().eq(sales.iter().map(|sale| sale.product));
        if !same {
            *current = Leading { leads, products: sales.iter().map(|s| s.product).collect() };
        }
        !same
    });
}
