//! The effects log towards Redis: everything PostgreSQL must tell it, in order, exactly once.
//!
//! Owns `report_stock.lua` and the reader of `effects`. Redis remembers the number of the last
//! effect it applied; a Redis that lost its tail took that number back with it, so the log replays.
//! Invariant: an effect is applied only when it is the next in line.

use deadpool_postgres::{GenericClient, Pool};
use domain::contract::feed::encode_settled;
use domain::contract::keys;
use domain::contract::order_message::QueuedOrder;
use domain::{Epoch, ProductId, Quantity, ReservationId, Seq, UserId};
use redis::Cmd;
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use crate::codes::ReportCode;
use crate::redis_reply::{RedisStepError, integers};
use crate::settle::decide::{Effect, EffectKind};
use crate::settle::{Report, SettleError};

const REPORT_STOCK: &str = include_str!("../../lua/report_stock.lua");
const LIST_EFFECTS: &str = include_str!("../../sql/list_effects.sql");

/// Effects one call applies: a few hundred arguments, some 200 µs of Redis time.
const EFFECTS_PER_CALL: usize = 64;
/// Rows read from the log at once.
const EFFECTS_PER_READ: i64 = 4096;
/// Reports waiting for Redis. When full, one is dropped: the leader's comparison makes up for it.
const REPORTS_WAITING_MAX: usize = 256;

/// Why effects could not be told.
#[derive(Debug, thiserror::Error)]
pub enum EffectsError {
    /// Redis did not answer as expected.
    #[error(transparent)]
    Redis(#[from] RedisStepError),
    /// PostgreSQL did not answer as expected.
    #[error(transparent)]
    Database(#[from] SettleError),
    /// A number is missing in the log: somebody edited it, and a person must look.
    #[error("the effects log has a gap after number {after}")]
    Gap {
        /// The last effect Redis applied.
        after: i64,
    },
    /// The sale is not vouched for, or another gatekeeper claimed it. Nothing was done.
    #[error("the sale is closed on this node")]
    Closed,
}

/// Under which right effects are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The sale is open: anyone may report.
    Vouched,
    /// A gatekeeper is rebuilding it under this epoch: only that gatekeeper.
    Epoch(Epoch),
}

/// The stock of a product as PostgreSQL has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockVersion {
    /// The product.
    pub product: ProductId,
    /// Number of this value.
    pub version: i64,
    /// Units.
    pub stock: i64,
}

/// What PostgreSQL must tell Redis, as it is read.
pub trait EffectsLog: Sync {
    /// Effects of a product after number `after`, oldest first, so many at a time. Fails when the
    /// database does not answer.
    fn effects_after(
        &self,
        product: ProductId,
        after: i64,
    ) -> impl Future<Output = Result<Vec<Effect>, SettleError>> + Send;
}

/// Tells Redis.
#[derive(Debug)]
pub struct Effects<R = RedisPool> {
    redis: R,
    script: LoadedScript,
}

impl<R: RedisCalls> Effects<R> {
    /// Uses this pool for every call.
    pub fn new(redis: R) -> Self {
        Self { redis, script: LoadedScript::new(REPORT_STOCK) }
    }

    /// Applies `effects`, stores the stock if it is newer, and publishes a frame naming `settled`.
    /// Returns the number of the last effect Redis has applied now.
    ///
    /// # Errors
    /// See [`EffectsError`].
    pub async fn report(
        &self,
        claim: Claim,
        stock: StockVersion,
        settled: &str,
        effects: &[Effect],
    ) -> Result<i64, EffectsError> {
        let mut command = self.command(claim, stock, settled);
        for effect in effects {
            command
                .arg(effect.n)
                .arg(effect.kind.as_str())
                .arg(effect.order.user.get())
                .arg(effect.order.quantity.units())
                .arg(effect.order.id.to_string())
                .arg(effect.order.seq.0);
        }
        let reply = self.redis.call(&self.script, &command).await.map_err(RedisStepError::from)?;
        let [code, applied] = integers::<2>(&reply)?;
        match ReportCode::from_number(code)? {
            ReportCode::Reported => Ok(applied),
            ReportCode::Closed => Err(EffectsError::Closed),
        }
    }

