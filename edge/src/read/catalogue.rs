//! The products on sale, kept in memory and refreshed every second.
//!
//! Invariant: a list that was loaded once is never forgotten; a database that is away leaves the
//! last one standing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_postgres::Pool;
use domain::{ProductId, SaleWindow, StoredState};
use service::backoff::{Backoff, jitter};
use service::postgres::explain;
use service::readiness::Part;
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

const LIST_PRODUCTS: &str = include_str!("../../../sql/list_products.sql");

/// How often the list is read.
const REFRESH: Duration = Duration::from_secs(1);

/// One product as PostgreSQL has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The product.
    pub id: ProductId,
    /// What people call it.
    pub name: String,
    /// Price in minor units.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units the database held when the list was read.
    pub stock: i64,
    /// Units in all.
    pub total: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// How long an unpaid order is held, s.
    pub hold_seconds: i32,
    /// What the operator set.
    pub stored_state: StoredState,
    /// When it sells.
    pub window: SaleWindow,
}

impl Product {
    fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            id: ProductId::new(row.get("id")).ok()?,
            name: row.get("name"),
            price_minor: row.get("price_minor"),
            currency: row.get("currency"),
            stock: row.get("stock"),
            total: row.get("total"),
            limit: row.get("buyer_limit"),
            hold_seconds: row.get("hold_seconds"),
            stored_state: StoredState::parse(row.get("state"))?,
            window: SaleWindow {
                opens_at_ms: row.get("opens_at_ms"),
                closes_at_ms: row.get("closes_at_ms"),
            },
        })
    }
}

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Arc<ArcSwapOption<BTreeMap<ProductId, Product>>>);

impl Catalogue {
    /// Every product by id; `None` before the list was first loaded.
    pub fn load(&self) -> Option<Arc<BTreeMap<ProductId, Product>>> {
        self.0.load_full()
    }

    /// Whether the product is listed; `None` before the list was first loaded.
    pub fn lists(&self, product: ProductId) -> Option<bool> {
        self.0.load().as_ref().map(|products| products.contains_key(&product))
    }

    /// Reads the list again and again until `stop`. `database` follows whether it can be read,
    /// `products` whether it ever was.
    pub async fn refresh(
        self,
        pool: Pool,
        database: Part,
        products: Part,
        stop: CancellationToken,
    ) {
        let mut backoff = Backoff::for_connection();
        let mut announced = false;
        loop {
            let pause = match list_products(&pool).await {
                Ok(list) => {
                    if !std::mem::replace(&mut announced, true) {
                        service::telemetry::announce_connected("Database");
                    }
                    self.0.store(Some(Arc::new(list)));
                    database.set(true);
                    products.set(true);
                    backoff.reset();
                    REFRESH
                }
                Err(error) => {
                    database.set(false);
                    if backoff.failures() == 0 {
                        tracing::warn!(error, "the products cannot be read; trying again");
                    }
                    backoff.next_delay(jitter())
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

async fn list_products(pool: &Pool) -> Result<BTreeMap<ProductId, Product>, String> {
    let client = pool.get().await.map_err(|error| explain(&error))?;
    let statement = client.prepare_cached(LIST_PRODUCTS).await.map_err(|error| explain(&error))?;
    let rows = client.query(&statement, &[]).await.map_err(|error| explain(&error))?;
    Ok(rows.iter().filter_map(Product::from_row).map(|product| (product.id, product)).collect())
}
