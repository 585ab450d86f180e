//! Holds in the simulator: who pays, cancels and lets expire, over the model of the tables.
//!
//! What decides is `books::holds`, the code of the programs; here are its statements on the model,
//! and the short loops around it. Invariant: nothing is resolved once all is calm, so that the rest
//! can be sold.

use std::collections::HashMap;

use books::effects::{Effect, EffectKind, Effects, StockVersion};
use books::holds::{self, HoldLedger, Reservation, Resolved, Return};
use books::ledger::{HolderRow, LockedProduct};
use domain::contract::keys;
use domain::contract::order_message::QueuedOrder;
use domain::{Epoch, Holder, OrderStatus, ProductId, ReservationId, UserId};
use service::postgres::DatabaseError;
use service::redis_pool::RedisCalls;

use crate::actors::USERS;
use crate::ledger::Transaction;
use crate::mutant::Mutant;
use crate::port::{Port, World};
use crate::tables::Tables;

/// Orders one transaction expires at most.
const EXPIRED_MAX: usize = 3;

impl HoldLedger for Transaction {
    async fn pay_order(&self, id: ReservationId) -> Result<Option<StockVersion>, DatabaseError> {
        // One statement waits for whoever holds the row; here for whoever holds the product.
        self.lock().await;
        self.statement(|tables| {
            let row = tables.orders.get_mut(&id).filter(|row| row.status == OrderStatus::Held)?;
            row.status = OrderStatus::Paid;
            Some(stock_of(tables))
        })
        .await
    }

    async fn find_hold(
        &self,
        id: ReservationId,
    ) -> Result<Option<(ProductId, OrderStatus)>, DatabaseError> {
        self.statement(|tables| tables.orders.get(&id).map(|row| (tables.sale.product, row.status)))
            .await
    }

    async fn lock_products(
        &self,
        _: &[ProductId],
    ) -> Result<HashMap<ProductId, LockedProduct>, DatabaseError> {
        Ok(self.lock().await)
    }

    async fn release_held(
        &self,
        ids: &[ReservationId],
        outcome: OrderStatus,
    ) -> Result<Vec<HolderRow>, DatabaseError> {
        let unguarded = self.is(Mutant::ReleaseTwice);
        self.statement(|tables| {
            let product = tables.sale.product;
            let rows = ids.iter().filter_map(|id| {
                let row = tables.orders.get_mut(id)?;
                if row.status != OrderStatus::Held && !unguarded {
                    return None;
                }
                row.status = outcome;
                Some(HolderRow { product, order: row.order })
            });
            rows.collect()
        })
        .await
    }

    async fn insert_cancelled(&self, reservation: &Reservation) -> Result<bool, DatabaseError> {
        let forgets = self.is(Mutant::NoCancelledRow);
        self.statement(|tables| {
            let Reservation { epoch, order, .. } = *reservation;
            let is_new = !tables.orders.contains_key(&order.id);
            if is_new && !forgets {
                tables.record(order, epoch, OrderStatus::Cancelled);
            }
            is_new
        })
        .await
    }

    async fn find_holder(
        &self,
        _: ProductId,
        user: UserId,
    ) -> Result<Option<QueuedOrder>, DatabaseError> {
        if self.is(Mutant::NoHolderAdopted) {
            return Ok(None);
        }
        self.statement(|tables| tables.holder_of(user).map(|row| row.order)).await
    }

    async fn return_stock(&self, returns: &[Return]) -> Result<Vec<StockVersion>, DatabaseError> {
        self.statement(|tables| {
            for one in returns {
                tables.sale.stock += one.units;
                tables.sale.effect_seq += one.effects;
                tables.sale.version += 1;
            }
            vec![stock_of(tables)]
        })
        .await
    }

    async fn append_effects(&self, effects: &[Effect]) -> Result<(), DatabaseError> {
        let mut effects = effects.to_vec();
        if self.is(Mutant::NoVoid) {
            // It stays numbered, and says nothing.
            for effect in &mut effects {
                if let EffectKind::Void(order) = effect.kind {
                    effect.kind = EffectKind::Adopt(order);
                }
            }
        }
        self.statement(|tables| tables.append(&effects)).await?
    }
}

fn stock_of(tables: &Tables) -> StockVersion {
    let sale = &tables.sale;
    StockVersion { product: sale.product, version: sale.version, stock: sale.stock }
}

