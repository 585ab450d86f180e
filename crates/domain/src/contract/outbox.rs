//! One entry of the stream `outbox:{P}`, as `reserve.lua` writes it.
//!
//! Fields: `epoch`, `at` (Redis time, ms), `orders` (users and their holders in turn, joined by
//! `;`: what `buyers:{P}` was given).
//! Invariant: an entry holds exactly the reservations of one call of the script.

use crate::Holder;
use crate::contract::order_message::{OrderBatch, QueuedOrder};
use crate::ids::{Epoch, ProductId, UserId};

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
            "orders" => orders = parse_buyers(value),
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

fn parse_buyers(text: &str) -> Option<Vec<QueuedOrder>> {
    let mut texts = text.split(';');
    std::iter::from_fn(|| Some((texts.next()?, texts.next().unwrap_or_default())))
        .map(|(user, holder)| parse_buyer(user, holder))
        .collect()
}

/// Reads one field of `buyers:{P}`: a user and the holder; `None` when the script wrote neither.
pub fn parse_buyer(user: &str, holder: &str) -> Option<QueuedOrder> {
    let user = UserId::new(user.parse().ok()?).ok()?;
    Some(QueuedOrder::of(user, &Holder::parse(holder)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdempotencyKey, Seq};

    const ID: &str = "0190f5fe-7c00-7a00-8000-000000000001";

    #[test]
    fn an_entry_becomes_the_batch_it_stands_for() {
        let orders = format!("12345;{ID}|2|41;12346;{ID}|1|42|00000000000000ff");
        let fields = [("epoch", "3"), ("at", "1700000000000"), ("orders", orders.as_str())];
        let batch = parse_entry(ProductId::new(1).unwrap(), "5-0", fields).unwrap();
        assert_eq!((batch.epoch, batch.outbox_id.as_str()), (Epoch(3), "5-0"));
        assert_eq!((batch.orders.len(), batch.orders[1].seq), (2, Seq(42)));
        assert_eq!((batch.orders[0].user.get(), batch.orders[0].quantity.units()), (12_345, 2));
        let key = IdempotencyKey::from_hash([0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!((batch.orders[0].key, batch.orders[1].key), (None, Some(key)));
    }

    #[test]
    fn an_entry_the_script_did_not_write_is_refused() {
        let product = ProductId::new(1).unwrap();
        let (odd, none) = (format!("1;{ID}|1|1;2"), format!("1;{ID}|0|1"));
        for orders in ["", "x", "1;2|3", &format!("1;{ID}|1|1|1"), &odd, &none] {
            let fields = [("epoch", "3"), ("at", "1"), ("orders", orders)];
            assert_eq!(parse_entry(product, "1-0", fields), None, "{orders:?}");
        }
        assert_eq!(parse_entry(product, "1-0", [("epoch", "3")]), None);
    }
}
