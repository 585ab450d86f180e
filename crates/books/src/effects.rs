//! The effects log towards Redis: everything PostgreSQL must tell it, in order, exactly once.
//!
//! Owns `report_stock.lua` and what is read of the table `effects`; `effect_rows` writes it.
//! Redis remembers the number of the last effect it applied; a Redis that lost its tail took that
//! number back with it, so the log replays.
//! Invariant: an effect is applied only when it is the next in line.

use deadpool_postgres::GenericClient;
use domain::contract::feed::{SettledOrder, encode_settled};
use domain::contract::keys;
use domain::contract::order_message::QueuedOrder;
use domain::{
    AdjustmentId, Epoch, IdempotencyKey, ProductId, Quantity, ReservationId, Seq, UserId,
};
use redis::Cmd;
use service::postgres::DatabaseError;
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use service::redis_reply::{RedisStepError, integers};
use tokio_postgres::Row;

use crate::codes::ReportCode;
use crate::effect_rows::EffectColumns;

const REPORT_STOCK: &str = include_str!("../../../lua/report_stock.lua");
const APPEND_EFFECTS: &str = include_str!("../../../sql/append_effects.sql");
const LIST_EFFECTS: &str = include_str!("../../../sql/list_effects.sql");

/// Effects one call applies: a few hundred arguments, some 200 µs of Redis time.
const EFFECTS_PER_CALL: usize = 64;
/// Rows read from the log at once.
const EFFECTS_PER_READ: i64 = 4096;

/// What Redis must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    /// This user holds this order, if the user is unknown there.
    Adopt(QueuedOrder),
    /// This reservation holds nothing, if it still stands there.
    Void(QueuedOrder),
    /// So many units more can be reserved.
    Add(UnitChange),
    /// So many units fewer can be reserved; they are taken already where the adjustment's mark
    /// stands.
    Withdraw(UnitChange),
}

/// Units of an adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitChange {
    /// The adjustment.
    pub adjustment: AdjustmentId,
    /// Units, at least one.
    pub units: i64,
}

impl EffectKind {
    /// The word PostgreSQL and `report_stock.lua` use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Adopt(_) => "adopt",
            Self::Void(_) => "void",
            Self::Add(_) => "add",
            Self::Withdraw(_) => "withdraw",
        }
    }

    /// The order it is about, unless it is about units.
    pub const fn order(self) -> Option<QueuedOrder> {
        match self {
            Self::Adopt(order) | Self::Void(order) => Some(order),
            Self::Add(_) | Self::Withdraw(_) => None,
        }
    }

    /// The adjustment it is about, unless it is about an order.
    pub const fn change(self) -> Option<UnitChange> {
        match self {
            Self::Add(change) | Self::Withdraw(change) => Some(change),
            Self::Adopt(_) | Self::Void(_) => None,
        }
    }
}

/// One row of the effects log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The product.
    pub product: ProductId,
    /// Its number, without gaps, from 1.
    pub n: i64,
    /// What to do, and with what.
    pub kind: EffectKind,
}

/// Why effects could not be told.
#[derive(Debug, thiserror::Error)]
pub enum EffectsError {
    /// Redis did not answer as expected.
    #[error(transparent)]
    Redis(#[from] RedisStepError),
    /// PostgreSQL did not answer as expected.
    #[error(transparent)]
    Database(#[from] DatabaseError),
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
    ) -> impl Future<Output = Result<Vec<Effect>, DatabaseError>> + Send;
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
            command.arg(effect.n).arg(effect.kind.as_str());
            match effect.kind {
                EffectKind::Adopt(order) | EffectKind::Void(order) => command
                    .arg(order.user.get())
                    .arg(order.quantity.units())
                    .arg(order.id.to_string())
                    .arg(order.holder().encode_end()),
                EffectKind::Add(change) | EffectKind::Withdraw(change) => {
                    command.arg("").arg(change.units).arg(change.adjustment.to_string()).arg("")
                }
            };
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

    /// Tells what a committed transaction changed in one product: the outcome of orders, its
    /// effects, and those before them that are missing.
    ///
    /// # Errors
    /// See [`EffectsError`].
    pub async fn tell(
        &self,
        log: &impl EffectsLog,
        stock: StockVersion,
        settled: &[SettledOrder],
        effects: &[Effect],
    ) -> Result<(), EffectsError> {
        let settled = encode_settled(settled);
        let (first, rest) = effects.split_at(effects.len().min(EFFECTS_PER_CALL));
        let mut applied = self.report(Claim::Vouched, stock, &settled, first).await?;
        for chunk in rest.chunks(EFFECTS_PER_CALL) {
            applied = self.report(Claim::Vouched, stock, "[]", chunk).await?;
        }
        let Some(last) = effects.last() else { return Ok(()) };
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
    ) -> Result<Vec<Effect>, DatabaseError> {
        let statement = self.prepare_cached(LIST_EFFECTS).await?;
        let rows = self.query(&statement, &[&product.get(), &after, &EFFECTS_PER_READ]).await?;
        let effects = rows.iter().map(|row| effect_of(product, row)).collect::<Option<_>>();
        effects.ok_or_else(|| {
            DatabaseError::Transient("the effects log has a row of a newer schema".into())
        })
    }
}

fn effect_of(product: ProductId, row: &Row) -> Option<Effect> {
    let order = || {
        Some(QueuedOrder {
            id: ReservationId(row.get::<_, Option<_>>("reservation_id")?),
            user: UserId::new(row.get::<_, Option<_>>("user_id")?).ok()?,
            quantity: Quantity::new(row.get("quantity")).ok()?,
            seq: Seq(row.get::<_, Option<_>>("seq")?),
            key: row.get::<_, Option<_>>("idempotency_key").map(IdempotencyKey::from_stored),
        })
    };
    let change = || {
        let adjustment = AdjustmentId(row.get::<_, Option<_>>("adjustment_id")?);
        Some(UnitChange { adjustment, units: row.get("quantity") })
    };
    let kind = match row.get::<_, &str>("kind") {
        "adopt" => EffectKind::Adopt(order()?),
        "void" => EffectKind::Void(order()?),
        "add" => EffectKind::Add(change()?),
        "withdraw" => EffectKind::Withdraw(change()?),
        _ => return None,
    };
    Some(Effect { product, n: row.get("n"), kind })
}

/// Logs what Redis has to be told, in the transaction that causes it.
///
/// # Errors
/// When the database does not answer or refuses.
pub async fn append_effects(
    client: &impl GenericClient,
    effects: &[Effect],
) -> Result<(), DatabaseError> {
    if effects.is_empty() {
        return Ok(());
    }
    let statement = client.prepare_cached(APPEND_EFFECTS).await?;
    client.execute(&statement, &EffectColumns::of(effects).params()).await?;
    Ok(())
}