/// What somebody wants.
enum Ask {
    Pay(ReservationId),
    /// A settled order.
    Cancel(ReservationId),
    /// Whatever Redis knows of this user.
    CancelOf(UserId),
}

fn ask(world: &mut World) -> Option<Ask> {
    if world.calm {
        return None;
    }
    let held = held_orders(&world.database.committed);
    match world.dice.u8(..8) {
        0 => world.dice.choice(held).map(Ask::Pay),
        1 | 2 => world.dice.choice(held).map(Ask::Cancel),
        // Mostly somebody whose order is not settled yet: there are few such moments.
        3 | 4 => {
            let orders = &world.database.committed.orders;
            let holders = world.redis.holders(world.redis.primary).into_iter();
            let queued = holders.filter(|(_, holder)| !orders.contains_key(&holder.id));
            let user = world.dice.choice(queued.map(|(user, _)| user).collect::<Vec<_>>())?;
            UserId::new(user).ok().map(Ask::CancelOf)
        }
        5 => UserId::new(world.dice.i64(1..=USERS)).ok().map(Ask::CancelOf),
        _ => None,
    }
}

/// An edge whose buyers pay and cancel.
pub(crate) async fn resolve(port: Port, product: ProductId) {
    let effects = Effects::new(port.clone());
    loop {
        port.rest().await;
        let Some(asked) = port.world(ask) else { continue };
        let resolved = match asked {
            Ask::Pay(id) => pay(&port, id).await,
            Ask::Cancel(id) => cancel(&port, id).await,
            Ask::CancelOf(user) => cancel_found(&port, product, user).await,
        };
        if let Some(Resolved::Now(report)) = resolved {
            // What Redis is not told the leader makes up for.
            let _ = report.tell(&effects, &port).await;
        }
    }
}

fn held_orders(tables: &Tables) -> Vec<ReservationId> {
    let held = tables.orders.values().filter(|row| row.status == OrderStatus::Held);
    held.map(|row| row.order.id).collect()
}

/// `None` when something failed: it is asked again some time.
async fn pay(port: &Port, id: ReservationId) -> Option<Resolved> {
    let transaction = Transaction::begin(port);
    let resolved = holds::pay(&transaction, id).await.ok()?;
    transaction.commit().await.ok().map(|()| resolved)
}

async fn cancel(port: &Port, id: ReservationId) -> Option<Resolved> {
    let transaction = Transaction::begin(port);
    let resolved = holds::cancel(&transaction, id).await.ok()?;
    transaction.commit().await.ok().map(|()| resolved)
}

/// Cancels what Redis knows of a user, as an edge does: PostgreSQL was asked first.
async fn cancel_found(port: &Port, product: ProductId, user: UserId) -> Option<Resolved> {
    let mut find = redis::cmd("HGET");
    find.arg(keys::buyers(product)).arg(user.get());
    let holder: Option<String> = redis::from_redis_value(port.query(&find).await.ok()?).ok()?;
    let Holder { id, quantity, seq, key } = Holder::parse(&holder?)?;
    let mut life = redis::cmd("HMGET");
    life.arg(keys::sale(product)).arg(&keys::SALE_LIFE_FIELDS);
    let life: Vec<Option<String>> = redis::from_redis_value(port.query(&life).await.ok()?).ok()?;
    let epoch = Epoch(life.into_iter().nth(1)??.parse().ok()?);
    let reservation =
        Reservation { product, epoch, order: QueuedOrder { id, user, quantity, seq, key } };
    let transaction = Transaction::begin(port);
    let resolved = holds::cancel_queued(&transaction, &reservation).await.ok()?;
    transaction.commit().await.ok().map(|()| resolved)
}

/// A settler that lets expire, when it leads or believes so: any held order may be due.
pub(crate) async fn expire(port: Port) {
    let effects = Effects::new(port.clone());
    loop {
        port.rest().await;
        let due = port.world(|world| {
            if world.calm || world.dice.u8(..12) > 0 {
                return Vec::new();
            }
            let product = world.database.committed.sale.product;
            let mut held = held_orders(&world.database.committed);
            world.dice.shuffle(&mut held);
            held.truncate(EXPIRED_MAX);
            held.into_iter().map(|id| (id, product)).collect()
        });
        if due.is_empty() {
            continue;
        }
        let transaction = Transaction::begin(&port);
        let Ok(reports) = holds::expire(&transaction, &due).await else { continue };
        if transaction.commit().await.is_ok() {
            for report in reports {
                let _ = report.tell(&effects, &port).await;
            }
        }
    }
}
