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
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::SettleError;
use super::columns::OrderColumns;
use super::decide::SettleOrder;

const INSERT_CONFIRMED: &str = include_str!("../../../sql/insert_confirmed.sql");
const MARK_INSERT: &str = include_str!("../../../sql/mark_insert.sql");
const UNDO_INSERT: &str = include_str!("../../../sql/undo_insert.sql");
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

    /// Records orders as confirmed, or as held where the product holds; false, and nothing is
    /// recorded, when an id is known or a user holds units.
    fn insert_confirmed(
        &self,
        orders: &[SettleOrder],
        products: &HashMap<ProductId, LockedProduct>,
    ) -> impl Future<Output = Result<bool, SettleError>> + Send;

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
        let hold = |order: &SettleOrder| products.get(&order.product).map_or(0, |p| p.hold_seconds);
        let holds: Vec<i32> = orders.iter().map(hold).collect();
        let columns = OrderColumns::of(orders.iter());
        let [a, b, c, d, e, f, g, h] = columns.params();
        let params: [&(dyn ToSql + Sync); 9] = [a, b, c, d, e, f, g, h, &holds];
        // Nearly always every order is new. Asking the unique indexes about each beforehand, as ON
        // CONFLICT does, costs half as much again as inserting them.
        let statement = self.prepare_cached(INSERT_CONFIRMED).await?;
        let (marked, inserted) =
            tokio::join!(self.batch_execute(MARK_INSERT), self.execute(&statement, &params));
        marked?;
        match inserted {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                self.batch_execute(UNDO_INSERT).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
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
        let [a, b, c, d, e, f, g, h] = columns.params();
        let statement = self.prepare_cached(INSERT_REJECTED).await?;
        let rows = self.query(&statement, &[a, b, c, d, e, f, g, h, &reasons]).await?;
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

fn ids_of(rows: &[Row]) -> HashSet<ReservationId> {
    rows.iter().map(|row| ReservationId(row.get("id"))).collect()
}
