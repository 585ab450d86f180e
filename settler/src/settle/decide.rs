//! Pure decisions of settlement: what is asked, who gets it, and what Redis must be told.
//!
//! Owns no I/O and no clock. Invariant: orders are judged in (product, epoch, seq) order, so that
//! who came first does not depend on how messages were delivered.

use std::collections::{HashMap, HashSet};

use books::effects::{Effect, EffectKind};
use books::ledger::{HolderRow, LockedProduct};
use domain::contract::order_message::{OrderBatch, QueuedOrder};
use domain::{Epoch, ProductId, RejectReason, ReservationId, UserId};

/// One order with what its micro-batch says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleOrder {
    /// The product.
    pub product: ProductId,
    /// Epoch it was reserved in.
    pub epoch: Epoch,
    /// The order.
    pub order: QueuedOrder,
    /// Redis time of the reservation, ms since the Unix epoch.
    pub reserved_at_ms: i64,
}

/// Flattens micro-batches into the order they are judged in, each id once.
pub fn arrange<'a>(batches: impl IntoIterator<Item = &'a OrderBatch>) -> Vec<SettleOrder> {
    let mut orders: Vec<_> = batches
        .into_iter()
        .flat_map(|batch| {
            batch.orders.iter().map(|order| SettleOrder {
                product: batch.product,
                epoch: batch.epoch,
                order: *order,
                reserved_at_ms: batch.reserved_at_ms,
            })
        })
        .collect();
    orders.sort_unstable_by_key(|o| (o.product, o.epoch, o.order.seq, o.order.id));
    let mut seen = HashSet::with_capacity(orders.len());
    orders.retain(|o| seen.insert(o.order.id));
    orders
}

/// Neighbours of one product: all of its orders, where they are arranged.
pub fn by_product(orders: &[SettleOrder]) -> impl Iterator<Item = (ProductId, &[SettleOrder])> {
    let runs = orders.chunk_by(|one, next| one.product == next.product);
    runs.map(|run| (run[0].product, run))
}

/// Units these orders ask of each product.
pub fn units_asked(orders: &[SettleOrder]) -> HashMap<ProductId, i64> {
    let mut asked = HashMap::new();
    for (product, orders) in by_product(orders) {
        *asked.entry(product).or_default() +=
            orders.iter().map(|order| order.order.quantity.units()).sum::<i64>();
    }
    asked
}

/// Whether every product holds all the units asked of it, so that nobody has to be chosen.
pub fn units_suffice(orders: &[SettleOrder], products: &HashMap<ProductId, LockedProduct>) -> bool {
    let asked = units_asked(orders);
    asked.iter().all(|(id, units)| products.get(id).is_some_and(|p| *units <= p.stock))
}

/// What happens to each order when units run short.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Gets its units.
    pub confirmed: Vec<SettleOrder>,
    /// Gets nothing.
    pub rejected: Vec<(SettleOrder, RejectReason)>,
}

/// Judges greedily in arrival order: known orders keep their outcome, a user who holds units gets
/// no more, and units go to whoever comes first and fits into what is left.
pub fn judge(
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
    known: &HashSet<ReservationId>,
    holders: &HashMap<(ProductId, UserId), ReservationId>,
) -> Verdict {
    let mut left: HashMap<ProductId, i64> =
        products.iter().map(|(id, product)| (*id, product.stock)).collect();
    let mut holding: HashSet<(ProductId, UserId)> = holders.keys().copied().collect();
    let mut verdict = Verdict::default();
    for order in orders {
        if known.contains(&order.order.id) {
            continue;
        }
        let who = (order.product, order.order.user);
        let units = order.order.quantity.units();
        let left = left.entry(order.product).or_default();
        if holding.contains(&who) {
            verdict.rejected.push((*order, RejectReason::AlreadyPurchased));
        } else if units > *left {
            verdict.rejected.push((*order, RejectReason::OutOfStock));
        } else {
            *left -= units;
            holding.insert(who);
            verdict.confirmed.push(*order);
        }
    }
    verdict
}

