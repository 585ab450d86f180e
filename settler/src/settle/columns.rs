//! Orders as the arrays that `unnest` takes: one round trip whatever the batch size.

use std::time::{Duration, SystemTime};

use domain::Quantity;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::decide::SettleOrder;

/// Columns of orders, in the order of the parameters of `insert_confirmed.sql`.
#[derive(Debug)]
pub(super) struct OrderColumns {
    ids: Vec<Uuid>,
    products: Vec<i64>,
    users: Vec<i64>,
    /// Up to the last that is not one.
    quantities: Vec<i64>,
    epochs: Vec<i64>,
    seqs: Vec<i64>,
    reserved_at: Vec<SystemTime>,
    /// Up to the last order that has one: `unnest` fills a shorter array up with NULL.
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
            quantities: Vec::new(),
            epochs: column(),
            seqs: column(),
            reserved_at: Vec::with_capacity(orders.len()),
            keys: Vec::new(),
        };
        for (at, order) in orders.enumerate() {
            columns.ids.push(order.order.id.0);
            columns.products.push(order.product.get());
            columns.users.push(order.order.user.get());
            columns.epochs.push(order.epoch.0);
            columns.seqs.push(order.order.seq.0);
            columns.reserved_at.push(instant(order.reserved_at_ms));
            if order.order.quantity != Quantity::ONE {
                columns.quantities.resize(at, Quantity::ONE.units());
                columns.quantities.push(order.order.quantity.units());
            }
            if let Some(key) = order.order.key {
                columns.keys.resize(at, None);
                columns.keys.push(Some(key.to_stored()));
            }
        }
        columns
    }

    /// The parameters `$1` to `$8`, and the one that follows.
    pub(super) fn params_with<'a>(
        &'a self,
        ninth: &'a (dyn ToSql + Sync),
    ) -> [&'a (dyn ToSql + Sync); 9] {
        [
            &self.ids,
            &self.products,
            &self.users,
            &self.quantities,
            &self.epochs,
            &self.seqs,
            &self.reserved_at,
            &self.keys,
            ninth,
        ]
    }
}

/// An instant in milliseconds since the Unix epoch, before which nothing was reserved.
fn instant(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
