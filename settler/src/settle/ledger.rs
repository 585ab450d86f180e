//! The statements of settlement, one function each, inside one transaction.
//!
//! Owns the SQL that reads and writes `orders` and takes `products.stock`; decides nothing.
//! [`Ledger`] is what the course of a transaction asks for; PostgreSQL answers here, and a model of
//! it in the simulator.
//! Invariant: every list goes as arrays through `unnest`, one round trip whatever its length.

use std::collections::{HashMap, HashSet};

use books::effects::Effect;
use books::ledger::{HolderRow, LockedProduct};
use deadpool_postgres::GenericClient;
use domain::{ProductId, RejectReason, ReservationId};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::SettleError;
use super::columns::OrderColumns;
use super::decide::SettleOrder;

const INSERT_CONFIRMED: &str = include_str!("../../../sql/insert_confirmed.sql");
const INSERT_REJECTED: &str = include_str!("../../../sql/insert_rejected.sql");
const FIND_KNOWN: &str = include_str!("../../../sql/find_known.sql");
const FIND_GIVEN_UP: &str = include_str!("../../../sql/find_given_up.sql");
const TAKE_STOCK: &str = include_str!("../../../sql/take_stock.sql");

/// Units a transaction takes of one product, and how many effects it causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockChange {
    /// The product.
    pub product: ProductId,
    /// Units of the orders just confirmed.
    pub units: i64,
    /// Effects just caused.
    pub effects: i64,
}

/// A product after [`Ledger::take_stock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockTaken {
    /// The product.
    pub product: ProductId,
    /// Units left.
    pub stock: i64,
    /// Number of this value of the stock.
    pub version: i64,
}

/// What the course of a settling transaction asks of PostgreSQL. Every method fails when the
/// database does not answer or refuses.
pub trait Ledger: Sync {
    /// Locks the products of these orders, in id order, until the transaction ends.
    fn lock_products(
        &self,
        orders: &[SettleOrder],
    ) -> impl Future<Output = Result<HashMap<ProductId, LockedProduct>, SettleError>> + Send;

    /// Records orders as confirmed, or as held where the product holds; false when an id is known
    /// or a user holds units: nothing is recorded then, and the transaction must roll back.
    fn insert_confirmed(
        &self,
        orders: &[SettleOrder],
        products: &HashMap<ProductId, LockedProduct>,
    ) -> impl Future<Output = Result<bool, SettleError>> + Send;

    /// [`Ledger::insert_confirmed`] and, unless that says false (`None`), [`Ledger::take_stock`].
    fn confirm_all(
        &self,
        orders: &[SettleOrder],
        products: &HashMap<ProductId, LockedProduct>,
        changes: &[StockChange],
    ) -> impl Future<Output = Result<Option<Vec<StockTaken>>, SettleError>> + Send {
        async {
            let inserted = self.insert_confirmed(orders, products).await?;
            if inserted { Ok(Some(self.take_stock(changes).await?)) } else { Ok(None) }
        }
    }

    /// Records orders as rejected; left out of the answer is whoever's id is known.
    fn insert_rejected(
        &self,
        rejected: Vec<(SettleOrder, RejectReason)>,
    ) -> impl Future<Output = Result<Vec<(SettleOrder, RejectReason)>, SettleError>> + Send;

    /// Which of these ids have an outcome.
    fn find_known(
        &self,
        ids: &[Uuid],
    ) -> impl Future<Output = Result<HashSet<ReservationId>, SettleError>> + Send;

    /// Which of these ids have an outcome by which they hold nothing.
    fn find_given_up(
        &self,
        ids: &[Uuid],
    ) -> impl Future<Output = Result<HashSet<ReservationId>, SettleError>> + Send;

    /// The orders that hold units for the users of these orders.
    fn find_holders(
        &self,
        orders: &[SettleOrder],
    ) -> impl Future<Output = Result<Vec<HolderRow>, SettleError>> + Send;

    /// Takes units and numbers effects; left out of the answer is a product that does not hold
    /// them.
    fn take_stock(
        &self,
        changes: &[StockChange],
    ) -> impl Future<Output = Result<Vec<StockTaken>, SettleError>> + Send;

    /// Logs what Redis has to be told.
    fn append_effects(
        &self,
        effects: &[Effect],
    ) -> impl Future<Output = Result<(), SettleError>> + Send;
}

impl<C: GenericClient> Ledger for C {
    async fn lock_products(
        &self,
        orders: &[SettleOrder],
    ) -> Result<HashMap<ProductId, LockedProduct>, SettleError> {
        let mut products: Vec<_> = orders.iter().map(|order| order.product).collect();
        products.dedup();
        Ok(books::ledger::lock_products(self, &products).await?)
    }

