//! Deletes outbox entries whose orders the broker confirmed.
//!
//! A task of its own, so that a confirm never waits for Redis. What it cannot delete the settler's
//! relay publishes once more and deletes; copies are harmless.

use std::collections::HashMap;

use domain::ProductId;
use domain::contract::keys;
use service::redis_pool::{RedisCalls, RedisPool};
use tokio::sync::mpsc;

/// Entries waiting for deletion; more are left to the relay.
const WAITING_MAX: usize = 8192;
/// Entries one round deletes.
const PER_ROUND: usize = 512;

/// Hands entries to the deleting task, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Cleaner(mpsc::Sender<(ProductId, String)>);

impl Cleaner {
    pub(super) fn new(redis: RedisPool) -> Self {
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        tokio::spawn(clean(redis, inbox));
        Self(sender)
    }

    pub(super) fn delete(&self, entries: Vec<(ProductId, String)>) {
        for entry in entries {
            // Full while Redis is away: the relay takes over.
            let _ = self.0.try_send(entry);
        }
    }
}

async fn clean(redis: RedisPool, mut inbox: mpsc::Receiver<(ProductId, String)>) {
    let mut entries = Vec::with_capacity(PER_ROUND);
    while inbox.recv_many(&mut entries, PER_ROUND).await > 0 {
        let mut ids: HashMap<ProductId, Vec<String>> = HashMap::new();
        for (product, id) in entries.drain(..) {
            ids.entry(product).or_default().push(id);
        }
        for (product, ids) in ids {
            let mut delete = redis::cmd("XDEL");
            delete.arg(keys::outbox(product)).arg(ids);
            if let Err(error) = redis.query(&delete).await {
                tracing::debug!(%error, "outbox entries are left to the relay");
            }
        }
    }
}
