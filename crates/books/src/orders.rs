//! The orders of a product, page by page, in order of arrival.
//!
//! Invariant: a page begins after a place in line, never at a count, so nothing is listed twice or
//! left out because orders come in between.

use deadpool_postgres::GenericClient;
use domain::contract::admin::{ListOrders, Place};
use domain::{OrderStatus, ReservationId};
use service::postgres::DatabaseError;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const LIST_ORDERS: &str = include_str!("../../../sql/list_orders.sql");

/// One order as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedOrder {
    /// Where it stands in line.
    pub place: Place,
    /// What was bought.
    pub product_id: i64,
    /// Who bought it.
    pub user_id: i64,
    /// Units.
    pub quantity: i64,
    /// Its outcome.
    pub status: OrderStatus,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// When it was reserved, ms since the Unix epoch.
    pub reserved_at_ms: i64,
    /// When it was settled, ms since the Unix epoch.
    pub settled_at_ms: i64,
    /// When it expires unless it is paid, ms since the Unix epoch; of an order that is held.
    pub expires_at_ms: Option<i64>,
}

/// A page of orders, and where the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// In order of arrival.
    pub orders: Vec<RecordedOrder>,
    /// `None` after the last.
    pub next: Option<Place>,
}

/// Reads one page.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    client: &impl GenericClient,
    asked: &ListOrders,
) -> Result<OrderPage, DatabaseError> {
    let statement = client.prepare_cached(LIST_ORDERS).await?;
    let statuses: Vec<&str> = match asked.status {
        Some(status) => vec![status.as_str()],
        None => OrderStatus::ALL.iter().map(|status| status.as_str()).collect(),
    };
    let first = Place { epoch: i64::MIN, seq: i64::MIN, id: ReservationId(Uuid::nil()) };
    let after = asked.after.unwrap_or(first);
    // One more than asked says whether there is another page.
    let rows_max = asked.limit + 1;
    let params: [&(dyn ToSql + Sync); 6] =
        [&asked.product.get(), &statuses, &after.epoch, &after.seq, &after.id.0, &rows_max];
    let rows = client.query(&statement, &params).await?;
    let orders = rows.iter().map(read).collect::<Option<Vec<_>>>();
    let mut orders = orders
        .ok_or_else(|| DatabaseError::transient("an order has a status of a newer schema"))?;
    let asked = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let more = orders.len() > asked;
    orders.truncate(asked);
    let next = orders.last().filter(|_| more).map(|order| order.place);
    Ok(OrderPage { orders, next })
}

fn read(row: &Row) -> Option<RecordedOrder> {
    let status = OrderStatus::parse(row.get("status"))?;
    let expires_at_ms: Option<i64> = row.get("expires_at_ms");
    Some(RecordedOrder {
        place: Place {
            epoch: row.get("epoch"),
            seq: row.get("seq"),
            id: ReservationId(row.get("id")),
        },
        product_id: row.get("product_id"),
        user_id: row.get("user_id"),
        quantity: row.get("quantity"),
        status,
        reason: row.get("reason"),
        reserved_at_ms: row.get("reserved_at_ms"),
        settled_at_ms: row.get("settled_at_ms"),
        expires_at_ms: expires_at_ms.filter(|_| status == OrderStatus::Held),
    })
}
