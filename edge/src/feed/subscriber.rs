//! Follows the feed of Redis: Pub/Sub for speed, a look every second for certainty.
//!
//! Owns the one Pub/Sub connection, over which contributions to the stats come, too; every node of
//! a Redis Cluster is told what any publishes, and when the one followed is lost another has its
//! turn. Frames may be lost with it; after each subscribe, and once a second, the newest values are
//! read, so a lost frame is made up for within a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ProductId;
use domain::contract::feed::FeedFrame;
use domain::contract::keys;
use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::aio::{PubSub, PubSubSink};
use service::backoff::{Backoff, jitter};
use service::readiness::Part;
use service::redis_pool::{RedisCalls, RedisPool, group_by_node};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::watchers::Watchers;
use crate::metrics::Metrics;
use crate::read::Catalogue;
use crate::reserve::{RedisClock, Reserver};
use crate::stats::Stats;

/// At most 20 frames a second and product reach the clients,
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// and fewer the more there are: what an edge writes in a second stays about the same, and buyers
/// get their turn.
const CLIENTS_A_SECOND: u32 = 10_000;
/// However many there are, stock stands still no longer than this.
const PUBLISH_EVERY_MAX: Duration = Duration::from_secs(1);
/// How often the newest values are read, and windows are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sales read in one pipeline.
const SALES_PER_PIPELINE: usize = 256;
/// How long subscribing may take.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(3);
/// How long a node of a cluster may take to prove that it still is there.
const PING_MAX: Duration = Duration::from_secs(1);

/// Follows the feed and keeps the board.
#[derive(Debug)]
pub struct Subscriber {
    /// Where to subscribe and to look.
    pub redis: RedisPool,
    /// What to look at.
    pub catalogue: Catalogue,
    /// Redis time.
    pub clock: Arc<RedisClock>,
    /// Who waits for orders.
    pub watchers: Watchers,
    /// Who must hear of units that return.
    pub reserver: Reserver,
    /// Who keeps contributions.
    pub stats: Stats,
    /// Set while Redis answers: in a cluster, while any node does.
    pub ready: Part,
    /// How many clients there are.
    pub metrics: Metrics,
}

