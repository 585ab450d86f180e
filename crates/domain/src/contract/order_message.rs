//! The AMQP body: one message carries the micro-batches that waited together.
//!
//! A settler reads the current version and the one before it and ignores unknown fields, so that
//! edges and settlers can be upgraded in either order.
//! Invariant: what [`decode`] returns is valid throughout; anything else is poison.

use serde::Deserialize;
use uuid::Uuid;

use crate::Holder;
use crate::ids::{Epoch, IdempotencyKey, ProductId, Quantity, ReservationId, Seq, UserId};

/// The version written.
pub const VERSION: u32 = 1;
/// The oldest version read.
const VERSION_MIN: u32 = 1;
/// Bytes of an order in a message, with long numbers and without a key.
const ORDER_BYTES: usize = 128;
/// The most orders one message may carry. Edges stay far below; more is poison.
pub const ORDERS_MAX: usize = 65_536;

/// Reservations of one product that one call of `reserve.lua` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBatch {
    /// Entry of `outbox:{P}`, deleted once confirmed. Empty when the entry's id was lost.
    pub outbox_id: String,
    /// The product.
    pub product: ProductId,
    /// Epoch the reservations were made in.
    pub epoch: Epoch,
    /// Redis time of the call, milliseconds since the Unix epoch.
    pub reserved_at_ms: i64,
    /// The orders, in seq order.
    pub orders: Vec<QueuedOrder>,
}

/// One order on its way to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedOrder {
    /// Reservation id, and primary key of the order.
    pub id: ReservationId,
    /// Who buys.
    pub user: UserId,
    /// Units.
    pub quantity: Quantity,
    /// Place in line.
    pub seq: Seq,
    /// The idempotency key it was made under; not in the message when there is none.
    pub key: Option<IdempotencyKey>,
}

impl QueuedOrder {
    /// The order of a user and the reservation that stands for it.
    pub const fn of(user: UserId, holder: &Holder) -> Self {
        let Holder { id, quantity, seq, key } = *holder;
        Self { id, user, quantity, seq, key }
    }

    /// What Redis has of it beside the user.
    pub const fn holder(&self) -> Holder {
        Holder { id: self.id, quantity: self.quantity, seq: self.seq, key: self.key }
    }
}

/// Why a message can never be settled.
#[derive(Debug, thiserror::Error)]
pub enum PoisonError {
    /// Not the JSON of an order message.
    #[error("not an order message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer or a long gone edge.
    #[error("version {0} is not supported")]
    Version(u32),
    /// A value no edge writes.
    #[error("{0} out of range")]
    OutOfRange(&'static str),
}

#[derive(Deserialize)]
struct WireMessage {
    v: u32,
    #[serde(default)]
    batches: Vec<WireBatch>,
}

#[derive(Deserialize)]
struct WireBatch {
    #[serde(default)]
    outbox_id: String,
    product_id: i64,
    epoch: i64,
    reserved_at_ms: i64,
    orders: Vec<WireOrder>,
}

#[derive(Deserialize)]
struct WireOrder {
    id: Uuid,
    user_id: i64,
    quantity: i64,
    seq: i64,
    #[serde(default)]
    key: Option<String>,
}

/// Writes a message of these batches.
pub fn encode<'a>(batches: impl IntoIterator<Item = &'a OrderBatch>) -> Vec<u8> {
    let mut body = format!(r#"{{"v":{VERSION},"batches":["#).into_bytes();
    for (at, batch) in batches.into_iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        encode_batch(&mut body, batch);
    }
    body.extend(b"]}");
    body
}

/// Put together by hand, as every order passes here: no value but the entry's id, which is Redis's,
/// could need an escape.
fn encode_batch(body: &mut Vec<u8>, batch: &OrderBatch) {
    body.extend(br#"{"outbox_id":"#);
    serde_json::to_writer(&mut *body, &batch.outbox_id).expect("a text always serialises");
    let [mut product, mut epoch, mut reserved_at] = [itoa::Buffer::new(); 3];
    let parts = [
        r#","product_id":"#,
        product.format(batch.product.get()),
        r#","epoch":"#,
        epoch.format(batch.epoch.0),
        r#","reserved_at_ms":"#,
        reserved_at.format(batch.reserved_at_ms),
        r#","orders":["#,
    ];
    parts.iter().for_each(|part| body.extend(part.as_bytes()));
    body.reserve(batch.orders.len() * ORDER_BYTES);
    for (at, order) in batch.orders.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        encode_order(body, order);
    }
    body.extend(b"]}");
}