    async fn insert_confirmed(
        &self,
        orders: &[SettleOrder],
        products: &HashMap<ProductId, LockedProduct>,
    ) -> Result<bool, SettleError> {
        if orders.is_empty() {
            return Ok(true);
        }
        let statement = self.prepare_cached(INSERT_CONFIRMED).await?;
        let (columns, holds) = (OrderColumns::of(orders.iter()), hold_seconds(orders, products));
        let params = columns.params_with(&holds);
        is_inserted(self.execute(&statement, &params).await)
    }

    async fn confirm_all(
        &self,
        orders: &[SettleOrder],
        products: &HashMap<ProductId, LockedProduct>,
        changes: &[StockChange],
    ) -> Result<Option<Vec<StockTaken>>, SettleError> {
        // In one breath: whichever fails, the whole transaction does.
        let inserted = self.insert_confirmed(orders, products);
        let (inserted, taken) = tokio::join!(inserted, self.take_stock(changes));
        if inserted? { Ok(Some(taken?)) } else { Ok(None) }
    }

    async fn insert_rejected(
        &self,
        rejected: Vec<(SettleOrder, RejectReason)>,
    ) -> Result<Vec<(SettleOrder, RejectReason)>, SettleError> {
        if rejected.is_empty() {
            return Ok(rejected);
        }
        let reasons: Vec<&str> = rejected.iter().map(|(_, reason)| reason.as_str()).collect();
        let columns = OrderColumns::of(rejected.iter().map(|(order, _)| order));
        let statement = self.prepare_cached(INSERT_REJECTED).await?;
        let rows = self.query(&statement, &columns.params_with(&reasons)).await?;
        let inserted = ids_of(&rows);
        Ok(rejected.into_iter().filter(|(order, _)| inserted.contains(&order.order.id)).collect())
    }

    async fn find_known(&self, ids: &[Uuid]) -> Result<HashSet<ReservationId>, SettleError> {
        let statement = self.prepare_cached(FIND_KNOWN).await?;
        Ok(ids_of(&self.query(&statement, &[&ids]).await?))
    }

    async fn find_given_up(&self, ids: &[Uuid]) -> Result<HashSet<ReservationId>, SettleError> {
        let statement = self.prepare_cached(FIND_GIVEN_UP).await?;
        Ok(ids_of(&self.query(&statement, &[&ids]).await?))
    }

    async fn find_holders(&self, orders: &[SettleOrder]) -> Result<Vec<HolderRow>, SettleError> {
        let who: Vec<_> = orders.iter().map(|o| (o.product, o.order.user)).collect();
        Ok(books::ledger::find_holders(self, &who).await?)
    }

    async fn take_stock(&self, changes: &[StockChange]) -> Result<Vec<StockTaken>, SettleError> {
        let ids: Vec<i64> = changes.iter().map(|change| change.product.get()).collect();
        let units: Vec<i64> = changes.iter().map(|change| change.units).collect();
        let effects: Vec<i64> = changes.iter().map(|change| change.effects).collect();
        let statement = self.prepare_cached(TAKE_STOCK).await?;
        let rows = self.query(&statement, &[&ids, &units, &effects]).await?;
        let taken = rows.iter().filter_map(|row| {
            Some(StockTaken {
                product: ProductId::new(row.get("id")).ok()?,
                stock: row.get("stock"),
                version: row.get("version"),
            })
        });
        Ok(taken.collect())
    }

    async fn append_effects(&self, effects: &[Effect]) -> Result<(), SettleError> {
        Ok(books::effects::append_effects(self, effects).await?)
    }
}

/// Seconds of hold of each order; empty when none is held.
fn hold_seconds(orders: &[SettleOrder], products: &HashMap<ProductId, LockedProduct>) -> Vec<i32> {
    if products.values().all(|product| product.hold_seconds == 0) {
        return Vec::new();
    }
    let hold = |order: &SettleOrder| products.get(&order.product).map_or(0, |p| p.hold_seconds);
    orders.iter().map(hold).collect()
}

/// Whether orders were inserted: not when one of them is known, or its user holds units. Nearly
/// always every order is new: asking the unique indexes about each beforehand, as ON CONFLICT does,
/// costs half as much again as inserting them.
fn is_inserted(inserted: Result<u64, tokio_postgres::Error>) -> Result<bool, SettleError> {
    match inserted {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn ids_of(rows: &[Row]) -> HashSet<ReservationId> {
    rows.iter().map(|row| ReservationId(row.get("id"))).collect()
}