impl Subscriber {
    /// Follows until `stop`.
    pub async fn run(self, mut board: Board, stop: CancellationToken) {
        let mut backoff = Backoff::for_connection();
        for turn in 0_usize.. {
            let followed = tokio::select! {
                followed = self.follow(turn, &mut board, &mut backoff) => followed,
                () = stop.cancelled() => return,
            };
            if let Err(error) = followed {
                if backoff.failures() == 0 {
                    tracing::warn!(%error, "the feed is away; trying again");
                }
                self.ready.set(false);
            }
            tokio::select! {
                () = backoff.wait() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Redis time, or this machine's before Redis was ever heard of.
    fn now_ms(&self) -> i64 {
        self.clock.now_ms(Instant::now())
    }

    async fn follow(
        &self,
        turn: usize,
        board: &mut Board,
        backoff: &mut Backoff,
    ) -> Result<(), redis::RedisError> {
        let (mut sink, mut messages) = self.subscribe(turn).await?.split();
        self.look(board).await;
        backoff.reset();
        let mut published = tokio::time::Instant::now();
        // Edges that start together must not write to all their clients together ever after.
        let first = published + LOOK_EVERY.mul_f64(jitter());
        let mut look = tokio::time::interval_at(first, LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = published + self.publish_every();
            tokio::select! {
                message = messages.next() => {
                    // The stream ends with its connection.
                    let Some(message) = message else { return Ok(()) };
                    let payload = message.get_payload_bytes();
                    match message.get_channel_name() {
                        keys::STATS_CHANNEL => self.stats.take(payload, Instant::now()),
                        _ => self.take(board, payload),
                    }
                }
                () = tokio::time::sleep_until(due), if board.is_dirty() => {
                    published = tokio::time::Instant::now();
                    board.publish(self.now_ms());
                }
                () = tokio::time::sleep(self.until_turn(board)), if board.turn_ms().is_some() => {
                    board.publish(self.now_ms());
                }
                _ = look.tick() => {
                    self.look(board).await;
                    published = tokio::time::Instant::now();
                    self.prove_alive(&mut sink).await?;
                }
            }
        }
    }

    /// How long until a window opens or closes; a clock that is corrected meanwhile is noticed by
    /// the next look.
    fn until_turn(&self, board: &Board) -> Duration {
        let ms = board.turn_ms().map_or(0, |at| at.saturating_sub(self.now_ms()).max(1));
        Duration::from_millis(u64::try_from(ms).unwrap_or(1)).min(LOOK_EVERY)
    }

    fn publish_every(&self) -> Duration {
        publish_every(u32::try_from(self.metrics.ws_clients.get()).unwrap_or(0))
    }

    async fn subscribe(&self, turn: usize) -> Result<PubSub, redis::RedisError> {
        let subscribe = async {
            let mut pubsub = self.redis.open_pubsub(turn).await?;
            pubsub.subscribe(&[keys::FEED_CHANNEL, keys::STATS_CHANNEL]).await?;
            Ok(pubsub)
        };
        within(SUBSCRIBE_MAX, subscribe).await
    }

    /// Fails when the node followed is silent and another one could be: a host that vanished ends
    /// no connection, while the looks go on with the other nodes.
    async fn prove_alive(&self, sink: &mut PubSubSink) -> Result<(), redis::RedisError> {
        if self.redis.is_cluster() { within(PING_MAX, sink.ping()).await } else { Ok(()) }
    }

    fn take(&self, board: &mut Board, payload: &[u8]) {
        let Some((frame, settled)) = FeedFrame::parse(payload) else {
            tracing::error!("a frame on the feed that no script of ours published");
            return;
        };
        self.reserver.note_frame(frame.product, frame.epoch, frame.available);
        let now_ms = self.now_ms();
        if board.take(frame, now_ms) {
            board.publish(now_ms);
        }
        self.watchers.tell(settled);
    }

    /// Reads the newest values of every product, and publishes what windows changed.
    async fn look(&self, board: &mut Board) {
        let products: Vec<_> = match self.catalogue.load() {
            Some(listing) => listing.products.keys().copied().collect(),
            None => Vec::new(),
        };
        let groups = group_by_node(&self.redis, products, |p| keys::sale(*p)).await;
        // All at once: a node that is away must not keep the frames of the others waiting.
        let reads = join_all(groups.iter().map(|(_, group)| self.read(group)));
        let (told_time, frames) = tokio::join!(self.learn_time(), reads);
        let answered = frames.iter().any(Option::is_some) || groups.is_empty() && told_time;
        for frame in frames.into_iter().flatten().flatten() {
            board.take(frame, self.now_ms());
        }
        self.ready.set(answered);
        board.publish(self.now_ms());
    }

    /// The newest values of products that one node holds, unless it does not answer.
    async fn read(&self, products: &[ProductId]) -> Option<Vec<FeedFrame>> {
        let mut frames = Vec::with_capacity(products.len());
        for chunk in products.chunks(SALES_PER_PIPELINE) {
            let mut pipeline = redis::pipe();
            for product in chunk {
                pipeline.cmd("HMGET").arg(keys::sale(*product)).arg(&keys::SALE_FEED_FIELDS);
            }
            let replies = self.redis.query_pipeline(&pipeline).await.ok()?;
            for (product, reply) in chunk.iter().zip(replies) {
                let fields: Vec<Option<String>> =
                    redis::from_redis_value(reply).unwrap_or_default();
                frames.extend(FeedFrame::from_fields(*product, &fields));
            }
        }
        Some(frames)
    }

    /// Any node's time will do for what people are shown.
    async fn learn_time(&self) -> bool {
        let time = redis::cmd("TIME");
        let Ok(reply) = self.redis.query_at(keys::FEED_CHANNEL, &time).await else { return false };
        let received = Instant::now();
        let Ok((seconds, micros)) = redis::from_redis_value::<(i64, i64)>(reply) else {
            return false;
        };
        self.clock.learn(seconds * 1000 + micros / 1000, received);
        true
    }
}

/// Waits so long for an answer.
async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, redis::RedisError>>,
) -> Result<T, redis::RedisError> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        Err(redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))
    })
}

/// The shortest time between two frames of a product for so many clients.
fn publish_every(clients: u32) -> Duration {
    let shared = Duration::from_secs(1) * clients / CLIENTS_A_SECOND;
    shared.clamp(PUBLISH_EVERY, PUBLISH_EVERY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_get_rarer_as_clients_grow() {
        assert_eq!(publish_every(0), PUBLISH_EVERY);
        assert_eq!(publish_every(500), PUBLISH_EVERY);
        assert_eq!(publish_every(3_000), Duration::from_millis(300));
        assert_eq!(publish_every(1_000_000), PUBLISH_EVERY_MAX);
    }
}
