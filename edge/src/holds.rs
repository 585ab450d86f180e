//! Paying and cancelling: PostgreSQL first, Redis for what is not settled yet.
//!
//! Owns the attempts and what is unknown after them; leaves deciding to `books::holds`.
//! Invariant: an error says whether anything may have been recorded, and asking again is safe.

use std::sync::Arc;
use std::time::Duration;

use books::effects::Effects;
use books::holds::{self, Refusal, Reservation, Resolution, Resolved};
use books::report::Report;
use deadpool_postgres::{Client, Pool};
use domain::{ProductId, ReservationId, UserId};
use service::postgres::DatabaseError;
use service::redis_pool::RedisPool;

use crate::metrics::Metrics;
use crate::read::{OrderReader, StoredOrder};

/// How long the caller waits for Redis to be told; the leading settler makes up for the rest.
const TELL_MAX: Duration = Duration::from_millis(500);

/// Where an order stands after somebody asked to resolve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is what was asked.
    Done(StoredOrder),
    /// It stays as it is.
    Refused(Refusal),
    /// It is not settled yet.
    Queued,
    /// Nobody knows it.
    Unknown,
}

/// Why nobody can say where the order stands.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Nothing was recorded.
    #[error("nothing was recorded: {0}")]
    Unavailable(String),
    /// It may be recorded: an answer was lost.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
}

/// Resolves orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Holds {
    pool: Pool,
    effects: Arc<Effects>,
    orders: OrderReader,
    metrics: Metrics,
}

/// One attempt.
enum Attempt {
    /// An order PostgreSQL may know.
    Settled(ReservationId),
    /// One that Redis knows, to be cancelled.
    Queued(Reservation),
}

impl Holds {
    /// Writes through `pool`, and tells `redis`.
    pub fn new(pool: Pool, redis: RedisPool, orders: OrderReader, metrics: Metrics) -> Self {
        Self { pool, effects: Arc::new(Effects::new(redis)), orders, metrics }
    }

    /// Pays or cancels an order. `locator` finds it while PostgreSQL does not know it.
    ///
    /// # Errors
    /// See [`HoldError`]. The same again is safe.
    pub async fn resolve(
        &self,
        id: ReservationId,
        asked: Resolution,
        locator: Option<(ProductId, UserId)>,
    ) -> Result<Outcome, HoldError> {
        let mut resolved = self.attempt(asked, &Attempt::Settled(id)).await?;
        if let (Resolved::Unknown, Some((product, user))) = (&resolved, locator) {
            let found = self.orders.find_reservation(id, product, user).await;
            let found = found.map_err(|error| HoldError::Unavailable(error.to_string()))?;
            resolved = match (found, asked) {
                (Some(_), Resolution::Pay) => return Ok(Outcome::Queued),
                (Some(found), Resolution::Cancel) => {
                    self.attempt(asked, &Attempt::Queued(found)).await?
                }
                // It leaves Redis only after it has an outcome, which may have come in between.
                (None, _) => self.attempt(asked, &Attempt::Settled(id)).await?,
            };
        }
        match resolved {
            Resolved::Now(_) | Resolved::Before => self.read(id).await,
            Resolved::Refused(refusal) => Ok(Outcome::Refused(refusal)),
            Resolved::Unknown => Ok(Outcome::Unknown),
        }
    }

    /// The order as it is now.
    async fn read(&self, id: ReservationId) -> Result<Outcome, HoldError> {
        match self.orders.find_settled(id).await {
            Ok(order) => Ok(order.map_or(Outcome::Unknown, Outcome::Done)),
            Err(error) => Err(HoldError::OutcomeUnknown(error.to_string())),
        }
    }

    /// Tries, and once more when the database did not answer, as by a connection that broke while
    /// it was idle. What the first left unknown stays so unless the second knows.
    async fn attempt(&self, asked: Resolution, attempt: &Attempt) -> Result<Resolved, HoldError> {
        let first = match self.attempt_once(asked, attempt).await {
            Ok(resolved) => return Ok(resolved),
            Err(error) => error,
        };
        match (self.attempt_once(asked, attempt).await, first) {
            (Err(HoldError::Unavailable(why)), HoldError::OutcomeUnknown(_)) => {
                Err(HoldError::OutcomeUnknown(why))
            }
            (second, _) => second,
        }
    }

    async fn attempt_once(
        &self,
        asked: Resolution,
        attempt: &Attempt,
    ) -> Result<Resolved, HoldError> {
        let nothing = |error: DatabaseError| HoldError::Unavailable(error.to_string());
        let mut client = self.pool.get().await.map_err(|error| nothing(error.into()))?;
        let resolved = match (asked, attempt) {
            // A statement that is its own transaction: whatever goes wrong may have been recorded.
            (Resolution::Pay, Attempt::Settled(id)) => holds::pay(&client, *id)
                .await
                .map_err(|error| HoldError::OutcomeUnknown(error.to_string()))?,
            (_, attempt) => cancel(&mut client, attempt).await?,
        };
        if let Resolved::Now(report) = &resolved {
            self.count(asked);
            self.tell(&client, report).await;
        }
        Ok(resolved)
    }

    fn count(&self, asked: Resolution) {
        match asked {
            Resolution::Pay => self.metrics.orders_paid.inc(),
            Resolution::Cancel => self.metrics.orders_cancelled.inc(),
        };
    }

    /// Tells Redis before the buyer is answered, who may want to buy again at once.
    async fn tell(&self, client: &Client, report: &Report) {
        match tokio::time::timeout(TELL_MAX, report.tell(&self.effects, client)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "redis was not told; the leader will"),
            Err(_) => tracing::debug!("redis did not answer in time; the leader will tell it"),
        }
    }
}

/// Cancels in one transaction.
async fn cancel(client: &mut Client, attempt: &Attempt) -> Result<Resolved, HoldError> {
    let course = async {
        let transaction = client.transaction().await?;
        let resolved = match attempt {
            Attempt::Settled(id) => holds::cancel(&transaction, *id).await?,
            Attempt::Queued(reservation) => holds::cancel_queued(&transaction, reservation).await?,
        };
        Ok::<_, DatabaseError>((transaction, resolved))
    };
    let (transaction, resolved) =
        course.await.map_err(|error| HoldError::Unavailable(error.to_string()))?;
    service::kill_point::pass("edge.cancelling");
    let unknown = |error: tokio_postgres::Error| {
        HoldError::OutcomeUnknown(service::postgres::explain(&error))
    };
    match resolved {
        Resolved::Now(_) => transaction.commit().await.map_err(unknown)?,
        // Nothing was changed.
        Resolved::Before | Resolved::Refused(_) | Resolved::Unknown => drop(transaction),
    }
    service::kill_point::pass("edge.cancelled");
    Ok(resolved)
}
