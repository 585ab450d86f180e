//! What PostgreSQL knows of each sale, as far as Redis has to know it.

use deadpool_postgres::GenericClient;
use domain::{Epoch, ProductId};
use tokio_postgres::Row;

use crate::settle::SettleError;

const LIST_SALES: &str = include_str!("../../../sql/list_sales.sql");
const FIND_SALE: &str = include_str!("../../../sql/find_sale.sql");
const RAISE_EPOCH: &str = include_str!("../../../sql/raise_epoch.sql");
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
    /// `open`, `paused`, `closed`.
    pub state: String,
    /// Newest epoch handed out.
    pub epoch: Epoch,
    /// Number of the last effect.
    pub effect_seq: i64,
    /// Number of this value of the stock.
    pub version: i64,
    /// Milliseconds since the Unix epoch, 0 for unbounded.
    pub opens_at_ms: i64,
    /// Milliseconds since the Unix epoch, 0 for unbounded.
    pub closes_at_ms: i64,
}

impl Sale {
    fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            product: ProductId::new(row.get("id")).ok()?,
            stock: row.get("stock"),
            total: row.get("total"),
            limit: row.get("buyer_limit"),
            state: row.get("state"),
            epoch: Epoch(row.get("epoch")),
            effect_seq: row.get("effect_seq"),
            version: row.get("version"),
            opens_at_ms: row.get("opens_at_ms"),
            closes_at_ms: row.get("closes_at_ms"),
        })
    }
}

/// Every sale, by product id.
///
/// # Errors
/// When the database does not answer.
pub async fn list_sales(client: &impl GenericClient) -> Result<Vec<Sale>, SettleError> {
    let statement = client.prepare_cached(LIST_SALES).await?;
    let rows = client.query(&statement, &[]).await?;
    Ok(rows.iter().filter_map(Sale::from_row).collect())
}

/// One sale.
///
/// # Errors
/// When the database does not answer, or the product is gone.
pub async fn find_sale(
    client: &impl GenericClient,
    product: ProductId,
) -> Result<Sale, SettleError> {
    let statement = client.prepare_cached(FIND_SALE).await?;
    let row = client.query_opt(&statement, &[&product.get()]).await?;
    row.as_ref().and_then(Sale::from_row).ok_or_else(|| SettleError::UnknownProducts(vec![product]))
}

/// Hands out the next epoch.
///
/// # Errors
/// When the database does not answer, or the product is gone.
pub async fn raise_epoch(
    client: &impl GenericClient,
    product: ProductId,
) -> Result<Epoch, SettleError> {
    let statement = client.prepare_cached(RAISE_EPOCH).await?;
    let row = client.query_opt(&statement, &[&product.get()]).await?;
    row.map(|row| Epoch(row.get("epoch")))
        .ok_or_else(|| SettleError::UnknownProducts(vec![product]))
}

/// Units that belong to orders.
///
/// # Errors
/// When the database does not answer.
pub async fn sum_held(client: &impl GenericClient, product: ProductId) -> Result<i64, SettleError> {
    let statement = client.prepare_cached(SUM_HELD).await?;
    Ok(client.query_one(&statement, &[&product.get()]).await?.get("units"))
}
