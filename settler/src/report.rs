//! Hands what was settled or expired over to Redis, so that settling never waits for it.
//!
//! Owns the queue of reports; leaves the telling to `books::effects`. Invariant: a report may be
//! dropped, as the leader's comparison makes up for it.

use std::sync::Arc;

use books::effects::{Effects, EffectsError};
use books::report::Report;
use deadpool_postgres::Pool;
use service::postgres::DatabaseError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Reports waiting for Redis. When full, one is dropped: the leader's comparison makes up for it.
const REPORTS_WAITING_MAX: usize = 256;

/// Where settled batches are handed over.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<Report>);

impl Reporter {
    /// Hands a report over; when Redis is behind, it is dropped and made up for by the leader.
    pub fn hand_over(&self, report: Report) {
        if let Err(error) = self.0.try_send(report) {
            tracing::debug!(%error, "report dropped: redis is behind");
        }
    }
}

/// A reporter and the task that empties it until `stop`, then what waits.
pub fn reporter(
    effects: Arc<Effects>,
    pool: Pool,
    stop: CancellationToken,
) -> (Reporter, impl Future<Output = ()>) {
    let (sender, mut reports) = mpsc::channel::<Report>(REPORTS_WAITING_MAX);
    let task = async move {
        loop {
            let report = tokio::select! {
                biased;
                report = reports.recv() => report,
                () = stop.cancelled(), if reports.is_empty() => None,
            };
            let Some(report) = report else { return };
            let told = match pool.get().await {
                Ok(client) => report.tell(&effects, &client).await,
                Err(error) => Err(DatabaseError::from(error).into()),
            };
            match told {
                Ok(()) | Err(EffectsError::Closed) => {}
                Err(error) => tracing::warn!(%error, "redis was not told; the leader will"),
            }
        }
    };
    (Reporter(sender), task)
}
