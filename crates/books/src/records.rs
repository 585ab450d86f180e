//! A sale as PostgreSQL has it, and the statements that read and write it.
//!
//! Decides nothing. Invariant: whoever writes a record has locked it, in the same transaction.

use deadpool_postgres::GenericClient;
use domain::contract::admin::CreateProduct;
use domain::contract::admin_view::SaleView;
use domain::contract::rfc3339;
use domain::{Epoch, ProductId, SaleWindow, StoredState};
use service::postgres::DatabaseError;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::effects::StockVersion;
use crate::updates::SaleSettings;

const LIST_RECORDS: &str = include_str!("../../../sql/list_records.sql");
const LOCK_SALE: &str = include_str!("../../../sql/lock_sale.sql");
const INSERT_SALE: &str = include_str!("../../../sql/insert_sale.sql");
const WRITE_SALE: &str = include_str!("../../../sql/write_sale.sql");
const ADJUST_STOCK: &str = include_str!("../../../sql/adjust_stock.sql");
const RESET_STOCK: &str = include_str!("../../../sql/reset_stock.sql");

/// One sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleRecord {
    /// The product.
    pub product: ProductId,
    /// What people call it.
    pub name: String,
    /// Price in minor units.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units not owned by an order.
    pub stock: i64,
    /// Units in all.
    pub total: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// How long an unpaid order is held, s.
    pub hold_seconds: i32,
    /// What an operator set.
    pub state: StoredState,
    /// When it sells.
    pub window: SaleWindow,
    /// Number of this value of what Redis must know besides the stock.
    pub sale_version: i64,
    /// Newest epoch handed out.
    pub epoch: Epoch,
    /// A node that remembers an earlier epoch remembers the sale from before its reset.
    pub reset_epoch: Epoch,
    /// Number of the last effect.
    pub effect_seq: i64,
    /// Number of this value of the stock.
    pub version: i64,
}

impl SaleRecord {
    /// A sale that nothing happened to yet: open, without an end, one unit a buyer.
    pub fn new(product: ProductId, units: i64) -> Self {
        Self {
            product,
            name: String::new(),
            price_minor: 0,
            currency: "THB".to_owned(),
            stock: units,
            total: units,
            limit: 1,
            hold_seconds: 0,
            state: StoredState::Open,
            window: SaleWindow::default(),
            sale_version: 0,
            epoch: Epoch(0),
            reset_epoch: Epoch(0),
            effect_seq: 0,
            version: 0,
        }
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let read = || {
            let instant = |name: &str| Some(row.get::<_, i64>(name)).filter(|ms| *ms > 0);
            Some(Self {
                product: ProductId::new(row.get("id")).ok()?,
                name: row.get("name"),
                price_minor: row.get("price_minor"),
                currency: row.get("currency"),
                stock: row.get("stock"),
                total: row.get("total"),
                limit: row.get("buyer_limit"),
                hold_seconds: row.get("hold_seconds"),
                state: StoredState::parse(row.get("state"))?,
                window: SaleWindow {
                    opens_at_ms: instant("opens_at_ms"),
                    closes_at_ms: instant("closes_at_ms"),
                },
                sale_version: row.get("sale_version"),
                epoch: Epoch(row.get("epoch")),
                reset_epoch: Epoch(row.get("reset_epoch")),
                effect_seq: row.get("effect_seq"),
                version: row.get("version"),
            })
        };
        read().ok_or_else(|| DatabaseError::transient("a product has a state of a newer schema"))
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

    /// Its stock, as Redis is told.
    pub const fn stock_version(&self) -> StockVersion {
        StockVersion { product: self.product, version: self.version, stock: self.stock }
    }

    /// As an operator sees it; `applied`: Redis has this version.
    pub fn view(&self, applied: bool) -> SaleView {
        SaleView {
            product_id: self.product.get(),
            name: self.name.clone(),
            price_minor: self.price_minor,
            currency: self.currency.clone(),
            stock: self.stock,
            total: self.total,
            limit: self.limit,
            hold_seconds: self.hold_seconds,
            state: self.state.as_str(),
            opens_at: self.window.opens_at_ms.map(rfc3339::from_ms),
            closes_at: self.window.closes_at_ms.map(rfc3339::from_ms),
            sale_version: self.sale_version,
            applied,
        }
    }
}

/// One sale, or every one, by product id. One whose state a newer schema has is left out, so that
/// the others go on while programs are being replaced.
///
/// # Errors
/// When the database does not answer; so do those below.
pub async fn list(
    client: &impl GenericClient,
    product: Option<ProductId>,
) -> Result<Vec<SaleRecord>, DatabaseError> {
    let statement = client.prepare_cached(LIST_RECORDS).await?;
    let rows = client.query(&statement, &[&product.map(ProductId::get)]).await?;
    Ok(rows.iter().filter_map(|row| SaleRecord::from_row(row).ok()).collect())
}

/// Locks a sale until the transaction ends; `None` when there is no such product.
pub(crate) async fn lock(
    client: &impl GenericClient,
    product: ProductId,
) -> Result<Option<SaleRecord>, DatabaseError> {
    one(client, LOCK_SALE, &[&product.get()]).await
}

/// Creates a product; `None` when its number is taken.
pub(crate) async fn insert(
    client: &impl GenericClient,
    new: &CreateProduct,
) -> Result<Option<SaleRecord>, DatabaseError> {
    let params: [&(dyn ToSql + Sync); 9] = [
        &new.product.map(ProductId::get),
        &new.name,
        &new.price_minor,
        &new.currency,
        &new.stock,
        &new.limit,
        &new.hold_seconds,
        &new.opens_at_ms,
        &new.closes_at_ms,
    ];
    one(client, INSERT_SALE, &params).await
}

/// Writes what an operator may change of a sale that is locked.
pub(crate) async fn write(
    client: &impl GenericClient,
    sale: &SaleRecord,
) -> Result<Option<SaleRecord>, DatabaseError> {
    let params: [&(dyn ToSql + Sync); 8] = [
        &sale.product.get(),
        &sale.name,
        &sale.price_minor,
        &sale.limit,
        &sale.hold_seconds,
        &sale.state.as_str(),
        &sale.window.opens_at_ms,
        &sale.window.closes_at_ms,
    ];
    one(client, WRITE_SALE, &params).await
}

/// Changes the units of a sale that is locked; `None` when it does not hold or bear that many.
pub(crate) async fn adjust(
    client: &impl GenericClient,
    product: ProductId,
    delta: i64,
) -> Result<Option<SaleRecord>, DatabaseError> {
    one(client, ADJUST_STOCK, &[&product.get(), &delta]).await
}

/// Puts every unit of a sale that is locked back on sale.
pub(crate) async fn reset(
    client: &impl GenericClient,
    product: ProductId,
    state: StoredState,
) -> Result<Option<SaleRecord>, DatabaseError> {
    one(client, RESET_STOCK, &[&product.get(), &state.as_str()]).await
}

async fn one(
    client: &impl GenericClient,
    statement: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Option<SaleRecord>, DatabaseError> {
    let statement = client.prepare_cached(statement).await?;
    let row = client.query_opt(&statement, params).await?;
    row.as_ref().map(SaleRecord::from_row).transpose()
}
