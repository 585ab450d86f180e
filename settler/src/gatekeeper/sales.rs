//! What vouching for a sale asks of PostgreSQL.

use deadpool_postgres::GenericClient;
use domain::{
    AdjustmentId, Epoch, Holder, IdempotencyKey, ProductId, Quantity, ReservationId, Seq, UserId,
};
use futures_util::{Stream, TryStreamExt, stream};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use books::effects::EffectsLog;
use books::records::{self, SaleRecord};
use service::postgres::DatabaseError;

const LIST_HOLDERS_AFTER: &str = include_str!("../../../sql/list_holders_after.sql");
const SUM_HELD: &str = include_str!("../../../sql/sum_held.sql");

/// What vouching asks of PostgreSQL in one snapshot. Every method fails when the database does not
/// answer, or the product is gone.
pub trait SaleBooks: EffectsLog {
    /// One sale.
    fn find_sale(
        &self,
        product: ProductId,
    ) -> impl Future<Output = Result<SaleRecord, DatabaseError>> + Send;

    /// Units that belong to orders.
    fn sum_held(
        &self,
        product: ProductId,
    ) -> impl Future<Output = Result<i64, DatabaseError>> + Send;

    /// Whether an adjustment is not decided yet.
    fn is_pending(
        &self,
        adjustment: AdjustmentId,
    ) -> impl Future<Output = Result<bool, DatabaseError>> + Send;

    /// Everybody who holds units and arrived after this, in no order.
    fn holders_after(
        &self,
        product: ProductId,
        epoch: Epoch,
        seq: Seq,
    ) -> impl Stream<Item = Result<(UserId, Holder), DatabaseError>> + Send;
}

impl<C: GenericClient> SaleBooks for C {
    async fn find_sale(&self, product: ProductId) -> Result<SaleRecord, DatabaseError> {
        let found = records::list(self, Some(product)).await?.into_iter().next();
        found.ok_or_else(|| gone(product))
    }

    async fn sum_held(&self, product: ProductId) -> Result<i64, DatabaseError> {
        let statement = self.prepare_cached(SUM_HELD).await?;
        Ok(self.query_one(&statement, &[&product.get()]).await?.get("units"))
    }

    async fn is_pending(&self, adjustment: AdjustmentId) -> Result<bool, DatabaseError> {
        books::adjustments::is_pending(self, adjustment).await
    }

    fn holders_after(
        &self,
        product: ProductId,
        epoch: Epoch,
        seq: Seq,
    ) -> impl Stream<Item = Result<(UserId, Holder), DatabaseError>> + Send {
        let rows = async move {
            let statement = self.prepare_cached(LIST_HOLDERS_AFTER).await?;
            let params: [&(dyn ToSql + Sync); 3] = [&product.get(), &epoch.0, &seq.0];
            Ok::<_, DatabaseError>(self.query_raw(&statement, params).await?)
        };
        // Streamed, as a sale may have millions.
        stream::once(rows)
            .map_ok(|rows| rows.map_err(DatabaseError::from))
            .try_flatten()
            .and_then(|row| std::future::ready(holder_of(&row)))
    }
}

fn holder_of(row: &Row) -> Result<(UserId, Holder), DatabaseError> {
    let read = || {
        let quantity = Quantity::new(row.get("quantity")).ok()?;
        let (id, seq) = (ReservationId(row.get("id")), Seq(row.get("seq")));
        let key = row.get::<_, Option<_>>("idempotency_key").map(IdempotencyKey::from_stored);
        let holder = Holder { id, quantity, seq, key };
        Some((UserId::new(row.get("user_id")).ok()?, holder))
    };
    read().ok_or_else(|| DatabaseError::transient("an order has a user or quantity below 1"))
}

/// The error of a product that was deleted meanwhile.
pub(super) fn gone(product: ProductId) -> DatabaseError {
    DatabaseError::transient(format!("there is no product {product}"))
}