    /// Applies every effect after `applied` that `log` shows, and returns the last number.
    ///
    /// # Errors
    /// See [`EffectsError`].
    pub async fn replay(
        &self,
        log: &impl EffectsLog,
        claim: Claim,
        stock: StockVersion,
        mut applied: i64,
    ) -> Result<i64, EffectsError> {
        loop {
            let effects = log.effects_after(stock.product, applied).await?;
            if effects.is_empty() {
                return Ok(applied);
            }
            let before = applied;
            for chunk in effects.chunks(EFFECTS_PER_CALL) {
                applied = self.report(claim, stock, "[]", chunk).await?;
            }
            if applied == before {
                return Err(EffectsError::Gap { after: applied });
            }
        }
    }

    /// Tells what a committed batch changed: its effects, and those before them that are missing.
    ///
    /// # Errors
    /// See [`EffectsError`].
    pub async fn tell(&self, log: &impl EffectsLog, report: &Report) -> Result<(), EffectsError> {
        let stock =
            StockVersion { product: report.product, version: report.version, stock: report.stock };
        let settled = encode_settled(&report.settled);
        let (first, rest) = report.effects.split_at(report.effects.len().min(EFFECTS_PER_CALL));
        let mut applied = self.report(Claim::Vouched, stock, &settled, first).await?;
        for chunk in rest.chunks(EFFECTS_PER_CALL) {
            applied = self.report(Claim::Vouched, stock, "[]", chunk).await?;
        }
        let Some(last) = report.effects.last() else { return Ok(()) };
        if applied < last.n {
            // An earlier effect is missing, as when its settler died before it reported.
            self.replay(log, Claim::Vouched, stock, applied).await?;
        }
        Ok(())
    }

    fn command(&self, claim: Claim, stock: StockVersion, settled: &str) -> Cmd {
        let sale = keys::sale(stock.product);
        let buyers = keys::buyers(stock.product);
        let mut command = self.script.command(&[&sale, &buyers]);
        let epoch = match claim {
            Claim::Vouched => 0,
            Claim::Epoch(epoch) => epoch.0,
        };
        command
            .arg(epoch)
            .arg(keys::FEED_CHANNEL)
            .arg(stock.product.get())
            .arg(stock.version)
            .arg(stock.stock)
            .arg(settled);
        command
    }
}

impl<C: GenericClient> EffectsLog for C {
    async fn effects_after(
        &self,
        product: ProductId,
        after: i64,
    ) -> Result<Vec<Effect>, SettleError> {
        let statement = self.prepare_cached(LIST_EFFECTS).await?;
        let rows = self.query(&statement, &[&product.get(), &after, &EFFECTS_PER_READ]).await?;
        let effects = rows.iter().map(|row| effect_of(product, row)).collect::<Option<_>>();
        effects.ok_or_else(|| {
            SettleError::Transient("the effects log has a row of a newer schema".into())
        })
    }
}

fn effect_of(product: ProductId, row: &Row) -> Option<Effect> {
    let kind = match row.get::<_, &str>("kind") {
        "adopt" => EffectKind::Adopt,
        "void" => EffectKind::Void,
        _ => return None,
    };
    let order = QueuedOrder {
        id: ReservationId(row.get("reservation_id")),
        user: UserId::new(row.get("user_id")).ok()?,
        quantity: Quantity::new(row.get("quantity")).ok()?,
        seq: Seq(row.get("seq")),
    };
    Some(Effect { product, n: row.get("n"), kind, order })
}

/// Where settled batches are handed over, so that settling never waits for Redis.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<Report>);

impl Reporter {
    /// Hands a report over; when Redis is behind, it is dropped and made up for by the leader.
    pub fn hand_over(&self, report: Report) {
        if let Err(error) = self.0.try_send(report) {
            tracing::debug!(%error, "report dropped: redis is behind");
        }
    }
}

/// A reporter and the task that empties it until `stop`, then what waits.
pub fn reporter(
    effects: std::sync::Arc<Effects>,
    pool: Pool,
    stop: CancellationToken,
) -> (Reporter, impl Future<Output = ()>) {
    let (sender, mut reports) = mpsc::channel(REPORTS_WAITING_MAX);
    let task = async move {
        loop {
            let report = tokio::select! {
                biased;
                report = reports.recv() => report,
                () = stop.cancelled(), if reports.is_empty() => None,
            };
            let Some(report) = report else { return };
            let told = match pool.get().await {
                Ok(client) => effects.tell(&client, &report).await,
                Err(error) => Err(SettleError::from(error).into()),
            };
            match told {
                Ok(()) | Err(EffectsError::Closed) => {}
                Err(error) => tracing::warn!(%error, "redis was not told; the leader will"),
            }
        }
    };
    (Reporter(sender), task)
}
