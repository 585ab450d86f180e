//! Follows the feed of Redis: Pub/Sub for speed, a look every second for certainty.
//!
//! Owns the one Pub/Sub connection. Frames may be lost with it; after each subscribe, and once a
//! second, the newest values are read, so a lost frame is made up for within a second.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::contract::feed::FeedFrame;
use domain::contract::keys;
use futures_util::StreamExt;
use redis::aio::PubSub;
use service::backoff::Backoff;
use service::readiness::Part;
use service::redis_pool::{RedisCalls, RedisPool};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::watchers::Watchers;
use crate::metrics::Metrics;
use crate::read::Catalogue;
use crate::reserve::{RedisClock, Reserver};

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

/// Follows the feed and keeps the board.
#[derive(Debug)]
pub struct Subscriber {
    /// Where to subscribe.
    pub redis_url: String,
    /// Where to look.
    pub redis: RedisPool,
    /// What to look at.
    pub catalogue: Catalogue,
    /// Redis time.
    pub clock: Arc<RedisClock>,
    /// Who waits for orders.
    pub watchers: Watchers,
    /// Who must hear of units that return.
    pub reserver: Reserver,
    /// Set while Redis answers.
    pub ready: Part,
    /// How many clients there are.
    pub metrics: Metrics,
}

impl Subscriber {
    /// Follows until `stop`.
    pub async fn run(self, mut board: Board, stop: CancellationToken) {
        let mut backoff = Backoff::for_connection();
        loop {
            let followed = tokio::select! {
                followed = self.follow(&mut board, &mut backoff) => followed,
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
        self.clock.at(Instant::now()).unwrap_or_else(system_ms)
    }

    async fn follow(
        &self,
        board: &mut Board,
        backoff: &mut Backoff,
    ) -> Result<(), redis::RedisError> {
        let mut pubsub = self.subscribe().await?;
        self.look(board).await;
        backoff.reset();
        let mut messages = pubsub.on_message();
        let mut published = tokio::time::Instant::now();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = published + self.publish_every();
            tokio::select! {
                message = messages.next() => {
                    // The stream ends with its connection.
                    let Some(message) = message else { return Ok(()) };
                    self.take(board, message.get_payload_bytes());
                }
                () = tokio::time::sleep_until(due), if board.is_dirty() => {
                    published = tokio::time::Instant::now();
                    board.publish(self.now_ms());
                }
                () = tokio::time::sleep(self.until_turn(board)), if board.turn_ms().is_some() => {
                    board.publish(self.now_ms());
                }
                _ = look.tick() => self.look(board).await,
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

    async fn subscribe(&self) -> Result<PubSub, redis::RedisError> {
        let subscribe = async {
            let client = redis::Client::open(self.redis_url.as_str())?;
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(keys::FEED_CHANNEL).await?;
            Ok(pubsub)
        };
        tokio::time::timeout(SUBSCRIBE_MAX, subscribe).await.unwrap_or_else(|_| {
            Err(redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))
        })
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
        self.watchers.tell(&settled);
    }

    /// Reads the newest values of every product, and publishes what windows changed.
    async fn look(&self, board: &mut Board) {
        let products: Vec<_> = match self.catalogue.load() {
            Some(products) => products.keys().copied().collect(),
            None => Vec::new(),
        };
        let mut time = redis::pipe();
        time.cmd("TIME");
        let mut answered = match self.redis.query_pipeline(&time).await {
            Ok(replies) => self.learn_time(replies),
            Err(_) => false,
        };
        for chunk in products.chunks(SALES_PER_PIPELINE) {
            let mut pipeline = redis::pipe();
            for product in chunk {
                pipeline.cmd("HMGET").arg(keys::sale(*product)).arg(&keys::SALE_FEED_FIELDS);
            }
            let Ok(replies) = self.redis.query_pipeline(&pipeline).await else {
                answered = false;
                break;
            };
            for (product, reply) in chunk.iter().zip(replies) {
                let fields: Vec<Option<String>> =
                    redis::from_redis_value(reply).unwrap_or_default();
                if let Some(frame) = FeedFrame::from_fields(*product, &fields) {
                    board.take(frame, self.now_ms());
                }
            }
        }
        self.ready.set(answered);
        board.publish(self.now_ms());
    }

    fn learn_time(&self, replies: Vec<redis::Value>) -> bool {
        let received = Instant::now();
        let Some(Ok((seconds, micros))) =
            replies.into_iter().next().map(redis::from_redis_value::<(i64, i64)>)
        else {
            return false;
        };
        self.clock.learn(seconds * 1000 + micros / 1000, received);
        true
    }
}

/// The shortest time between two frames of a product for so many clients.
fn publish_every(clients: u32) -> Duration {
    let shared = Duration::from_secs(1) * clients / CLIENTS_A_SECOND;
    shared.clamp(PUBLISH_EVERY, PUBLISH_EVERY_MAX)
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
