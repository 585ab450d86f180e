//! What PostgreSQL knows of each sale, as far as Redis has to know it.

use deadpool_postgres::GenericClient;
use domain::{
    AdjustmentId, Epoch, Holder, IdempotencyKey, ProductId, Quantity, ReservationId, SaleWindow,
    Seq, StoredState, UserId,
};
use futures_util::{Stream, TryStreamExt, stream};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use books::effects::EffectsLog;
use books::updates::SaleSettings;
use service::postgres::DatabaseError;

const LIST_SALES: &str = include_str!("../../../sql/list_sales.sql");
const FIND_SALE: &str = include_str!("../../../sql/find_sale.sql");
const LIST_HOLDERS_AFTER: &str = include_str!("../../../sql/list_holders_after.sql");
const SUM_HELD: &str = include_str!("../../../sql/sum_held.sql");

/// One sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The product.
    pub product: ProductId,
    /// Units not owned by an order.
    pub stock: i64,
    /// Units in all.
    pub total: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// What an operator set.
    pub state: StoredState,
    /// Newest epoch handed out.
    pub epoch: Epoch,
    /// Number of the last effect.
    pub effect_seq: i64,
    /// Number of this value of the stock.
    pub version: i64,
    /// Number of what an operator set.
    pub sale_version: i64,
    /// A node that remembers an earlier epoch remembers the sale from before its reset.
    pub reset_epoch: Epoch,
    /// When it sells.
    pub window: SaleWindow,
}

impl Sale {
    fn from_row(row: &Row) -> Option<Self> {
        let instant = |name: &str| Some(row.get::<_, i64>(name)).filter(|ms| *ms > 0);
        Some(Self {
            product: ProductId::new(row.get("id")).ok()?,
            stock: row.get("stock"),
            total: row.get("total"),
            limit: row.get("buyer_limit"),
            state: StoredState::parse(row.get("state"))?,
            epoch: Epoch(row.get("epoch")),
            effect_seq: row.get("effect_seq"),
            version: row.get("version"),
            sale_version: row.get("sale_version"),
            reset_epoch: Epoch(row.get("reset_epoch")),
            window: SaleWindow {
                opens_at_ms: instant("opens_at_ms"),
                closes_at_ms: instant("closes_at_ms"),
            },
        })
    }

    /// What Redis must know of it besides the stock.
    pub const fn settings(&self) -> SaleSettings {
        SaleSettings {
            product: self.product,
            sale_version: self.sale_version,
            total: self.total,
            limit: self.limit,
            state: self.state,
            window: self.window,
        }
    }
}

/// Every sale, by product id.
///
/// # Errors
/// When the database does not answer.
pub async fn list_sales(client: &impl GenericClient) -> Result<Vec<Sale>, DatabaseError> {
    let statement = client.prepare_cached(LIST_SALES).await?;
    let rows = client.query(&statement, &[]).await?;
    Ok(rows.iter().filter_map(Sale::from_row).collect())
}

/// What vouching asks of PostgreSQL in one snapshot. Every method fails when the database does not
/// answer, or the product is gone.
pub trait SaleBooks: EffectsLog {
    /// One sale.
    fn find_sale(
        &self,
        product: ProductId,
    ) -> impl Future<Output = Result<Sale, DatabaseError>> + Send;

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
    async fn find_sale(&self, product: ProductId) -> Result<Sale, DatabaseError> {
        let statement = self.prepare_cached(FIND_SALE).await?;
        let row = self.query_opt(&statement, &[&product.get()]).await?;
        row.as_ref().and_then(Sale::from_row).ok_or_else(|| gone(product))
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
