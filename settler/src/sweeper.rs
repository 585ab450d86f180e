//! The sweeper: republishes reservations that wait in no queue and no outbox, as after somebody
//! deleted the queue with its backlog.
//!
//! Owns finding and publishing them; the reconciler says when there are any. Copies are harmless,
//! the reservation id is the primary key in PostgreSQL.
//! Invariant: it takes nothing away, neither in Redis nor in PostgreSQL.

use deadpool_postgres::Pool;
use domain::contract::keys;
use domain::contract::order_message::{self, OrderBatch, QueuedOrder};
use domain::contract::outbox::parse_buyer;
use domain::{Epoch, ProductId};
use service::redis_pool::{RedisCalls, RedisPool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::consume::broker::{BrokerError, Publish, Publisher};
use crate::reconcile::Stranded;
use crate::settle::{Ledger, SettleError};
use service::redis_reply::RedisStepError;

/// Buyers one HSCAN returns, give or take; as many orders as a settler takes at once.
const BUYERS_PER_SCAN: usize = 500;

/// Republishes what is stranded.
pub struct Sweeper {
    /// PostgreSQL, which knows what is settled.
    pub pool: Pool,
    /// Redis, which knows what is reserved.
    pub redis: RedisPool,
    /// Where messages go.
    pub publisher: Publisher,
}

/// Why a sweep did not finish.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Redis did not answer as expected.
    #[error(transparent)]
    Redis(#[from] RedisStepError),
    /// PostgreSQL did not answer as expected.
    #[error(transparent)]
    Database(#[from] SettleError),
    /// The broker did not confirm.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Sweeper {
    /// Sweeps whenever the reconciler finds something stranded, until `stop`.
    pub async fn run(mut self, mut stranded: mpsc::Receiver<Stranded>, stop: CancellationToken) {
        loop {
            let found = tokio::select! {
                found = stranded.recv() => found,
                () = stop.cancelled() => return,
            };
            let Some(found) = found else { return };
            let swept = tokio::select! {
                swept = self.sweep_with_client(found) => swept,
                () = stop.cancelled() => return,
            };
            let product = found.product.get();
            match swept {
                Ok(orders) => tracing::warn!(
                    product.id = product,
                    orders,
                    "published reservations again that no queue held"
                ),
                Err(error) => tracing::warn!(product.id = product, %error, "sweeping failed"),
            }
        }
    }

    async fn sweep_with_client(&mut self, found: Stranded) -> Result<usize, SweepError> {
        let client = self.pool.get().await.map_err(SettleError::from)?;
        sweep(&client, &self.redis, &mut self.publisher, found).await
    }
}

/// Publishes those buyers in Redis of whom PostgreSQL has no order that holds units; how many.
///
/// # Errors
/// See [`SweepError`]; what was published stays published.
pub async fn sweep(
    ledger: &impl Ledger,
    redis: &impl RedisCalls,
    publisher: &mut impl Publish,
    found: Stranded,
) -> Result<usize, SweepError> {
    let mut cursor = 0;
    let mut published = 0;
    loop {
        let (next, mut buyers) = scan(redis, found.product, cursor).await?;
        let ids: Vec<_> = buyers.iter().map(|order| order.id.0).collect();
        let known = ledger.find_known(&ids).await?;
        // One that holds nothing is settled once more, which takes it out of Redis.
        let given_up = ledger.find_given_up(&ids).await?;
        buyers.retain(|order| !known.contains(&order.id) || given_up.contains(&order.id));
        if !buyers.is_empty() {
            published += buyers.len();
            let batch = batch(found.product, found.epoch, buyers);
            publisher.publish_confirmed(&order_message::encode([&batch])).await?;
        }
        if next == 0 {
            return Ok(published);
        }
        cursor = next;
    }
}

async fn scan(
    redis: &impl RedisCalls,
    product: ProductId,
    cursor: u64,
) -> Result<(u64, Vec<QueuedOrder>), RedisStepError> {
    let mut scan = redis::cmd("HSCAN");
    scan.arg(keys::buyers(product)).arg(cursor).arg("COUNT").arg(BUYERS_PER_SCAN);
    let reply = redis.query(&scan).await?;
    let (next, fields): (u64, Vec<(String, String)>) =
        redis::from_redis_value(reply).map_err(|e| RedisStepError::Shape(e.to_string()))?;
    let orders = fields.iter().filter_map(|(user, holder)| parse_buyer(user, holder));
    Ok((next, orders.collect()))
}

/// What Redis knows in this epoch, as a settler reads it. When it was reserved is what the ids say.
fn batch(product: ProductId, epoch: Epoch, mut orders: Vec<QueuedOrder>) -> OrderBatch {
    orders.sort_unstable_by_key(|order| order.seq);
    let reserved_at_ms = orders.iter().filter_map(|order| order.id.proposed_at_ms()).min();
    OrderBatch {
        outbox_id: String::new(),
        product,
        epoch,
        reserved_at_ms: reserved_at_ms.unwrap_or(0),
        orders,
    }
}

#[cfg(test)]
mod tests {
    use domain::Seq;

    use super::*;

    #[test]
    fn buyers_become_a_batch_of_the_present_epoch_in_order_of_arrival() {
        let field = |n: u32, seq: u32| format!("019ab3c4-0000-7000-8000-00000000000{n}|1|{seq}");
        let orders = [parse_buyer("12", &field(1, 9)), parse_buyer("11", &field(2, 3))];
        let orders: Vec<_> = orders.into_iter().flatten().collect();
        let batch = batch(ProductId::new(1).unwrap(), Epoch(4), orders);
        assert_eq!((batch.epoch, batch.orders[0].seq, batch.orders.len()), (Epoch(4), Seq(3), 2));
        assert_eq!(batch.reserved_at_ms, 0x019a_b3c4_0000);
        assert_eq!(parse_buyer("x", &field(1, 9)), None);
        assert_eq!(parse_buyer("12", "nonsense"), None);
    }
}
