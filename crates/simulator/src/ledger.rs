//! A model of the tables in PostgreSQL, with transactions that lock the product.
//!
//! Answers what the settler asks of PostgreSQL through its own traits, so that the settler's code
//! runs unchanged. One product. Invariant: what a transaction wrote is seen by nobody before its
//! commit, and never when it is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use books::effects::{Effect, EffectsLog};
use books::ledger::{HolderRow, LockedProduct};
use books::records::SaleRecord;
use domain::{
    AdjustmentId, Epoch, Holder, OrderStatus, ProductId, RejectReason, ReservationId, Seq, UserId,
};
use futures_util::{Stream, stream};
use service::postgres::DatabaseError;
use settler::gatekeeper::sales::SaleBooks;
use settler::gatekeeper::vouch::Books;
use settler::settle::decide::SettleOrder;
use settler::settle::{Ledger, SettleError, StockChange, StockTaken};
use uuid::Uuid;

use crate::mutant::Mutant;
use crate::port::Port;
use crate::tables::Tables;

/// The lock on the product and the tables behind it.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) committed: Tables,
    /// Which transaction holds the product.
    locked_by: Option<u64>,
    transactions: u64,
}

impl Database {
    pub(crate) const fn new(committed: Tables) -> Self {
        Self { committed, locked_by: None, transactions: 0 }
    }
}

/// A settler's transaction. Dropped before [`Transaction::commit`], it never was.
pub(crate) struct Transaction {
    port: Port,
    id: u64,
    /// `None` until the product is locked.
    own: Mutex<Option<Tables>>,
}

impl Transaction {
    pub(crate) fn begin(port: &Port) -> Self {
        let id = port.world(|world| {
            world.database.transactions += 1;
            world.database.transactions
        });
        Self { port: port.clone(), id, own: Mutex::default() }
    }

    /// Reads what is committed now, without a lock.
    pub(crate) fn reading(port: &Port) -> Self {
        let transaction = Self::begin(port);
        let committed = port.world(|world| world.database.committed.clone());
        *transaction.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(committed);
        transaction
    }

    /// Commits. The answer may be lost although it was done.
    pub(crate) async fn commit(self) -> Result<(), SettleError> {
        self.port.pause().await;
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(own) = own {
            self.port.world(|world| world.database.committed = own);
        }
        let answered = self.port.world(|world| !world.mishap());
        drop(self);
        if answered { Ok(()) } else { Err(SettleError::transient("the answer was lost")) }
    }

    /// Waits for the product, and reads it.
    pub(crate) async fn lock(&self) -> HashMap<ProductId, LockedProduct> {
        let early = self.port.world(|world| world.database.committed.sale.clone());
        loop {
            self.port.pause().await;
            let locked = self.port.world(|world| {
                let database = &mut world.database;
                let free = database.locked_by.is_none() || database.locked_by == Some(self.id);
                if free {
                    database.locked_by = Some(self.id);
                }
                free.then(|| database.committed.clone())
            });
            let Some(tables) = locked else { continue };
            let mut sale = &tables.sale;
            if self.port.is(Mutant::StaleStock) {
                sale = &early;
            }
            let SaleRecord { product, stock, epoch, effect_seq, hold_seconds, .. } = *sale;
            *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(tables);
            return [(product, LockedProduct { stock, epoch, effect_seq, hold_seconds })].into();
        }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.port.is(mutant)
    }

