//! Statements that settling and resolving share: the lock on products, and who holds units.
//!
//! Invariant: a transaction locks products in id order, before it touches an order.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use domain::contract::order_message::QueuedOrder;
use domain::{Epoch, IdempotencyKey, ProductId, Quantity, ReservationId, Seq, UserId};
use service::postgres::DatabaseError;
use tokio_postgres::Row;

const LOCK_PRODUCTS: &str = include_str!("../../../sql/lock_products.sql");
const FIND_HOLDERS: &str = include_str!("../../../sql/find_holders.sql");

/// A locked row of `products`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedProduct {
    /// Units not owned by an order.
    pub stock: i64,
    /// Epoch PostgreSQL knows.
    pub epoch: Epoch,
    /// Number of the last effect.
    pub effect_seq: i64,
    /// How long an order is held, s; 0 when it is confirmed at once.
    pub hold_seconds: i32,
}

/// The order that holds units for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderRow {
    /// The product.
    pub product: ProductId,
    /// The order.
    pub order: QueuedOrder,
}

/// Locks these products, in id order, until the transaction ends. One that does not exist is left
/// out.
///
/// # Errors
/// When the database does not answer.
pub async fn lock_products(
    client: &impl GenericClient,
    products: &[ProductId],
) -> Result<HashMap<ProductId, LockedProduct>, DatabaseError> {
    let ids: Vec<i64> = products.iter().map(|product| product.get()).collect();
    let statement = client.prepare_cached(LOCK_PRODUCTS).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    let locked = rows.iter().filter_map(|row| {
        let product = LockedProduct {
            stock: row.get("stock"),
            epoch: Epoch(row.get("epoch")),
            effect_seq: row.get("effect_seq"),
            hold_seconds: row.get("hold_seconds"),
        };
        Some((ProductId::new(row.get("id")).ok()?, product))
    });
    Ok(locked.collect())
}

/// The orders that hold units for these users, pairwise with their products.
///
/// # Errors
/// When the database does not answer.
pub async fn find_holders(
    client: &impl GenericClient,
    who: &[(ProductId, UserId)],
) -> Result<Vec<HolderRow>, DatabaseError> {
    if who.is_empty() {
        return Ok(Vec::new());
    }
    let (products, users): (Vec<i64>, Vec<i64>) =
        who.iter().map(|(product, user)| (product.get(), user.get())).unzip();
    let statement = client.prepare_cached(FIND_HOLDERS).await?;
    let rows = client.query(&statement, &[&products, &users]).await?;
    Ok(rows.iter().filter_map(read_order).collect())
}

/// An order of a row with the columns id, `product_id`, `user_id`, quantity, seq and
/// `idempotency_key`; `None` when a
/// value is none of ours.
pub(crate) fn read_order(row: &Row) -> Option<HolderRow> {
    Some(HolderRow {
        product: ProductId::new(row.get("product_id")).ok()?,
        order: QueuedOrder {
            id: ReservationId(row.get("id")),
            user: UserId::new(row.get("user_id")).ok()?,
            quantity: Quantity::new(row.get("quantity")).ok()?,
            seq: Seq(row.get("seq")),
            key: row.get::<_, Option<_>>("idempotency_key").map(IdempotencyKey::from_stored),
        },
    })
}
