//! `POST /api/buy`: the request body, read strictly, and the `202` answer.
//!
//! Invariant: a body that is not one JSON object is `InvalidJson`; a JSON object with a wrong,
//! missing, or unknown field is `InvalidField` naming it. Nothing is coerced.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::ids::{ProductId, Quantity, UserId};

/// The largest body accepted, in bytes; a valid one is under 100.
pub const BODY_BYTES_MAX: usize = 4096;

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

/// Why a body is not a [`BuyRequest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuyError {
    /// Not one JSON object in UTF-8.
    #[error("{0}")]
    InvalidJson(String),
    /// A field is missing, unknown, or has a value it cannot have.
    #[error("{field} {problem}")]
    InvalidField {
        /// The field's name as the body or the contract spells it.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl BuyRequest {
    /// Reads a body of at most [`BODY_BYTES_MAX`] bytes.
    pub fn parse(body: &[u8]) -> Result<Self, BuyError> {
        let fields: Fields =
            serde_json::from_slice(body).map_err(|e| BuyError::InvalidJson(e.to_string()))?;
        if let Some(field) = fields.unknown {
            return Err(invalid(&field, "is not a field of this request"));
        }
        let user = id("user_id", fields.user_id, UserId::new)?;
        let product = id("product_id", fields.product_id, ProductId::new)?;
        let quantity = match fields.quantity {
            None => Quantity::ONE,
            value => id("quantity", value, Quantity::new)?,
        };
        Ok(Self { user, product, quantity })
    }
}

fn invalid(field: &str, problem: &str) -> BuyError {
    BuyError::InvalidField { field: field.to_owned(), problem: problem.to_owned() }
}

fn id<T>(
    field: &str,
    value: Option<Scalar>,
    parse: fn(i64) -> Result<T, crate::ids::IdError>,
) -> Result<T, BuyError> {
    match value {
        None => Err(invalid(field, "is missing")),
        Some(Scalar::Integer(number)) => {
            parse(number).map_err(|error| invalid(field, &error.to_string()))
        }
        Some(Scalar::Other) => Err(invalid(field, "must be a whole number")),
    }
}

/// A field's value: a whole number that fits an `i64`, or anything else.
#[derive(Clone, Copy)]
enum Scalar {
    Integer(i64),
    Other,
}

#[derive(Default)]
struct Fields {
    user_id: Option<Scalar>,
    product_id: Option<Scalar>,
    quantity: Option<Scalar>,
    unknown: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<Name>()? {
            let value = map.next_value::<Scalar>()?;
            let slot = match name {
                Name::UserId => &mut fields.user_id,
                Name::ProductId => &mut fields.product_id,
                Name::Quantity => &mut fields.quantity,
                Name::Unknown(name) => {
                    fields.unknown.get_or_insert(name);
                    continue;
                }
            };
            // RFC 8259 leaves duplicate names to the reader; guessing which one counts is worse.
            if slot.replace(value).is_some() {
                return Err(A::Error::custom("duplicate field name"));
            }
        }
        Ok(fields)
    }
}

enum Name {
    UserId,
    ProductId,
    Quantity,
    Unknown(String),
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "user_id" => Name::UserId,
                    "product_id" => Name::ProductId,
                    "quantity" => Name::Quantity,
                    // A hostile name is cut: it comes back in the error body.
                    other => Name::Unknown(other.chars().take(64).collect()),
                })
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    // Walks by recursion, unlike `IgnoredAny`, so that serde_json's depth limit of 128 applies.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<Self::Value>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<Name, Scalar>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// The body of a `202`: the order is queued, exactly one outcome will be recorded for its id.
#[derive(Debug, Serialize)]
pub struct Queued<'a> {
    /// Always `queued`.
    pub status: &'static str,
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
        // Enough for the longest ids, so that the frequent answer is written in one allocation.
        let mut json = Vec::with_capacity(384);
        serde_json::to_writer(&mut json, self)
            .expect("a struct of strings and numbers always serialises");
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn field_of(body: &str) -> String {
        match BuyRequest::parse(body.as_bytes()) {
            Err(BuyError::InvalidField { field, .. }) => field,
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
            assert!(matches!(result, Err(BuyError::InvalidJson(_))), "case {number}: {result:?}");
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
