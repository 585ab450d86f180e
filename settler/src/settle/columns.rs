//! Orders as the arrays that `unnest` takes: one round trip whatever the batch size.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::decide::SettleOrder;

/// Columns of orders, in the order of the parameters of `insert_confirmed.sql`.
#[derive(Debug)]
pub(super) struct OrderColumns {
    ids: Vec<Uuid>,
    products: Vec<i64>,
    users: Vec<i64>,
    quantities: Vec<i64>,
    epochs: Vec<i64>,
    seqs: Vec<i64>,
    reserved_at_ms: Vec<i64>,
    /// Empty when no order has one: `unnest` fills a shorter array up with NULL.
    keys: Vec<Option<i64>>,
}

impl OrderColumns {
    /// Turns rows into columns.
    pub(super) fn of<'a>(orders: impl ExactSizeIterator<Item = &'a SettleOrder>) -> Self {
        let column = || Vec::with_capacity(orders.len());
        let mut columns = Self {
            ids: Vec::with_capacity(orders.len()),
            products: column(),
            users: column(),
            quantities: column(),
            epochs: column(),
            seqs: column(),
            reserved_at_ms: column(),
            keys: Vec::new(),
        };
        for (at, order) in orders.enumerate() {
            columns.ids.push(order.order.id.0);
            columns.products.push(order.product.get());
            columns.users.push(order.order.user.get());
            columns.quantities.push(order.order.quantity.units());
            columns.epochs.push(order.epoch.0);
            columns.seqs.push(order.order.seq.0);
            columns.reserved_at_ms.push(order.reserved_at_ms);
            if let Some(key) = order.order.key {
                columns.keys.resize(at, None);
                columns.keys.push(Some(key.to_stored()));
            }
        }
        columns
    }

    /// The parameters `$1` to `$8`.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.ids,
            &self.products,
            &self.users,
            &self.quantities,
            &self.epochs,
            &self.seqs,
            &self.reserved_at_ms,
            &self.keys,
        ]
    }
}
