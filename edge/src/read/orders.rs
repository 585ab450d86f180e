//! What became of an order: PostgreSQL first, then, with the locator of its `status_url`, Redis.
//!
//! Invariant: "unknown" is said only when every store that might know was asked and does not.

use books::holds::Reservation;
use deadpool_postgres::Pool;
use domain::contract::keys;
use domain::contract::order_message::QueuedOrder;
use domain::{Epoch, Holder, OrderStatus, ProductId, ReservationId, UserId};
use service::redis_pool::{RedisCalls, RedisPool};

const FIND_ORDER: &str = include_str!("../../../sql/find_order.sql");

/// An order as far as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// What was bought.
    pub product_id: i64,
    /// Who bought.
    pub user_id: i64,
    /// Units.
    pub quantity: i64,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Place in line.
    pub position: i64,
    /// When it was reserved, ms since the Unix epoch; `None` while queued.
    pub reserved_at_ms: Option<i64>,
    /// When it was settled, ms since the Unix epoch; `None` while queued.
    pub settled_at_ms: Option<i64>,
    /// Until when it may be paid, ms since the Unix epoch; `None` unless it was held.
    pub expires_at_ms: Option<i64>,
}

/// A store that might know is away.
#[derive(Debug, thiserror::Error)]
#[error("{store} is away: {problem}")]
pub struct ReadError {
    store: &'static str,
    problem: String,
}

fn away(store: &'static str) -> impl Fn(&dyn std::fmt::Display) -> ReadError {
    move |problem| ReadError { store, problem: problem.to_string() }
}

/// Reads orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OrderReader {
    pool: Pool,
    redis: RedisPool,
}

impl OrderReader {
    /// Reads from these two.
    pub fn new(pool: Pool, redis: RedisPool) -> Self {
        Self { pool, redis }
    }

    /// Finds an order; `None` when nobody knows it.
    ///
    /// # Errors
    /// When a store that might know is away.
    pub async fn find(
        &self,
        id: ReservationId,
        locator: Option<(ProductId, UserId)>,
    ) -> Result<Option<StoredOrder>, ReadError> {
        if let Some(order) = self.find_settled(id).await? {
            return Ok(Some(order));
        }
        let Some((product, user)) = locator else { return Ok(None) };
        match self.find_reservation(id, product, user).await? {
            Some(reservation) => Ok(Some(queued(&reservation))),
            // It leaves Redis only after it has an outcome, which may have come in between.
            None => self.find_settled(id).await,
        }
    }

    /// Finds an order PostgreSQL knows.
    ///
    /// # Errors
    /// When PostgreSQL is away.
    pub async fn find_settled(&self, id: ReservationId) -> Result<Option<StoredOrder>, ReadError> {
        let away = away("postgresql");
        let client = self.pool.get().await.map_err(|error| away(&error))?;
        let statement = client.prepare_cached(FIND_ORDER).await.map_err(|error| away(&error))?;
        let row = client.query_opt(&statement, &[&id.0]).await.map_err(|error| away(&error))?;
        Ok(row.and_then(|row| {
            Some(StoredOrder {
                product_id: row.get("product_id"),
                user_id: row.get("user_id"),
                quantity: row.get("quantity"),
                status: OrderStatus::parse(row.get("status"))?,
                reason: row.get("reason"),
                position: row.get("seq"),
                reserved_at_ms: row.get("reserved_at_ms"),
                settled_at_ms: row.get("settled_at_ms"),
                expires_at_ms: row.get("expires_at_ms"),
            })
        }))
    }

    /// Finds an order in Redis, settled or not; `None` when it does not stand there.
    ///
    /// # Errors
    /// When Redis is away, or the sale is being rebuilt there.
    pub async fn find_reservation(
        &self,
        id: ReservationId,
        product: ProductId,
        user: UserId,
    ) -> Result<Option<Reservation>, ReadError> {
        let away = away("redis");
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(keys::buyers(product)).arg(user.get());
        pipeline.cmd("HMGET").arg(keys::sale(product)).arg(&keys::SALE_LIFE_FIELDS);
        let replies = self.redis.query_pipeline(&pipeline).await.map_err(|error| away(&error))?;
        let (text, life): (Option<String>, Vec<Option<String>>) =
            redis::from_redis_value(redis::Value::Array(replies)).map_err(|error| away(&error))?;
        let [vouch, epoch] = life.as_slice() else { return Err(away(&"a reply of another shape")) };
        if text.is_none() && vouch.is_none() {
            return Err(away(&"the sale is being rebuilt"));
        }
        let holder = text.as_deref().and_then(Holder::parse).filter(|holder| holder.id == id);
        let Some(Holder { id, quantity, seq, key }) = holder else { return Ok(None) };
        let epoch = epoch.as_deref().and_then(|epoch| epoch.parse().ok());
        let epoch = Epoch(epoch.ok_or_else(|| away(&"the sale is being rebuilt"))?);
        let order = QueuedOrder { id, user, quantity, seq, key };
        Ok(Some(Reservation { product, epoch, order }))
    }
}

fn queued(reservation: &Reservation) -> StoredOrder {
    let Reservation { product, order, .. } = reservation;
    StoredOrder {
        product_id: product.get(),
        user_id: order.user.get(),
        quantity: order.quantity.units(),
        status: OrderStatus::Queued,
        reason: None,
        position: order.seq.0,
        reserved_at_ms: None,
        settled_at_ms: None,
        expires_at_ms: None,
    }
}
