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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the list is read.
const REFRESH: Duration = Duration::from_secs(1);

/// What is listed now.
#[derive(Debug, Default)]
pub struct Listing {
    /// Number of the newest change of what people are told besides stock and state.
    pub change: u64,
    /// Every product by id, with the number of its own newest change.
    pub products: BTreeMap<ProductId, (u64, SaleRecord)>,
}

impl Listing {
    /// Every product, by id.
    pub fn sales(&self) -> impl Iterator<Item = &SaleRecord> {
        self.products.values().map(|(_, sale)| sale)
    }

    /// Those that changed after the change of this number.
    pub fn since(&self, change: u64) -> impl Iterator<Item = &SaleRecord> {
        self.products.values().filter(move |(at, _)| *at > change).map(|(_, sale)| sale)
    }

    /// What is listed when PostgreSQL has these.
    fn next(&self, sales: Vec<SaleRecord>) -> Self {
        let change = self.change + 1;
        let number = |sale: &SaleRecord| match self.products.get(&sale.product) {
            Some((at, before)) if is_told_alike(before, sale) => *at,
            _ => change,
        };
        let products = sales.into_iter().map(|sale| (sale.product, (number(&sale), sale)));
        let products: BTreeMap<_, _> = products.collect();
        let changed = products.values().any(|(at, _)| *at == change);
        Self { change: if changed { change } else { self.change }, products }
    }
}

/// Whether people are told the same of both; stock, state and window reach them by the feed.
fn is_told_alike(one: &SaleRecord, other: &SaleRecord) -> bool {
    let told = |sale: &SaleRecord| (sale.price_minor, sale.total, sale.limit, sale.hold_seconds);
    told(one) == told(other) && one.name == other.name && one.currency == other.currency
}

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    listing: Arc<ArcSwapOption<Listing>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Catalogue {
    /// What is listed; `None` before the list was first loaded.
    pub fn load(&self) -> Option<Arc<Listing>> {
        self.listing.load_full()
    }

    /// Wakes at every change of what people are told besides stock and state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the product is listed; `None` before the list was first loaded.
    pub fn lists(&self, product: ProductId) -> Option<bool> {
        self.listing.load().as_ref().map(|listing| listing.products.contains_key(&product))
    }

    fn store(&self, sales: Vec<SaleRecord>) {
        let before = self.load().unwrap_or_default();
        let listing = before.next(sales);
        let change = listing.change;
        self.listing.store(Some(Arc::new(listing)));
        if change > before.change {
            self.changed.send_replace(change);
        }
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
                    self.store(list);
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

async fn list_products(pool: &Pool) -> Result<Vec<SaleRecord>, String> {
    let client = pool.get().await.map_err(|error| explain(&error))?;
    records::list(&client, None).await.map_err(|error| explain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale(id: i64) -> SaleRecord {
        SaleRecord::new(ProductId::new(id).unwrap(), 10)
    }

    fn since(listing: &Listing, change: u64) -> Vec<i64> {
        listing.since(change).map(|sale| sale.product.get()).collect()
    }

    #[test]
    fn what_people_are_told_besides_stock_and_state_is_a_change() {
        let first = Listing::default().next(vec![sale(1), sale(2)]);
        assert_eq!((first.change, since(&first, 0)), (1, vec![1, 2]));
        let sold = SaleRecord { stock: 9, version: 1, ..sale(1) };
        let second = first.next(vec![sold, sale(2)]);
        assert_eq!((second.change, since(&second, 1)), (1, vec![]), "sold, and nothing else");
        assert_eq!(second.sales().next().unwrap().stock, 9);
        let renamed = SaleRecord { name: "Pixel 10".into(), ..sale(2) };
        let third = second.next(vec![sale(1), renamed.clone(), sale(3)]);
        assert_eq!((third.change, since(&third, 1)), (2, vec![2, 3]));
        let dearer = SaleRecord { total: 11, ..renamed };
        let fourth = third.next(vec![sale(1), dearer, sale(3)]);
        assert_eq!((since(&fourth, 2), since(&fourth, 0)), (vec![2], vec![1, 2, 3]));
    }
}
