//! `GET /api/orders/{reservation_id}`, what resolves an order, and the locator of both.
//!
//! The locator `?at=<product>.<user>` in a `status_url` lets any edge find an order in Redis that
//! PostgreSQL does not know yet. It is opaque to clients.

use serde::Serialize;
use uuid::Uuid;

use crate::ids::{ProductId, ReservationId, UserId};

/// The body of the answer.
#[derive(Debug, Serialize)]
pub struct OrderView<'a> {
    /// The order.
    pub reservation_id: &'a str,
    /// What was bought.
    pub product_id: i64,
    /// Who bought it.
    pub user_id: i64,
    /// Units.
    pub quantity: i64,
    /// `queued`, `confirmed`, `rejected`, `held`, `paid`, `cancelled`, `expired`.
    pub status: &'a str,
    /// Why it was rejected.
    pub reason: Option<&'a str>,
    /// Place in line.
    pub position: i64,
    /// When it was reserved, RFC 3339; null while queued.
    pub reserved_at: Option<&'a str>,
    /// When it was settled, RFC 3339; null while queued.
    pub settled_at: Option<&'a str>,
    /// Until when a held order may be paid, RFC 3339; null unless it is held.
    pub expires_at: Option<&'a str>,
}

impl OrderView<'_> {
    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}

/// Path and query under which an order can be followed.
pub fn status_url(id: ReservationId, product: ProductId, user: UserId) -> String {
    let (mut text, mut first, mut second) =
        (Uuid::encode_buffer(), itoa::Buffer::new(), itoa::Buffer::new());
    let id = id.0.hyphenated().encode_lower(&mut text);
    let (product, user) = (first.format(product.get()), second.format(user.get()));
    ["/api/orders/", id, "?at=", product, ".", user].concat()
}

/// Reads a locator; `None` when it is not one of ours.
pub fn parse_locator(text: &str) -> Option<(ProductId, UserId)> {
    let (product, user) = text.split_once('.')?;
    let product = ProductId::new(product.parse().ok()?).ok()?;
    let user = UserId::new(user.parse().ok()?).ok()?;
    Some((product, user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_url_carries_a_locator_that_reads_back() {
        let id = ReservationId::parse("0190f5fe-7c00-7a00-8000-000000000001").unwrap();
        let (product, user) = (ProductId::new(1).unwrap(), UserId::new(9).unwrap());
        let url = status_url(id, product, user);
        assert_eq!(url, "/api/orders/0190f5fe-7c00-7a00-8000-000000000001?at=1.9");
        let (_, locator) = url.split_once("?at=").unwrap();
        assert_eq!(parse_locator(locator), Some((product, user)));
        for bad in ["", "1", "1.", "0.1", "a.b", "1.2.3"] {
            assert_eq!(parse_locator(bad), None, "{bad:?}");
        }
    }
}
