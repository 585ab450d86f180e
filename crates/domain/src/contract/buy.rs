//! `POST /api/buy`: the request body, read strictly, and the `202` answer.
//!
//! Invariant: a body that is not one JSON object is `InvalidJson`; a JSON object with a wrong,
//! missing, or unknown field is `InvalidField` naming it. Nothing is coerced.

use super::strict::{self, BodyError, Value};
use crate::ids::{ProductId, Quantity, UserId};

/// One press of Buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuyRequest {
    /// Who buys.
    pub user: UserId,
    /// What.
    pub product: ProductId,
    /// How many units; one when the body names none.
    pub quantity: Quantity,
}

impl BuyRequest {
    /// Reads a body of at most [`strict::BODY_BYTES_MAX`] bytes; a valid one is under 100.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let [user, product, quantity] = strict::read(body, &["user_id", "product_id", "quantity"])?;
        let user = id("user_id", user.as_ref(), UserId::new)?;
        let product = id("product_id", product.as_ref(), ProductId::new)?;
        let quantity = match quantity {
            None => Quantity::ONE,
            Some(value) => id("quantity", Some(&value), Quantity::new)?,
        };
        Ok(Self { user, product, quantity })
    }
}

fn id<T>(
    field: &str,
    value: Option<&Value>,
    parse: fn(i64) -> Result<T, crate::ids::IdError>,
) -> Result<T, BodyError> {
    let number = strict::integer(field, value)?;
    parse(number).map_err(|error| BodyError::field(field, error.to_string()))
}

/// The body of a `202`: the order is queued, exactly one outcome will be recorded for its id.
#[derive(Debug)]
pub struct Queued<'a> {
    /// The id to follow the order by.
    pub reservation_id: &'a str,
    /// What was bought.
    pub product_id: i64,
    /// How many units.
    pub quantity: i64,
    /// Place in line, from 1.
    pub position: i64,
    /// Units that could still be reserved when this one was.
    pub available: i64,
    /// Where to follow the order; also in `Location`.
    pub status_url: &'a str,
    /// Whether this repeats an earlier answer.
    pub replayed: bool,
}

impl Queued<'_> {
    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let plain = |text: &str| !text.contains(['"', '\\', '\n']);
        debug_assert!(plain(self.reservation_id) && plain(self.status_url));
        let [mut product, mut quantity, mut position, mut available] = [itoa::Buffer::new(); 4];
        // The most frequent body of all: nothing in it needs an escape, so it is put together.
        let parts = [
            r#"{"status":"queued","reservation_id":""#,
            self.reservation_id,
            r#"","product_id":"#,
            product.format(self.product_id),
            r#","quantity":"#,
            quantity.format(self.quantity),
            r#","position":"#,
            position.format(self.position),
            r#","available":"#,
            available.format(self.available),
            r#","status_url":""#,
            self.status_url,
            if self.replayed { r#"","replayed":true}"# } else { r#"","replayed":false}"# },
        ];
        parts.concat().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn field_of(body: &str) -> String {
        match BuyRequest::parse(body.as_bytes()) {
            Err(BodyError::InvalidField { field, .. }) => field,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn a_valid_body_is_read_and_quantity_defaults_to_one() {
        let request = BuyRequest::parse(br#" {"product_id":1,"user_id":9223372036854775807} "#);
        let request = request.unwrap();
        assert_eq!((request.user.get(), request.quantity.units()), (i64::MAX, 1));
        let three = BuyRequest::parse(br#"{"user_id":1,"product_id":2,"quantity":3}"#).unwrap();
        assert_eq!((three.product.get(), three.quantity.units()), (2, 3));
    }

    #[test]
    fn what_is_not_one_json_object_is_invalid_json() {
        let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(900), "]".repeat(900));
        let cases: [&[u8]; 15] = [
            b"",
            b"{",
            b"[]",
            b"\"x\"",
            b"null",
            b"1",
            b"{\"user_id\":1,\"product_id\":1} x",
            b"{\"user_id\":1,\"user_id\":1,\"product_id\":1}",
            b"{\"user_id\":NaN,\"product_id\":1}",
            b"{\"user_id\":1,\"product_id\":\xff}",
            b"\xef\xbb\xbf{\"user_id\":1,\"product_id\":1}",
            b"{\"user_id\":\"\\ud800\",\"product_id\":1}",
            b"{\"user_id\":1,\"product_id\":1,}",
            b"{\"user_id\":01,\"product_id\":1}",
            deep.as_bytes(),
        ];
        for (number, body) in cases.iter().enumerate() {
            let result = BuyRequest::parse(body);
            assert!(matches!(result, Err(BodyError::InvalidJson(_))), "case {number}: {result:?}");
        }
    }

    #[test]
    fn the_answer_is_the_json_it_says() {
        let id = "0190f5fe-7c00-7a00-8000-000000000001";
        let mut answer = Queued {
            reservation_id: id,
            product_id: 1,
            quantity: 2,
            position: i64::MAX,
            available: 0,
            status_url: "/api/orders/x?at=1.5",
            replayed: false,
        };
        for replayed in [false, true] {
            answer.replayed = replayed;
            let json: serde_json::Value = serde_json::from_slice(&answer.to_json()).unwrap();
            let expected = serde_json::json!({
                "status": "queued", "reservation_id": id, "product_id": 1, "quantity": 2,
                "position": i64::MAX, "available": 0, "status_url": "/api/orders/x?at=1.5",
                "replayed": replayed,
            });
            assert_eq!(json, expected);
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for bad in ["\"1\"", "1.5", "1e0", "-1", "0", "9223372036854775808", "null", "true", "{}"] {
            assert_eq!(field_of(&format!(r#"{{"user_id":{bad},"product_id":1}}"#)), "user_id");
            assert_eq!(field_of(&format!(r#"{{"user_id":1,"product_id":{bad}}}"#)), "product_id");
            let quantity = format!(r#"{{"user_id":1,"product_id":1,"quantity":{bad}}}"#);
            assert_eq!(field_of(&quantity), "quantity", "{bad}");
        }
        assert_eq!(field_of(r#"{"product_id":1}"#), "user_id");
        assert_eq!(field_of(r#"{"user_id":1}"#), "product_id");
        assert_eq!(field_of(r#"{"user_id":1,"product_id":1,"coupon":1}"#), "coupon");
        assert_eq!(field_of(r#"{"user_id":1,"product_id":1,"quantity":1000001}"#), "quantity");
    }
}
