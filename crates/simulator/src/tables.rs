//! The tables of one product, as they stand at one commit.
//!
//! Owns no lock and no fault; those are `ledger`'s. Invariant: an effect's number is used once.

use std::collections::BTreeMap;

use books::effects::Effect;
use books::records::SaleRecord;
use domain::contract::order_message::QueuedOrder;
use domain::{
    Epoch, Holder, OrderStatus, ProductId, ReservationId, SaleWindow, Seq, StoredState, UserId,
};
use service::postgres::DatabaseError;

/// One order as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) order: QueuedOrder,
    pub(crate) epoch: Epoch,
    pub(crate) status: OrderStatus,
}

/// Everything committed.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    pub(crate) sale: SaleRecord,
    pub(crate) orders: BTreeMap<ReservationId, Row>,
    pub(crate) effects: Vec<Effect>,
}

impl Tables {
    pub(crate) fn new(product: ProductId, units: i64, limit: i64, hold_seconds: i32) -> Self {
        let sale = SaleRecord { limit, hold_seconds, ..SaleRecord::new(product, units) };
        Self { sale, orders: BTreeMap::new(), effects: Vec::new() }
    }

    /// Orders that hold units.
    pub(crate) fn holding(&self) -> impl Iterator<Item = &Row> {
        self.orders.values().filter(|row| row.status.holds_units())
    }

    /// Orders that held units, or would have.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = &Row> {
        let is = |status| matches!(status, OrderStatus::Cancelled | OrderStatus::Expired);
        self.orders.values().filter(move |row| is(row.status))
    }

    pub(crate) fn units_held(&self) -> i64 {
        self.holding().map(|row| row.order.quantity.units()).sum()
    }

    pub(crate) fn holder_of(&self, user: UserId) -> Option<&Row> {
        self.holding().find(|row| row.order.user == user)
    }

    pub(crate) fn record(&mut self, order: QueuedOrder, epoch: Epoch, status: OrderStatus) {
        self.orders.insert(order.id, Row { order, epoch, status });
    }

    /// Logs effects, each number once.
    pub(crate) fn append(&mut self, effects: &[Effect]) -> Result<(), DatabaseError> {
        if effects.iter().any(|effect| self.effects.iter().any(|old| old.n == effect.n)) {
            return Err(DatabaseError::transient("an effect of this number exists"));
        }
        self.effects.extend(effects);
        Ok(())
    }

    pub(crate) fn effects_after(&self, after: i64) -> Vec<Effect> {
        self.effects.iter().filter(|effect| effect.n > after).copied().collect()
    }

    pub(crate) fn holders_after(&self, epoch: Epoch, seq: Seq) -> Vec<(UserId, Holder)> {
        let late = self.holding().filter(|row| (row.epoch, row.order.seq) > (epoch, seq));
        late.map(|row| (row.order.user, row.order.holder())).collect()
    }
}
