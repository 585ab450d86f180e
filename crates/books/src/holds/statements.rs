//! The statements of resolving, one function each; decides nothing.
//!
//! Owns the SQL that reads and writes held orders. Invariant: an order is changed only where it
//! still is `held`, in the same statement.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use domain::contract::order_message::QueuedOrder;
use domain::{OrderStatus, ProductId, ReservationId, UserId};
use service::postgres::DatabaseError;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{HoldLedger, Reservation, Return};
use crate::effects::{self, Effect, StockVersion};
use crate::ledger::{self, HolderRow, LockedProduct, read_order};

const PAY_ORDER: &str = include_str!("../../../../sql/pay_order.sql");
const FIND_HOLD: &str = include_str!("../../../../sql/find_hold.sql");
const RELEASE_HELD: &str = include_str!("../../../../sql/release_held.sql");
const INSERT_CANCELLED: &str = include_str!("../../../../sql/insert_cancelled.sql");
const RETURN_STOCK: &str = include_str!("../../../../sql/return_stock.sql");
const LIST_DUE: &str = include_str!("../../../../sql/list_due.sql");

impl<C: GenericClient> HoldLedger for C {
    async fn pay_order(&self, id: ReservationId) -> Result<Option<StockVersion>, DatabaseError> {
        let statement = self.prepare_cached(PAY_ORDER).await?;
        let row = self.query_opt(&statement, &[&id.0]).await?;
        Ok(row.and_then(|row| read_stock(&row, "product_id")))
    }

    async fn find_hold(
        &self,
        id: ReservationId,
    ) -> Result<Option<(ProductId, OrderStatus)>, DatabaseError> {
        let statement = self.prepare_cached(FIND_HOLD).await?;
        let row = self.query_opt(&statement, &[&id.0]).await?;
        Ok(row.and_then(|row| {
            let product = ProductId::new(row.get("product_id")).ok()?;
            Some((product, OrderStatus::parse(row.get("status"))?))
        }))
    }

    async fn lock_products(
        &self,
        products: &[ProductId],
    ) -> Result<HashMap<ProductId, LockedProduct>, DatabaseError> {
        ledger::lock_products(self, products).await
    }

    async fn release_held(
        &self,
        ids: &[ReservationId],
        outcome: OrderStatus,
    ) -> Result<Vec<HolderRow>, DatabaseError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let statement = self.prepare_cached(RELEASE_HELD).await?;
        let rows = self.query(&statement, &[&ids, &outcome.as_str()]).await?;
        // Whoever is left out here would lose units: the transaction must roll back instead.
        let released = rows.iter().map(read_order).collect::<Option<_>>();
        released.ok_or_else(|| DatabaseError::transient("a held order has a value below 1"))
    }

    async fn insert_cancelled(&self, reservation: &Reservation) -> Result<bool, DatabaseError> {
        let Reservation { product, epoch, order } = reservation;
        // As the sweeper dates what Redis alone knows.
        let reserved_at_ms = order.id.proposed_at_ms().unwrap_or(0);
        let statement = self.prepare_cached(INSERT_CANCELLED).await?;
        let inserted = self
            .query_opt(
                &statement,
                &[
                    &order.id.0,
                    &product.get(),
                    &order.user.get(),
                    &order.quantity.units(),
                    &epoch.0,
                    &order.seq.0,
                    &reserved_at_ms,
                ],
            )
            .await?;
        Ok(inserted.is_some())
    }

    async fn find_holder(
        &self,
        product: ProductId,
        user: UserId,
    ) -> Result<Option<QueuedOrder>, DatabaseError> {
        let holders = ledger::find_holders(self, &[(product, user)]).await?;
        Ok(holders.first().map(|holder| holder.order))
    }

    async fn return_stock(&self, returns: &[Return]) -> Result<Vec<StockVersion>, DatabaseError> {
        let products: Vec<i64> = returns.iter().map(|one| one.product.get()).collect();
        let units: Vec<i64> = returns.iter().map(|one| one.units).collect();
        let effects: Vec<i64> = returns.iter().map(|one| one.effects).collect();
        let statement = self.prepare_cached(RETURN_STOCK).await?;
        let rows = self.query(&statement, &[&products, &units, &effects]).await?;
        Ok(rows.iter().filter_map(|row| read_stock(row, "id")).collect())
    }

    async fn append_effects(&self, effects: &[Effect]) -> Result<(), DatabaseError> {
        effects::append_effects(self, effects).await
    }
}

/// Held orders whose time is over, oldest first, at most so many.
///
/// # Errors
/// When the database does not answer.
pub async fn list_due(
    client: &impl GenericClient,
    orders_max: i64,
) -> Result<Vec<(ReservationId, ProductId)>, DatabaseError> {
    let statement = client.prepare_cached(LIST_DUE).await?;
    let rows = client.query(&statement, &[&orders_max]).await?;
    let due = rows.iter().filter_map(|row| {
        Some((ReservationId(row.get("id")), ProductId::new(row.get("product_id")).ok()?))
    });
    Ok(due.collect())
}

fn read_stock(row: &Row, product: &str) -> Option<StockVersion> {
    let product = ProductId::new(row.get(product)).ok()?;
    Some(StockVersion { product, version: row.get("version"), stock: row.get("stock") })
}