fn encode_order(body: &mut Vec<u8>, order: &QueuedOrder) {
    let mut id = Uuid::encode_buffer();
    let [mut user, mut quantity, mut seq] = [itoa::Buffer::new(); 3];
    let key = order.key.map(|key| format!(r#","key":"{key}""#));
    let parts = [
        r#"{"id":""#,
        order.id.0.hyphenated().encode_lower(&mut id),
        r#"","user_id":"#,
        user.format(order.user.get()),
        r#","quantity":"#,
        quantity.format(order.quantity.units()),
        r#","seq":"#,
        seq.format(order.seq.0),
        key.as_deref().unwrap_or_default(),
        "}",
    ];
    parts.iter().for_each(|part| body.extend(part.as_bytes()));
}

/// Reads a message; whatever is not valid throughout is poison as a whole.
pub fn decode(body: &[u8]) -> Result<Vec<OrderBatch>, PoisonError> {
    let message: WireMessage = serde_json::from_slice(body)?;
    if !(VERSION_MIN..=VERSION).contains(&message.v) {
        return Err(PoisonError::Version(message.v));
    }
    let orders: usize = message.batches.iter().map(|batch| batch.orders.len()).sum();
    if orders == 0 || orders > ORDERS_MAX {
        return Err(PoisonError::OutOfRange("number of orders"));
    }
    message.batches.into_iter().map(OrderBatch::try_from).collect()
}

impl TryFrom<WireBatch> for OrderBatch {
    type Error = PoisonError;

    fn try_from(wire: WireBatch) -> Result<Self, PoisonError> {
        if wire.epoch < 1 {
            return Err(PoisonError::OutOfRange("epoch"));
        }
        // PostgreSQL's timestamptz ends in the year 294276; this is the year 9999.
        if !(0..=253_402_300_799_999).contains(&wire.reserved_at_ms) {
            return Err(PoisonError::OutOfRange("reserved_at_ms"));
        }
        Ok(Self {
            outbox_id: wire.outbox_id,
            product: ProductId::new(wire.product_id)
                .map_err(|_| PoisonError::OutOfRange("product_id"))?,
            epoch: Epoch(wire.epoch),
            reserved_at_ms: wire.reserved_at_ms,
            orders: wire.orders.into_iter().map(QueuedOrder::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<WireOrder> for QueuedOrder {
    type Error = PoisonError;

    fn try_from(wire: WireOrder) -> Result<Self, PoisonError> {
        if wire.seq < 1 {
            return Err(PoisonError::OutOfRange("seq"));
        }
        Ok(Self {
            id: ReservationId(wire.id),
            user: UserId::new(wire.user_id).map_err(|_| PoisonError::OutOfRange("user_id"))?,
            quantity: Quantity::new(wire.quantity)
                .map_err(|_| PoisonError::OutOfRange("quantity"))?,
            seq: Seq(wire.seq),
            key: wire.key.as_deref().map(parse_key).transpose()?,
        })
    }
}

fn parse_key(text: &str) -> Result<IdempotencyKey, PoisonError> {
    IdempotencyKey::parse(text).ok_or(PoisonError::OutOfRange("key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> OrderBatch {
        OrderBatch {
            outbox_id: "1-0".into(),
            product: ProductId::new(1).unwrap(),
            epoch: Epoch(3),
            reserved_at_ms: 1_700_000_000_000,
            orders: vec![QueuedOrder {
                id: ReservationId(Uuid::from_u128(7)),
                user: UserId::new(12_345).unwrap(),
                quantity: Quantity::ONE,
                seq: Seq(42),
                key: None,
            }],
        }
    }

    #[test]
    fn a_message_survives_the_round_trip() {
        let mut two = batch();
        two.outbox_id = String::from("\"\\\n");
        two.orders.push(two.orders[0]);
        assert_eq!(decode(&encode([&two, &batch()])).unwrap(), vec![two, batch()]);
    }

    #[test]
    fn a_message_is_the_json_it_says() {
        let text = String::from_utf8(encode([&batch()])).unwrap();
        let expected = concat!(
            r#"{"v":1,"batches":[{"outbox_id":"1-0","product_id":1,"epoch":3,"#,
            r#""reserved_at_ms":1700000000000,"orders":["#,
            r#"{"id":"00000000-0000-0000-0000-000000000007","user_id":12345,"#,
            r#""quantity":1,"seq":42}]}]}"#,
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_key_travels_with_its_order_and_costs_nothing_where_there_is_none() {
        let mut keyed = batch();
        keyed.orders[0].key = Some(IdempotencyKey::from_hash([0, 0, 0, 0, 0, 0, 0, 255]));
        let text = String::from_utf8(encode([&keyed])).unwrap();
        assert!(text.contains(r#""seq":42,"key":"00000000000000ff"}"#), "{text}");
        assert_eq!(decode(text.as_bytes()).unwrap(), vec![keyed]);
        assert!(decode(text.replace("00ff", "00fx").as_bytes()).is_err());
        assert!(!String::from_utf8(encode([&batch()])).unwrap().contains("key"));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let text = String::from_utf8(encode([&batch()])).unwrap();
        let newer = text.replacen('{', r#"{"colour":"red","#, 1);
        assert_eq!(decode(newer.as_bytes()).unwrap(), vec![batch()]);
    }

    #[test]
    fn what_no_edge_writes_is_poison() {
        let text = String::from_utf8(encode([&batch()])).unwrap();
        let broken = [
            ("\"v\":1", "\"v\":2"),
            ("\"epoch\":3", "\"epoch\":0"),
            ("\"quantity\":1", "\"quantity\":-100"),
            ("\"user_id\":12345", "\"user_id\":0"),
            ("\"seq\":42", "\"seq\":0"),
            ("\"product_id\":1", "\"product_id\":-1"),
            ("\"reserved_at_ms\":1700000000000", "\"reserved_at_ms\":-1"),
            ("\"id\":\"0", "\"id\":\"x"),
        ];
        for (from, to) in broken {
            let body = text.replacen(from, to, 1);
            assert_ne!(body, text, "{from} is not in the message");
            assert!(decode(body.as_bytes()).is_err(), "{to}");
        }
        for body in ["", "[]", "{\"v\":1}", "{\"v\":1,\"batches\":[]}", "\u{feff}{}"] {
            assert!(decode(body.as_bytes()).is_err(), "{body:?}");
        }
    }
}
