//! The feed: absolute values of one sale, published by scripts inside Redis.
//!
//! A frame never carries a delta, so a lost or late frame does no harm: readers keep the frame of
//! the highest (epoch, rev). Invariant: (epoch, rev) never goes back for one product.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::ids::{Epoch, ProductId, ReservationId, Rev};
use crate::order::OrderStatus;
use crate::sale::{SaleState, SaleWindow, StoredState};

/// What is known of a sale at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedFrame {
    /// The product.
    pub product: ProductId,
    /// Units PostgreSQL holds.
    pub stock: i64,
    /// Units Redis can still reserve.
    pub available: i64,
    /// What the operator set.
    pub stored_state: StoredState,
    /// When the sale sells.
    pub window: SaleWindow,
    /// Life of the sale's Redis state.
    pub epoch: Epoch,
    /// Revision within the epoch.
    pub rev: Rev,
}

/// An order the frame's transaction settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledOrder {
    /// The order.
    pub id: ReservationId,
    /// Its status now.
    pub status: OrderStatus,
}

/// The orders a frame's transaction settled, unread: hundreds come with each frame, and mostly
/// nobody waits for one.
#[derive(Debug, Clone, Copy)]
pub struct SettledOrders<'a>(Option<&'a RawValue>);

impl SettledOrders<'_> {
    /// Reads them; `None` when any of it is malformed.
    pub fn read(self) -> Option<Vec<SettledOrder>> {
        let json = self.0.map_or("[]", RawValue::get);
        let wire: Vec<(&str, &str)> = serde_json::from_str(json).ok()?;
        let read = |(id, status): &(&str, &str)| {
            Some(SettledOrder {
                id: ReservationId::parse(id)?,
                status: OrderStatus::parse(status)?,
            })
        };
        wire.iter().map(read).collect()
    }
}

impl FeedFrame {
    /// Reads what Pub/Sub delivered, and beside it the orders just settled; `None` for anything
    /// malformed.
    pub fn parse(payload: &[u8]) -> Option<(Self, SettledOrders<'_>)> {
        let wire: WireFrame<'_> = serde_json::from_slice(payload).ok()?;
        let frame = Self {
            product: ProductId::new(wire.product_id).ok()?,
            stock: wire.stock,
            available: wire.available.max(0),
            stored_state: StoredState::parse(wire.state)?,
            window: SaleWindow {
                opens_at_ms: (wire.opens_at > 0).then_some(wire.opens_at),
                closes_at_ms: (wire.closes_at > 0).then_some(wire.closes_at),
            },
            epoch: Epoch(wire.epoch),
            rev: Rev(wire.rev),
        };
        Some((frame, SettledOrders(wire.orders)))
    }

    /// Reads the fields [`super::keys::SALE_FEED_FIELDS`] of `sale:{P}`, in that order; `None`
    /// when the sale is not loaded.
    pub fn from_fields(product: ProductId, fields: &[Option<String>]) -> Option<Self> {
        let [stock, available, state, opens_at, closes_at, epoch, rev] = fields else {
            return None;
        };
        let number = |field: &Option<String>| field.as_deref()?.parse::<i64>().ok();
        let instant = |field: &Option<String>| number(field).filter(|ms| *ms > 0);
        Some(Self {
            product,
            stock: number(stock)?,
            available: number(available)?.max(0),
            stored_state: StoredState::parse(state.as_deref()?)?,
            window: SaleWindow { opens_at_ms: instant(opens_at), closes_at_ms: instant(closes_at) },
            epoch: Epoch(number(epoch)?),
            rev: Rev(number(rev)?),
        })
    }

    /// What orders frames: the later of two is the truth.
    pub fn version(&self) -> (Epoch, Rev) {
        (self.epoch, self.rev)
    }

    /// The state people see at `now_ms`.
    pub fn state_at(&self, now_ms: i64) -> SaleState {
        self.window.state_at(self.stored_state, self.available, now_ms)
    }
}

/// The settled orders of a frame, as `report_stock.lua` embeds them: `[["id","status"],…]`.
pub fn encode_settled(orders: &[SettledOrder]) -> String {
    let mut text = String::with_capacity(2 + orders.len() * 56);
    let mut id = Uuid::encode_buffer();
    text.push('[');
    for order in orders {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str("[\"");
        text.push_str(order.id.0.hyphenated().encode_lower(&mut id));
        text.push_str("\",\"");
        text.push_str(order.status.as_str());
        text.push_str("\"]");
    }
    text.push(']');
    text
}

#[derive(Deserialize)]
struct WireFrame<'a> {
    product_id: i64,
    stock: i64,
    available: i64,
    state: &'a str,
    /// Milliseconds since the Unix epoch; 0 is unbounded.
    opens_at: i64,
    closes_at: i64,
    epoch: i64,
    rev: i64,
    #[serde(default, borrow)]
    orders: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = r#"{"product_id":1,"stock":999,"available":998,"state":"open",
        "opens_at":0,"closes_at":2000,"epoch":2,"rev":7,
        "orders":[["0190f5fe-7c00-7a00-8000-000000000001","confirmed"]]}"#;

    #[test]
    fn a_frame_is_read_with_its_settled_orders() {
        let (frame, settled) = FeedFrame::parse(PAYLOAD.as_bytes()).unwrap();
        assert_eq!((frame.stock, frame.available), (999, 998));
        assert_eq!(frame.version(), (Epoch(2), Rev(7)));
        assert_eq!(frame.state_at(1_999), SaleState::Open);
        assert_eq!(frame.state_at(2_000), SaleState::Closed);
        let text = encode_settled(&settled.read().unwrap());
        assert_eq!(text, r#"[["0190f5fe-7c00-7a00-8000-000000000001","confirmed"]]"#);
        assert_eq!(encode_settled(&[]), "[]");
        for broken in [r#"[["x","confirmed"]]"#, r#"[["0190f5fe-7c00-7a00-8000-000000000001"]]"#] {
            let payload = PAYLOAD.replace(&text, broken);
            let (_, settled) = FeedFrame::parse(payload.as_bytes()).unwrap();
            assert_eq!(settled.read(), None, "{broken}");
        }
    }

    #[test]
    fn a_sale_that_is_not_loaded_has_no_frame() {
        let product = ProductId::new(1).unwrap();
        let mut fields: Vec<Option<String>> =
            ["9", "8", "open", "0", "0", "2", "7"].map(|f| Some(f.to_owned())).into();
        assert_eq!(FeedFrame::from_fields(product, &fields).unwrap().available, 8);
        fields[5] = None;
        assert_eq!(FeedFrame::from_fields(product, &fields), None);
        assert_eq!(FeedFrame::from_fields(product, &[]), None);
    }
}