/// The effects of one transaction, numbered after each product's last.
///
/// A confirmed order of an older epoch is adopted: Redis may have lost it. An order that holds
/// nothing is voided. Where another order of its user holds units, that one is adopted after it:
/// the void frees the user's place in Redis, which belongs to the holder.
pub fn effects_of(
    confirmed: &[SettleOrder],
    voided: &[SettleOrder],
    holders: &[HolderRow],
    products: &HashMap<ProductId, LockedProduct>,
) -> Vec<Effect> {
    let adopted = by_product(confirmed).flat_map(|(product, orders)| {
        let epoch = products.get(&product).map_or(Epoch(0), |product| product.epoch);
        orders.iter().filter(move |o| o.epoch < epoch).map(move |o| (product, o.order))
    });
    let voided = voided.iter().map(|o| (o.product, EffectKind::Void(o.order)));
    let restored = holders.iter().map(|holder| (holder.product, holder.order));
    let mut next: HashMap<ProductId, i64> =
        products.iter().map(|(id, product)| (*id, product.effect_seq)).collect();
    adopted
        .map(|(product, order)| (product, EffectKind::Adopt(order)))
        .chain(voided)
        .chain(restored.map(|(product, order)| (product, EffectKind::Adopt(order))))
        .map(|(product, kind)| {
            let n = next.entry(product).or_default();
            *n += 1;
            Effect { product, n: *n, kind }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::{Quantity, Seq};

    use super::*;

    fn product(id: i64) -> ProductId {
        ProductId::new(id).unwrap()
    }

    fn order(id: u128, user: i64, quantity: i64, epoch: i64, seq: i64) -> SettleOrder {
        SettleOrder {
            product: product(1),
            epoch: Epoch(epoch),
            order: QueuedOrder {
                id: ReservationId(uuid::Uuid::from_u128(id)),
                user: UserId::new(user).unwrap(),
                quantity: Quantity::new(quantity).unwrap(),
                seq: Seq(seq),
                key: None,
            },
            reserved_at_ms: 0,
        }
    }

    fn products(stock: i64, epoch: i64, effect_seq: i64) -> HashMap<ProductId, LockedProduct> {
        HashMap::from([(
            product(1),
            LockedProduct { stock, epoch: Epoch(epoch), effect_seq, hold_seconds: 0 },
        )])
    }

    #[test]
    fn copies_of_one_order_are_judged_once_and_in_arrival_order() {
        let batch = |epoch, orders: &[SettleOrder]| OrderBatch {
            outbox_id: String::new(),
            product: product(1),
            epoch: Epoch(epoch),
            reserved_at_ms: 0,
            orders: orders.iter().map(|o| o.order).collect(),
        };
        let (first, second, later) =
            (order(1, 1, 1, 1, 1), order(2, 2, 1, 1, 2), order(3, 3, 1, 2, 1));
        let arranged = arrange(&[batch(2, &[later]), batch(1, &[second, first, second])]);
        assert_eq!(arranged, [first, second, later]);
    }

    #[test]
    fn the_first_to_arrive_get_what_is_left() {
        let orders = [
            order(1, 1, 2, 1, 1),
            order(2, 2, 2, 1, 2),
            order(3, 3, 1, 1, 3),
            order(4, 3, 1, 1, 4),
        ];
        assert!(!units_suffice(&orders, &products(3, 1, 0)));
        assert!(units_suffice(&orders, &products(6, 1, 0)));
        let verdict = judge(&orders, &products(3, 1, 0), &HashSet::new(), &HashMap::new());
        assert_eq!(verdict.confirmed, [orders[0], orders[2]]);
        assert_eq!(
            verdict.rejected,
            [(orders[1], RejectReason::OutOfStock), (orders[3], RejectReason::AlreadyPurchased)]
        );
    }

    #[test]
    fn a_known_order_keeps_its_outcome_and_takes_nothing() {
        let orders = [order(1, 1, 1, 1, 1), order(2, 2, 1, 1, 2)];
        let known = HashSet::from([orders[0].order.id]);
        let holders = HashMap::from([((product(1), orders[0].order.user), orders[0].order.id)]);
        let verdict = judge(&orders, &products(1, 1, 0), &known, &holders);
        assert_eq!(verdict, Verdict { confirmed: vec![orders[1]], rejected: vec![] });
    }

    #[test]
    fn a_product_nobody_locked_never_suffices() {
        assert!(!units_suffice(&[order(1, 1, 1, 1, 1)], &HashMap::new()));
    }

    #[test]
    fn orders_of_this_epoch_need_no_effect() {
        assert!(effects_of(&[order(1, 1, 1, 2, 1)], &[], &[], &products(9, 2, 5)).is_empty());
    }

    #[test]
    fn a_late_order_is_adopted_and_its_rival_gives_way_first() {
        let late = order(1, 1, 1, 1, 9);
        let rival = order(2, 7, 1, 2, 1);
        let holder = HolderRow { product: product(1), order: order(3, 7, 1, 1, 8).order };
        let effects = effects_of(&[late], &[rival], &[holder], &products(9, 2, 5));
        let told: Vec<_> = effects.iter().map(|e| (e.n, e.kind)).collect();
        assert_eq!(
            told,
            [
                (6, EffectKind::Adopt(late.order)),
                (7, EffectKind::Void(rival.order)),
                (8, EffectKind::Adopt(holder.order)),
            ]
        );
    }
}
