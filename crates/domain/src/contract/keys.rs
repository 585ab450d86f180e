//! Redis key names. The one place that spells them.
//!
//! Every key of a product carries the hash tag `{P}`, so that a script's keys live in one slot of
//! a Redis Cluster (Redis Cluster specification, "Hash tags").

use crate::ids::ProductId;

/// Pub/Sub channel of the stock feed; see [`super::feed`].
pub const FEED_CHANNEL: &str = "feed";
/// Pub/Sub channel on which every edge and settler says once a second how it is; see
/// [`super::stats`].
pub const STATS_CHANNEL: &str = "stats";

/// Fields of `sale:{P}` that a reader of the feed's state asks for, in this order; see
/// [`super::feed::FeedFrame::from_fields`].
pub const SALE_FEED_FIELDS: [&str; 7] =
    ["stock", "available", "state", "opens_at", "closes_at", "epoch", "rev"];

/// Field of `sale:{P}` that names the node somebody vouched for.
pub const SALE_VOUCH_FIELD: &str = "vouch";

/// Field of `sale:{P}` with the units an adjustment took out, `adjustment id|units`.
pub const SALE_WITHDRAWING_FIELD: &str = "withdrawing";
/// Fields of `sale:{P}` that say which life of the sale this is, and whether somebody vouched.
pub const SALE_LIFE_FIELDS: [&str; 2] = [SALE_VOUCH_FIELD, "epoch"];

/// Hash of the sale itself.
pub fn sale(product: ProductId) -> String {
    format!("sale:{{{product}}}")
}

/// Hash of buyers: user id to `id|quantity|seq`, and `|key` where an idempotency key was sent;
/// see [`crate::Holder`].
pub fn buyers(product: ProductId) -> String {
    format!("buyers:{{{product}}}")
}

/// Stream of micro-batches that wait for the broker's confirm.
pub fn outbox(product: ProductId) -> String {
    format!("outbox:{{{product}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_product_share_a_hash_tag() {
        let product = ProductId::new(7).unwrap();
        assert_eq!(sale(product), "sale:{7}");
        assert_eq!(buyers(product), "buyers:{7}");
        assert_eq!(outbox(product), "outbox:{7}");
    }
}
