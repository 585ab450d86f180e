//! What a committed transaction changed in one product, for Redis and whoever watches.
//!
//! Invariant: a report may be lost; the leader's comparison of effects and versions makes up for
//! everything in it but the names of orders, which watchers ask for themselves.

use domain::ProductId;
use domain::contract::feed::SettledOrder;
use service::redis_pool::RedisCalls;

use crate::effects::{Effect, Effects, EffectsError, EffectsLog, StockVersion};

/// What a committed transaction changed in one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The product.
    pub product: ProductId,
    /// Units left.
    pub stock: i64,
    /// Number of this value of the stock.
    pub version: i64,
    /// Orders with their new status.
    pub settled: Vec<SettledOrder>,
    /// What Redis must be told, in order.
    pub effects: Vec<Effect>,
}

impl Report {
    /// Nothing yet.
    pub const fn empty(product: ProductId) -> Self {
        Self { product, stock: 0, version: 0, settled: Vec::new(), effects: Vec::new() }
    }

    /// Tells Redis.
    ///
    /// # Errors
    /// See [`EffectsError`].
    pub async fn tell<R: RedisCalls>(
        &self,
        effects: &Effects<R>,
        log: &impl EffectsLog,
    ) -> Result<(), EffectsError> {
        let (product, version, stock) = (self.product, self.version, self.stock);
        let stock = StockVersion { product, version, stock };
        effects.tell(log, stock, &self.settled, &self.effects).await
    }
}
