//! Expiry: held orders whose time is over are given up, and their units are sold again.
//!
//! Owns when to look; `books::holds` owns what is done. One settler looks, the one that leads; two
//! at once do no harm, as an order expires only while it still is held and its product is locked.
//! Invariant: a transaction expires at most `BATCH_MAX` orders, found through an index.

use std::time::Duration;

use books::holds::expire;
use books::holds::statements::list_due;
use books::report::Report;
use deadpool_postgres::Pool;
use service::postgres::DatabaseError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gatekeeper::Leading;
use crate::metrics::Metrics;
use crate::report::Reporter;

/// How often is looked: an index probe, and the longest an order outlives its time.
const PERIOD: Duration = Duration::from_millis(100);
/// Orders one transaction expires: it holds its products as long as a batch that is settled.
const BATCH_MAX: i64 = 500;
/// Nobody may wait behind a failing worker for longer than this between two tries.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Expires orders.
pub struct Expiry {
    /// PostgreSQL, with the time limits of settling.
    pub pool: Pool,
    /// Where what changed is handed over.
    pub reporter: Reporter,
    /// What is counted.
    pub metrics: Metrics,
}

impl Expiry {
    /// Looks and expires while this settler leads, until `stop`.
    pub async fn run(self, leading: watch::Receiver<Leading>, stop: CancellationToken) {
        let mut trouble = false;
        let mut pause = PERIOD;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = PERIOD;
            if !leading.borrow().leads {
                continue;
            }
            match expire_due(&self.pool, BATCH_MAX).await {
                Ok(batch) => {
                    trouble = false;
                    // A full batch: there are most likely more.
                    if batch.found == BATCH_MAX {
                        pause = Duration::ZERO;
                    }
                    self.hand_over(batch);
                }
                Err(error) => {
                    if !std::mem::replace(&mut trouble, true) {
                        tracing::warn!(%error, "held orders cannot expire; trying again");
                    }
                    pause = FAILED_PAUSE;
                }
            }
        }
    }

    fn hand_over(&self, batch: Expired) {
        let orders: usize = batch.reports.iter().map(|report| report.settled.len()).sum();
        if orders > 0 {
            self.metrics.count_expired(orders);
            tracing::debug!(orders, "held orders expired");
        }
        for report in batch.reports {
            self.reporter.hand_over(report);
        }
    }
}

/// What one batch did.
#[derive(Debug, Default)]
pub struct Expired {
    /// Orders whose time was over when it looked.
    pub found: i64,
    /// One for each product that changed.
    pub reports: Vec<Report>,
}

/// Expires at most so many orders whose time is over, oldest first, in one transaction.
///
/// # Errors
/// When the database does not answer. The batch may be committed: those orders are found no more.
pub async fn expire_due(pool: &Pool, orders_max: i64) -> Result<Expired, DatabaseError> {
    let mut client = pool.get().await?;
    let due = list_due(&client, orders_max).await?;
    if due.is_empty() {
        return Ok(Expired::default());
    }
    let transaction = client.transaction().await?;
    let reports = expire(&transaction, &due).await?;
    service::kill_point::pass("expiry.recorded");
    transaction.commit().await?;
    service::kill_point::pass("expiry.committed");
    Ok(Expired { found: i64::try_from(due.len()).unwrap_or(i64::MAX), reports })
}
