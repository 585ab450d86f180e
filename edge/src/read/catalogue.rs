//! The products on sale, kept in memory and refreshed every second.
//!
//! Invariant: a list that was loaded once is never forgotten; a database that is away leaves the
//! last one standing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use books::records::{self, SaleRecord};
use deadpool_postgres::Pool;
use domain::ProductId;
use service::backoff::{Backoff, jitter};
use service::postgres::explain;
use service::readiness::Part;
use tokio_util::sync::CancellationToken;

/// How often the list is read.
const REFRESH: Duration = Duration::from_secs(1);

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Arc<ArcSwapOption<BTreeMap<ProductId, SaleRecord>>>);

impl Catalogue {
    /// Every product by id; `None` before the list was first loaded.
    pub fn load(&self) -> Option<Arc<BTreeMap<ProductId, SaleRecord>>> {
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

async fn list_products(pool: &Pool) -> Result<BTreeMap<ProductId, SaleRecord>, String> {
    let client = pool.get().await.map_err(|error| explain(&error))?;
    let sales = records::list(&client, None).await.map_err(|error| explain(&error))?;
    Ok(sales.into_iter().map(|sale| (sale.product, sale)).collect())
}
