//! Marks of adjustments that stand although whoever made them is gone: an edge that died, or a call
//! that ran late.
//!
//! Invariant: a mark is left alone until it stood through two looks, so that whoever is about to
//! record it is not raced.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use books::office::Office;
use domain::{AdjustmentId, ProductId};
use service::redis_pool::RedisPool;

/// Whoever makes a mark records it within some milliseconds; after a second it is taken for left
/// behind.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sales read in one pipeline.
const SALES_PER_PIPELINE: usize = 256;

/// What stood at the look before.
pub(super) struct Marks {
    redis: RedisPool,
    office: Office,
    before: HashMap<ProductId, AdjustmentId>,
    looked: Option<Instant>,
}

impl Marks {
    pub(super) fn new(redis: RedisPool, office: Office) -> Self {
        Self { redis, office, before: HashMap::new(), looked: None }
    }

    /// Looks once a second, and brings to an end what stood at the look before, too.
    pub(super) async fn look(&mut self, products: &[ProductId]) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let mut now = HashMap::new();
        for chunk in products.chunks(SALES_PER_PIPELINE) {
            let Ok(found) = books::marks::standing_in(&self.redis, chunk).await else { return };
            let standing = chunk.iter().zip(found);
            now.extend(standing.filter_map(|(product, mark)| Some((*product, mark?))));
        }
        let before = std::mem::replace(&mut self.before, now);
        for (product, mark) in &self.before {
            if before.get(product) == Some(mark) {
                self.finish(*product, *mark).await;
            }
        }
    }

    async fn finish(&self, product: ProductId, mark: AdjustmentId) {
        match self.office.finish_marked(product, mark).await {
            Ok(()) => tracing::info!(
                product.id = product.get(),
                adjustment.id = %mark,
                "brought an adjustment to its end that was left behind"
            ),
            Err(error) => tracing::debug!(%error, "an adjustment cannot be brought to its end"),
        }
    }
}
