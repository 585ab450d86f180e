//! The relay: publishes outbox entries that an edge left behind when it died.
//!
//! Owns nothing but old entries; an edge publishes its own and deletes them once confirmed. Copies
//! are harmless, the reservation id is the primary key in PostgreSQL.
//! Invariant: an entry is deleted only after the broker confirmed a message that carries it.

use std::time::Duration;

use domain::ProductId;
use domain::contract::order_message::{self, OrderBatch};
use domain::contract::{keys, outbox};
use redis::Value;
use redis::streams::StreamRangeReply;
use service::redis_pool::{RedisCallError, RedisCalls, RedisPool, group_by_node};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::consume::broker::{BrokerError, Publish, Publisher};
use crate::gatekeeper::Leading;
use crate::metrics::{Metrics, ProductLabel};
use service::redis_reply::RedisStepError;

/// How often old entries are looked for.
const PERIOD: Duration = Duration::from_millis(500);
/// Entries published in one message: far below what a settler takes, above what waits normally.
const ENTRIES_PER_MESSAGE: usize = 64;

/// Relays entries older than `age`.
pub struct Relay<R = RedisPool, P = Publisher> {
    /// Redis.
    pub redis: R,
    /// Where messages go; `None` until it is needed.
    pub publisher: P,
    /// Age from which on an entry is taken for abandoned.
    pub age: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// Why one round did not finish.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis did not answer as expected.
    #[error(transparent)]
    Redis(#[from] RedisStepError),
    /// The broker did not confirm.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl From<RedisCallError> for RelayError {
    fn from(error: RedisCallError) -> Self {
        Self::Redis(error.into())
    }
}

/// Old entries, as many as one message takes.
struct Page {
    /// Those that can be read.
    batches: Vec<OrderBatch>,
    /// Where the next page begins; `None` after the last.
    next: Option<String>,
}

impl<R: RedisCalls, P: Publish> Relay<R, P> {
    /// Looks and publishes while this settler leads, until `stop`.
    pub async fn run(mut self, leading: watch::Receiver<Leading>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut trouble = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let Leading { leads, products } = leading.borrow().clone();
            if !leads {
                self.metrics.forget_outbox();
                continue;
            }
            let round = tokio::select! {
                round = self.round(&products) => round,
                () = stop.cancelled() => return,
            };
            match round {
                Ok(()) => trouble = false,
                Err(error) if !trouble => {
                    tracing::warn!(%error, "relay cannot work");
                    trouble = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Publishes what is old enough, once.
    ///
    /// # Errors
    /// See [`RelayError`]; what was not confirmed stays in the outbox.
    pub async fn round(&mut self, products: &[ProductId]) -> Result<(), RelayError> {
        let nodes = group_by_node(&self.redis, products.to_vec(), |p| keys::sale(*p)).await;
        let mut outcome = Ok(());
        for (_, products) in &nodes {
            match self.round_of_node(products).await {
                Err(error @ RelayError::Broker(_)) => return Err(error),
                // A node that is away does not keep what another one holds.
                relayed => outcome = outcome.and(relayed),
            }
        }
        outcome
    }

    /// Publishes what is old enough by the clock of the one node that holds these products.
    async fn round_of_node(&mut self, products: &[ProductId]) -> Result<(), RelayError> {
        let Some(first) = products.first() else { return Ok(()) };
        let now_ms = redis_time_ms(&self.redis, *first).await?;
        let age_ms = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let newest_ms = now_ms.saturating_sub(age_ms);
        for product in products {
            self.measure(*product, now_ms).await?;
            let mut from = "-".to_owned();
            loop {
                let page = self.read_old(*product, &from, newest_ms).await?;
                if !page.batches.is_empty() {
                    self.publish(*product, &page.batches).await?;
                }
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Exports how many entries wait and how old the first is.
    async fn measure(&self, product: ProductId, now_ms: u64) -> Result<(), RelayError> {
        let key = keys::outbox(product);
        let mut pipeline = redis::pipe();
        pipeline.cmd("XLEN").arg(&key);
        pipeline.cmd("XRANGE").arg(&key).arg("-").arg("+").arg("COUNT").arg(1);
        let replies: [Value; 2] = self
            .redis
            .query_pipeline(&pipeline)
            .await?
            .try_into()
            .map_err(|_| RedisStepError::Shape("two commands, not two replies".into()))?;
        let [depth, first] = replies;
        let label = ProductLabel { product: product.get() };
        let depth = service::redis_reply::integer(&depth)?;
        self.metrics.outbox_depth.get_or_create(&label).set(depth);
        let oldest_ms = read_entries(first)?.ids.first().and_then(|entry| entry_ms(&entry.id));
        let age_ms = oldest_ms.map_or(0, |ms| now_ms.saturating_sub(ms));
        self.metrics.outbox_oldest_seconds.get_or_create(&label).set(age_ms as f64 / 1000.0);
        Ok(())
    }

    async fn read_old(
        &self,
        product: ProductId,
        from: &str,
        newest_ms: u64,
    ) -> Result<Page, RelayError> {
        let mut range = redis::cmd("XRANGE");
        range.arg(keys::outbox(product)).arg(from).arg(newest_ms);
        range.arg("COUNT").arg(ENTRIES_PER_MESSAGE);
        let entries = read_entries(self.redis.query(&range).await?)?;
        let batches = entries.ids.iter().filter_map(|entry| {
            let fields: Vec<(&str, String)> = entry
                .map
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.as_str(), redis::from_redis_value_ref::<String>(value).ok()?))
                })
                .collect();
            let texts = fields.iter().map(|(name, value)| (*name, value.as_str()));
            let batch = outbox::parse_entry(product, &entry.id, texts);
            if batch.is_none() {
                tracing::error!(entry.id, "an outbox entry that no script of ours wrote");
            }
            batch
        });
        let batches = batches.collect();
        let full = entries.ids.len() == ENTRIES_PER_MESSAGE;
        let last = entries.ids.last().filter(|_| full);
        Ok(Page { batches, next: last.map(|entry| format!("({}", entry.id)) })
    }

    async fn publish(
        &mut self,
        product: ProductId,
        entries: &[OrderBatch],
    ) -> Result<(), RelayError> {
        self.publisher.publish_confirmed(&order_message::encode(entries)).await?;
        service::kill_point::pass("relay.confirmed");
        let mut delete = redis::cmd("XDEL");
        delete.arg(keys::outbox(product));
        for entry in entries {
            delete.arg(&entry.outbox_id);
        }
        self.redis.query(&delete).await?;
        tracing::info!(
            product.id = product.get(),
            entries = entries.len(),
            "relayed what an edge left behind"
        );
        Ok(())
    }
}

async fn redis_time_ms(redis: &impl RedisCalls, product: ProductId) -> Result<u64, RelayError> {
    let reply = redis.query_at(&keys::outbox(product), &redis::cmd("TIME")).await?;
    let (seconds, micros): (u64, u64) =
        redis::from_redis_value(reply).map_err(|e| RedisStepError::Shape(e.to_string()))?;
    Ok(seconds * 1000 + micros / 1000)
}

fn read_entries(reply: Value) -> Result<StreamRangeReply, RelayError> {
    redis::from_redis_value(reply).map_err(|e| RedisStepError::Shape(e.to_string()).into())
}

/// The milliseconds of a stream entry id, `ms-seq`.
fn entry_ms(id: &str) -> Option<u64> {
    id.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_tells_its_time() {
        assert_eq!(entry_ms("1700000000000-3"), Some(1_700_000_000_000));
        assert_eq!(entry_ms("x"), None);
    }
}
