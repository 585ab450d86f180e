//! Units taken out of a sale in Redis before PostgreSQL takes them out of the stock.
//!
//! Owns `withdraw_units.lua`, `release_units.lua` and the text of the mark, `id|units`.
//! Invariant: at most one mark of a sale stands.

use domain::contract::keys;
use domain::{AdjustmentId, Epoch, ProductId};
use redis::Value;
use service::redis_pool::{LoadedScript, RedisCallError, RedisCalls, RedisPool};
use service::redis_reply::{RedisStepError, integer, integers};
use uuid::Uuid;

use crate::codes::{ReleaseCode, WithdrawCode};

const WITHDRAW_UNITS: &str = include_str!("../../../lua/withdraw_units.lua");
const RELEASE_UNITS: &str = include_str!("../../../lua/release_units.lua");

/// How marking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Nobody can reserve the units any more, in this life of the sale.
    Marked {
        /// That life.
        epoch: Epoch,
    },
    /// Fewer units are free, in this life of the sale.
    NotEnough {
        /// That life.
        epoch: Epoch,
        /// Units that are free.
        available: i64,
    },
    /// Another adjustment is under way.
    Busy,
    /// An effect came since; look at the adjustment again.
    Stale,
    /// The gate of the sale is closed.
    Closed,
}

/// Marks units and releases them.
#[derive(Debug)]
pub struct UnitMarks<R = RedisPool> {
    redis: R,
    withdraw: LoadedScript,
    release: LoadedScript,
}

impl<R: RedisCalls> UnitMarks<R> {
    /// Uses this pool for every call.
    pub fn new(redis: R) -> Self {
        let withdraw = LoadedScript::new(WITHDRAW_UNITS);
        Self { redis, withdraw, release: LoadedScript::new(RELEASE_UNITS) }
    }

    /// Marks units of an adjustment that was not decided when the last effect was number `seen`.
    ///
    /// # Errors
    /// When Redis does not answer as expected; the units may be marked then.
    pub async fn withdraw(
        &self,
        product: ProductId,
        id: AdjustmentId,
        units: i64,
        seen: i64,
    ) -> Result<Marked, RedisStepError> {
        let mut command = self.withdraw.command(&[&keys::sale(product)]);
        command.arg(keys::FEED_CHANNEL).arg(product.get()).arg(id.to_string()).arg(units).arg(seen);
        let reply = self.redis.call(&self.withdraw, &command).await?;
        let [code, epoch, available] = integers::<3>(&reply)?;
        let epoch = Epoch(epoch);
        Ok(match WithdrawCode::from_number(code)? {
            WithdrawCode::Marked => Marked::Marked { epoch },
            WithdrawCode::NotEnough => Marked::NotEnough { epoch, available },
            WithdrawCode::Busy => Marked::Busy,
            WithdrawCode::Stale => Marked::Stale,
            WithdrawCode::Closed => Marked::Closed,
        })
    }

    /// Gives the units of an adjustment back that was refused for good.
    ///
    /// # Errors
    /// When Redis does not answer as expected; the leading settler makes up for it.
    pub async fn release(
        &self,
        product: ProductId,
        id: AdjustmentId,
    ) -> Result<(), RedisStepError> {
        let mut command = self.release.command(&[&keys::sale(product)]);
        command.arg(keys::FEED_CHANNEL).arg(product.get()).arg(id.to_string());
        let reply = self.redis.call(&self.release, &command).await?;
        match ReleaseCode::from_number(integer(&reply)?)? {
            ReleaseCode::Released | ReleaseCode::Absent | ReleaseCode::Closed => Ok(()),
        }
    }
}

/// Whose mark stands in a sale.
///
/// # Errors
/// When Redis does not answer as expected.
pub async fn standing(
    redis: &impl RedisCalls,
    product: ProductId,
) -> Result<Option<AdjustmentId>, RedisStepError> {
    let mut command = redis::cmd("HGET");
    command.arg(keys::sale(product)).arg(keys::SALE_WITHDRAWING_FIELD);
    Ok(owner(redis.query(&command).await?))
}

/// Whose marks stand, sale by sale.
///
/// # Errors
/// When Redis does not answer as expected.
pub async fn standing_in(
    redis: &impl RedisCalls,
    products: &[ProductId],
) -> Result<Vec<Option<AdjustmentId>>, RedisCallError> {
    let mut pipeline = redis::pipe();
    for product in products {
        pipeline.cmd("HGET").arg(keys::sale(*product)).arg(keys::SALE_WITHDRAWING_FIELD);
    }
    Ok(redis.query_pipeline(&pipeline).await?.into_iter().map(owner).collect())
}

/// The adjustment of a mark, `id|units`.
fn owner(mark: Value) -> Option<AdjustmentId> {
    let mark: String = redis::from_redis_value(mark).ok()?;
    let (id, _) = mark.split_once('|')?;
    Uuid::try_parse(id).ok().map(AdjustmentId)
}
