//! The statements of settlement, one function each, inside one transaction.
//!
//! Owns the SQL that reads and writes `orders` and takes `products.stock`; decides nothing.
//! Invariant: every list goes as arrays through `unnest`, one round trip whatever its length.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::{GenericClient, Transaction};
use domain::contract::order_message::QueuedOrder;
use domain::{Epoch, ProductId, Quantity, RejectReason, ReservationId, Seq, UserId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::columns::{EffectColumns, OrderColumns};
use super::decide::{Effect, HolderRow, LockedProduct, SettleOrder};
use super::{Report, SettleError};

const LOCK_PRODUCTS: &str = include_str!("../../../sql/lock_products.sql");
const INSERT_CONFIRMED: &str = include_str!("../../../sql/insert_confirmed.sql");
const INSERT_REJECTED: &str = include_str!("../../../sql/insert_rejected.sql");
const FIND_KNOWN: &str = include_str!("../../../sql/find_known.sql");
const FIND_HOLDERS: &str = include_str!("../../../sql/find_holders.sql");
const TAKE_STOCK: &str = include_str!("../../../sql/take_stock.sql");
const APPEND_EFFECTS: &str = include_str!("../../../sql/append_effects.sql");

pub(super) async fn lock_products(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
) -> Result<HashMap<ProductId, LockedProduct>, SettleError> {
    let mut ids: Vec<i64> = orders.iter().map(|order| order.product.get()).collect();
    ids.dedup();
    let statement = transaction.prepare_cached(LOCK_PRODUCTS).await?;
    let rows = transaction.query(&statement, &[&ids]).await?;
    let products = rows.iter().filter_map(|row| {
        let product = LockedProduct {
            stock: row.get("stock"),
            epoch: Epoch(row.get("epoch")),
            effect_seq: row.get("effect_seq"),
        };
        Some((ProductId::new(row.get("id")).ok()?, product))
    });
    Ok(products.collect())
}

pub(super) async fn insert_confirmed(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
) -> Result<HashSet<ReservationId>, SettleError> {
    if orders.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = OrderColumns::of(orders.iter());
    let statement = transaction.prepare_cached(INSERT_CONFIRMED).await?;
    let rows = transaction.query(&statement, &columns.params()).await?;
    Ok(ids_of(&rows))
}

pub(super) async fn insert_rejected(
    transaction: &Transaction<'_>,
    rejected: Vec<(SettleOrder, RejectReason)>,
) -> Result<Vec<(SettleOrder, RejectReason)>, SettleError> {
    if rejected.is_empty() {
        return Ok(rejected);
    }
    let reasons: Vec<&str> = rejected.iter().map(|(_, reason)| reason.as_str()).collect();
    let columns = OrderColumns::of(rejected.iter().map(|(order, _)| order));
    let [a, b, c, d, e, f, g] = columns.params();
    let statement = transaction.prepare_cached(INSERT_REJECTED).await?;
    let rows = transaction.query(&statement, &[a, b, c, d, e, f, g, &reasons]).await?;
    let inserted = ids_of(&rows);
    Ok(rejected.into_iter().filter(|(order, _)| inserted.contains(&order.order.id)).collect())
}

fn ids_of(rows: &[Row]) -> HashSet<ReservationId> {
    rows.iter().map(|row| ReservationId(row.get("id"))).collect()
}

/// Which of these ids have an outcome.
///
/// # Errors
/// When the database does not answer.
pub async fn find_known(
    client: &impl GenericClient,
    ids: &[Uuid],
) -> Result<HashSet<ReservationId>, SettleError> {
    let statement = client.prepare_cached(FIND_KNOWN).await?;
    Ok(ids_of(&client.query(&statement, &[&ids]).await?))
}

pub(super) async fn find_holders(
    transaction: &Transaction<'_>,
    orders: impl Iterator<Item = &SettleOrder>,
) -> Result<Vec<HolderRow>, SettleError> {
    let (products, users): (Vec<i64>, Vec<i64>) =
        orders.map(|o| (o.product.get(), o.order.user.get())).unzip();
    let statement = transaction.prepare_cached(FIND_HOLDERS).await?;
    let rows = transaction.query(&statement, &[&products, &users]).await?;
    Ok(rows.iter().filter_map(holder_of).collect())
}

fn holder_of(row: &Row) -> Option<HolderRow> {
    Some(HolderRow {
        product: ProductId::new(row.get("product_id")).ok()?,
        order: QueuedOrder {
            id: ReservationId(row.get("id")),
            user: UserId::new(row.get("user_id")).ok()?,
            quantity: Quantity::new(row.get("quantity")).ok()?,
            seq: Seq(row.get("seq")),
        },
    })
}

pub(super) async fn take_stock(
    transaction: &Transaction<'_>,
    confirmed: &[SettleOrder],
    reports: &mut [Report],
) -> Result<(), SettleError> {
    let mut units: HashMap<ProductId, i64> = HashMap::new();
    for order in confirmed {
        *units.entry(order.product).or_default() += order.order.quantity.units();
    }
    let ids: Vec<i64> = reports.iter().map(|r| r.product.get()).collect();
    let taken: Vec<i64> =
        reports.iter().map(|r| units.get(&r.product).copied().unwrap_or(0)).collect();
    let caused: Vec<i64> =
        reports.iter().map(|r| i64::try_from(r.effects.len()).unwrap_or(i64::MAX)).collect();
    let statement = transaction.prepare_cached(TAKE_STOCK).await?;
    let rows = transaction.query(&statement, &[&ids, &taken, &caused]).await?;
    for report in reports.iter_mut() {
        // A product that is missing here does not hold the units: the guard said no.
        let row = rows
            .iter()
            .find(|row| row.get::<_, i64>("id") == report.product.get())
            .ok_or_else(|| SettleError::Transient("the stock guard refused".into()))?;
        report.stock = row.get("stock");
        report.version = row.get("version");
    }
    Ok(())
}

pub(super) async fn append_effects(
    transaction: &Transaction<'_>,
    effects: &[Effect],
) -> Result<(), SettleError> {
    if effects.is_empty() {
        return Ok(());
    }
    let statement = transaction.prepare_cached(APPEND_EFFECTS).await?;
    transaction.execute(&statement, &EffectColumns::of(effects).params()).await?;
    Ok(())
}
