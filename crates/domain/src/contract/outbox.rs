//! One entry of the stream `outbox:{P}`, as `reserve.lua` writes it.
//!
//! Fields: `epoch`, `at` (Redis time, ms), `orders` (`id|user|quantity|seq`, and `|key`
//! where the buyer sent an idempotency key, joined by `;`).
//! Invariant: an entry holds exactly the reservations of one call of the script.

use crate::contract::order_message::{OrderBatch, QueuedOrder};
use crate::ids::{Epoch, IdempotencyKey, ProductId, Quantity, ReservationId, Seq, UserId};

/// Reads an entry's fields; `None` when it is not one the script wrote.
pub fn parse_entry<'a>(
    product: ProductId,
    outbox_id: &str,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<OrderBatch> {
    let (mut epoch, mut at, mut orders) = (None, None, None);
    for (name, value) in fields {
        match name {
            "epoch" => epoch = value.parse().ok(),
            "at" => at = value.parse().ok(),
            "orders" => orders = value.split(';').map(parse_order).collect::<Option<Vec<_>>>(),
            _ => {}
        }
    }
    Some(OrderBatch {
        outbox_id: outbox_id.to_owned(),
        product,
        epoch: Epoch(epoch?),
        reserved_at_ms: at?,
        orders: orders?,
    })
}

fn parse_order(text: &str) -> Option<QueuedOrder> {
    let mut parts = text.split('|');
    let order = QueuedOrder {
        id: ReservationId::parse(parts.next()?)?,
        user: UserId::new(parts.next()?.parse().ok()?).ok()?,
        quantity: Quantity::new(parts.next()?.parse().ok()?).ok()?,
        seq: Seq(parts.next()?.parse().ok()?),
        key: match parts.next() {
            Some(key) => Some(IdempotencyKey::parse(key)?),
            None => None,
        },
    };
    parts.next().is_none().then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190f5fe-7c00-7a00-8000-000000000001";

    #[test]
    fn an_entry_becomes_the_batch_it_stands_for() {
        let orders = format!("{ID}|12345|2|41;{ID}|12346|1|42|00000000000000ff");
        let fields = [("epoch", "3"), ("at", "1700000000000"), ("orders", orders.as_str())];
        let batch = parse_entry(ProductId::new(1).unwrap(), "5-0", fields).unwrap();
        assert_eq!((batch.epoch, batch.outbox_id.as_str()), (Epoch(3), "5-0"));
        assert_eq!((batch.orders.len(), batch.orders[1].seq), (2, Seq(42)));
        let key = IdempotencyKey::from_hash([0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!((batch.orders[0].key, batch.orders[1].key), (None, Some(key)));
    }

    #[test]
    fn an_entry_the_script_did_not_write_is_refused() {
        let product = ProductId::new(1).unwrap();
        for orders in ["", "x", "1|2|3", &format!("{ID}|1|1|1|1"), &format!("{ID}|0|1|1")] {
            let fields = [("epoch", "3"), ("at", "1"), ("orders", orders)];
            assert_eq!(parse_entry(product, "1-0", fields), None, "{orders:?}");
        }
        assert_eq!(parse_entry(product, "1-0", [("epoch", "3")]), None);
    }
}
