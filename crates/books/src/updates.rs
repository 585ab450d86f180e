//! Tells Redis what an operator changed of a sale: absolute values under a version.
//!
//! Owns `update_sale.lua`; the hot report of settled orders carries none of it.
//! Invariant: an older version never replaces a newer one.

use domain::contract::keys;
use domain::{ProductId, SaleWindow, StoredState};
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use service::redis_reply::{RedisStepError, integer};

use crate::codes::UpdateCode;

const UPDATE_SALE: &str = include_str!("../../../lua/update_sale.lua");

/// What Redis must know of a sale besides its stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaleSettings {
    /// The product.
    pub product: ProductId,
    /// Number of this value.
    pub sale_version: i64,
    /// Units in all.
    pub total: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// What an operator set.
    pub state: StoredState,
    /// When it sells.
    pub window: SaleWindow,
}

/// Tells Redis.
#[derive(Debug)]
pub struct SaleUpdates<R = RedisPool> {
    redis: R,
    script: LoadedScript,
}

impl<R: RedisCalls> SaleUpdates<R> {
    /// Uses this pool for every call.
    pub fn new(redis: R) -> Self {
        Self { redis, script: LoadedScript::new(UPDATE_SALE) }
    }

    /// Tells Redis; true when it has this version now, or a newer one. False when the sale is
    /// closed by its gate, where vouching brings it.
    ///
    /// # Errors
    /// When Redis does not answer as expected.
    pub async fn tell(&self, sale: &SaleSettings) -> Result<bool, RedisStepError> {
        let mut command = self.script.command(&[&keys::sale(sale.product)]);
        command
            .arg(keys::FEED_CHANNEL)
            .arg(sale.product.get())
            .arg(sale.sale_version)
            .arg(sale.total)
            .arg(sale.limit)
            .arg(sale.window.opens_at_ms.unwrap_or(0))
            .arg(sale.window.closes_at_ms.unwrap_or(0))
            .arg(sale.state.as_str());
        let reply = self.redis.call(&self.script, &command).await?;
        Ok(match UpdateCode::from_number(integer(&reply)?)? {
            UpdateCode::Updated | UpdateCode::Current => true,
            UpdateCode::Closed => false,
        })
    }
}