    /// A statement on the transaction's own view, or on what is committed before it locked.
    pub(crate) async fn statement<T>(
        &self,
        run: impl FnOnce(&mut Tables) -> T,
    ) -> Result<T, DatabaseError> {
        self.port.pause().await;
        if self.port.world(|world| world.mishap()) {
            return Err(DatabaseError::transient("the connection broke"));
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match own.as_mut() {
            Some(tables) => Ok(run(tables)),
            // Nothing is changed before the product is locked.
            None => Ok(run(&mut self.port.world(|world| world.database.committed.clone()))),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.port.world(|world| {
            if world.database.locked_by == Some(self.id) {
                world.database.locked_by = None;
            }
        });
    }
}

impl Ledger for Transaction {
    async fn lock_products(
        &self,
        _: &[SettleOrder],
    ) -> Result<HashMap<ProductId, LockedProduct>, SettleError> {
        Ok(self.lock().await)
    }

    async fn insert_confirmed(
        &self,
        orders: &[SettleOrder],
        products: &HashMap<ProductId, LockedProduct>,
    ) -> Result<bool, SettleError> {
        let held = products.values().any(|product| product.hold_seconds > 0);
        let status = if held { OrderStatus::Held } else { OrderStatus::Confirmed };
        let doubles = self.port.is(Mutant::NoUniqueHolder);
        let inserted = self.statement(|tables| {
            let before = tables.clone();
            for order in orders {
                let known = tables.orders.contains_key(&order.order.id);
                if known || !doubles && tables.holder_of(order.order.user).is_some() {
                    // The statement fails as a whole.
                    *tables = before;
                    return false;
                }
                tables.record(order.order, order.epoch, status);
            }
            true
        });
        Ok(inserted.await?)
    }

    async fn insert_rejected(
        &self,
        mut rejected: Vec<(SettleOrder, RejectReason)>,
    ) -> Result<Vec<(SettleOrder, RejectReason)>, SettleError> {
        let rejected = self.statement(|tables| {
            rejected.retain(|(order, _)| !tables.orders.contains_key(&order.order.id));
            for (order, _) in &rejected {
                tables.record(order.order, order.epoch, OrderStatus::Rejected);
            }
            rejected
        });
        Ok(rejected.await?)
    }

    async fn find_known(&self, ids: &[Uuid]) -> Result<HashSet<ReservationId>, SettleError> {
        let ids = ids.iter().copied().map(ReservationId);
        Ok(self
            .statement(|tables| ids.filter(|id| tables.orders.contains_key(id)).collect())
            .await?)
    }

    async fn find_given_up(&self, ids: &[Uuid]) -> Result<HashSet<ReservationId>, SettleError> {
        let forgets = self.is(Mutant::NoSecondVoid);
        let ids = ids.iter().copied().map(ReservationId);
        let given_up = self.statement(|tables| {
            let holds = |id: &ReservationId| {
                tables.orders.get(id).is_none_or(|row| row.status.holds_units())
            };
            ids.filter(|id| !holds(id) && !forgets).collect()
        });
        Ok(given_up.await?)
    }

    async fn find_holders(&self, orders: &[SettleOrder]) -> Result<Vec<HolderRow>, SettleError> {
        let holders = self.statement(|tables| {
            let product = tables.sale.product;
            let holders = orders.iter().filter_map(|order| tables.holder_of(order.order.user));
            holders.map(|row| HolderRow { product, order: row.order }).collect()
        });
        Ok(holders.await?)
    }

    async fn take_stock(&self, changes: &[StockChange]) -> Result<Vec<StockTaken>, SettleError> {
        let unguarded = self.port.is(Mutant::StaleStock);
        let taken = self.statement(|tables| {
            let sale = &mut tables.sale;
            let mut taken = Vec::new();
            for change in changes {
                if change.units > sale.stock && !unguarded {
                    continue;
                }
                sale.stock -= change.units;
                sale.effect_seq += change.effects;
                sale.version += 1;
                let (stock, version) = (sale.stock, sale.version);
                taken.push(StockTaken { product: sale.product, stock, version });
            }
            taken
        });
        Ok(taken.await?)
    }

    async fn append_effects(&self, effects: &[Effect]) -> Result<(), SettleError> {
        Ok(self.statement(|tables| tables.append(effects)).await??)
    }
}

/// Statements of their own: each sees what is committed when it runs.
impl EffectsLog for Port {
    async fn effects_after(&self, _: ProductId, after: i64) -> Result<Vec<Effect>, DatabaseError> {
        self.pause().await;
        Ok(self.world(|world| world.database.committed.effects_after(after)))
    }
}

/// A gatekeeper's connection.
pub(crate) struct Connection {
    port: Port,
    /// What it did last; for mutants.
    raised: Mutex<Option<Raised>>,
}

/// An epoch, and what was committed before it was raised.
struct Raised {
    epoch: Epoch,
    early: Tables,
}

impl Connection {
    pub(crate) fn new(port: Port) -> Self {
        Self { port, raised: Mutex::default() }
    }
}

impl Books for Connection {
    type Snapshot<'a> = Snapshot;

    async fn raise_epoch(&self, _: ProductId) -> Result<Epoch, DatabaseError> {
        let early = self.port.world(|world| world.database.committed.clone());
        loop {
            self.port.pause().await;
            let raised = self.port.world(|world| {
                // An update of a row somebody locked waits.
                let database = &mut world.database;
                database.locked_by.is_none().then(|| {
                    database.committed.sale.epoch.0 += 1;
                    database.committed.sale.epoch
                })
            });
            let Some(epoch) = raised else { continue };
            let raised = Raised { epoch, early };
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(raised);
            return Ok(epoch);
        }
    }

    async fn snapshot(&mut self) -> Result<Snapshot, DatabaseError> {
        self.port.pause().await;
        let raised = self.raised.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut tables = self.port.world(|world| world.database.committed.clone());
        if let Some(raised) = raised {
            if self.port.is(Mutant::SnapshotBeforeEpoch) {
                tables = raised.early;
            }
            if self.port.is(Mutant::SnapshotBeforeEpoch) || self.port.is(Mutant::NoEpochCheck) {
                tables.sale.epoch = raised.epoch;
            }
        }
        Ok(Snapshot { port: self.port.clone(), tables })
    }
}

/// One view of everything committed when it was taken.
pub(crate) struct Snapshot {
    port: Port,
    tables: Tables,
}

impl EffectsLog for Snapshot {
    async fn effects_after(&self, _: ProductId, after: i64) -> Result<Vec<Effect>, DatabaseError> {
        self.port.pause().await;
        if self.port.is(Mutant::NoReplay) {
            return Ok(Vec::new());
        }
        Ok(self.tables.effects_after(after))
    }
}

impl SaleBooks for Snapshot {
    async fn find_sale(&self, _: ProductId) -> Result<SaleRecord, DatabaseError> {
        self.port.pause().await;
        Ok(self.tables.sale.clone())
    }

    async fn sum_held(&self, _: ProductId) -> Result<i64, DatabaseError> {
        self.port.pause().await;
        Ok(self.tables.units_held())
    }

    async fn is_pending(&self, _: AdjustmentId) -> Result<bool, DatabaseError> {
        self.port.pause().await;
        Ok(false)
    }

    fn holders_after(
        &self,
        _: ProductId,
        epoch: Epoch,
        seq: Seq,
    ) -> impl Stream<Item = Result<(UserId, Holder), DatabaseError>> + Send {
        let mut holders = self.tables.holders_after(epoch, seq);
        if self.port.is(Mutant::NoAdopt) {
            holders.clear();
        }
        stream::iter(holders.into_iter().map(Ok))
    }
}
