//! A transaction whose BEGIN travels with its first statement.
//!
//! The driver's own waits for the answer to BEGIN first: a round trip more, in which the
//! database has nothing to do (perf/RESULTS.md).
//! Invariant: a connection goes back to the pool only when no transaction is open on it.

use deadpool_postgres::{Client, GenericClient};
use service::postgres::DatabaseError;

use super::SettleError;

/// A connection that is closed, which rolls back, unless the transaction ended.
pub(super) struct Transaction(Option<Client>);

impl Transaction {
    /// The transaction to come on this connection.
    pub(super) const fn on(client: Client) -> Self {
        Self(Some(client))
    }

    /// Where its statements go.
    pub(super) fn client(&self) -> &Client {
        self.0.as_ref().expect("only what ends it takes the connection")
    }

    /// Begins, and asks `first` in the same breath.
    pub(super) async fn begin_with<T>(
        &self,
        first: impl Future<Output = Result<T, SettleError>>,
    ) -> Result<T, SettleError> {
        // In this order: a statement that was sent earlier would be a transaction of its own.
        let (begun, first) = tokio::join!(biased; self.client().batch_execute("BEGIN"), first);
        begun?;
        first
    }

    /// Commits.
    pub(super) async fn commit(self) -> Result<(), DatabaseError> {
        self.client().batch_execute("COMMIT").await?;
        self.give_back();
        Ok(())
    }

    /// Takes everything back. A connection that cannot is closed.
    pub(super) async fn rollback(self) {
        if self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.give_back();
        }
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Client::take(client));
        }
    }
}
