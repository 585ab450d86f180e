//! Orders and effects as the arrays that `unnest` takes: one round trip whatever the batch size.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::decide::{Effect, SettleOrder};

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
        };
        for order in orders {
            columns.ids.push(order.order.id.0);
            columns.products.push(order.product.get());
            columns.users.push(order.order.user.get());
            columns.quantities.push(order.order.quantity.units());
            columns.epochs.push(order.epoch.0);
            columns.seqs.push(order.order.seq.0);
            columns.reserved_at_ms.push(order.reserved_at_ms);
        }
        columns
    }

    /// The parameters `$1` to `$7`.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.ids,
            &self.products,
            &self.users,
            &self.quantities,
            &self.epochs,
            &self.seqs,
            &self.reserved_at_ms,
        ]
    }
}

/// Columns of effects, in the order of the parameters of `append_effects.sql`.
#[derive(Debug)]
pub(super) struct EffectColumns {
    products: Vec<i64>,
    ns: Vec<i64>,
    kinds: Vec<&'static str>,
    ids: Vec<Uuid>,
    users: Vec<i64>,
    quantities: Vec<i64>,
    seqs: Vec<i64>,
}

impl EffectColumns {
    /// Turns rows into columns.
    pub(super) fn of(effects: &[Effect]) -> Self {
        Self {
            products: effects.iter().map(|e| e.product.get()).collect(),
            ns: effects.iter().map(|e| e.n).collect(),
            kinds: effects.iter().map(|e| e.kind.as_str()).collect(),
            ids: effects.iter().map(|e| e.order.id.0).collect(),
            users: effects.iter().map(|e| e.order.user.get()).collect(),
            quantities: effects.iter().map(|e| e.order.quantity.units()).collect(),
            seqs: effects.iter().map(|e| e.order.seq.0).collect(),
        }
    }

    /// The parameters `$1` to `$7`.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.products,
            &self.ns,
            &self.kinds,
            &self.ids,
            &self.users,
            &self.quantities,
            &self.seqs,
        ]
    }
}
