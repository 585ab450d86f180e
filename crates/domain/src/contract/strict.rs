//! Reads a request body that must be one JSON object with known fields, strictly.
//!
//! Owns what every such body shares; leaves the meaning of fields to the requests.
//! Invariant: a body that is not one JSON object is `InvalidJson`; a JSON object with an unknown
//! field is `InvalidField` naming it. Nothing is coerced, and no value is lost silently.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The largest body accepted, in bytes.
pub const BODY_BYTES_MAX: usize = 4096;

/// Why a body is not the request it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
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

impl BodyError {
    /// A field that is not valid.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), problem: problem.into() }
    }
}

/// A field's value, as far as any request needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole number that fits an `i64`.
    Integer(i64),
    /// A string.
    Text(String),
    /// `null`
    Null,
    /// Anything else.
    Other,
}

/// Reads the fields `names` of a body, in that order; those that are absent are `None`.
///
/// # Errors
/// See [`BodyError`].
pub fn read<const N: usize>(
    body: &[u8],
    names: &[&str; N],
) -> Result<[Option<Value>; N], BodyError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = ObjectSeed { names }.deserialize(&mut json).and_then(|read| {
        json.end()?;
        Ok(read)
    });
    let (fields, unknown) = read.map_err(|error| BodyError::InvalidJson(error.to_string()))?;
    match unknown {
        Some(field) => Err(BodyError::field(field, "is not a field of this request")),
        None => Ok(fields),
    }
}

/// Checks a body that has nothing to say: nothing, or an object without fields.
///
/// # Errors
/// See [`BodyError`].
pub fn check_empty(body: &[u8]) -> Result<(), BodyError> {
    if body.is_empty() { Ok(()) } else { read::<0>(body, &[]).map(|_| ()) }
}

/// A whole number that must be there.
///
/// # Errors
/// See [`BodyError`].
pub fn integer(field: &str, value: Option<&Value>) -> Result<i64, BodyError> {
    match value {
        Some(Value::Integer(number)) => Ok(*number),
        Some(_) => Err(BodyError::field(field, "must be a whole number")),
        None => Err(BodyError::field(field, "is missing")),
    }
}

/// A string that must be there.
///
/// # Errors
/// See [`BodyError`].
pub fn text(field: &str, value: Option<Value>) -> Result<String, BodyError> {
    match value {
        Some(Value::Text(text)) => Ok(text),
        Some(_) => Err(BodyError::field(field, "must be a string")),
        None => Err(BodyError::field(field, "is missing")),
    }
}

type Fields<const N: usize> = ([Option<Value>; N], Option<String>);

struct ObjectSeed<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for ObjectSeed<'_, N> {
    type Value = Fields<N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<N>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for ObjectSeed<'_, N> {
    type Value = Fields<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<N>, A::Error> {
        let mut fields = [const { None }; N];
        let mut unknown = None;
        while let Some(name) = map.next_key_seed(NameSeed { names: self.names })? {
            let value = map.next_value_seed(ValueSeed)?;
            match name {
                // RFC 8259 leaves duplicate names to the reader; guessing which one counts is
                // worse.
                Name::Known(at) if fields[at].is_some() => {
                    return Err(A::Error::custom("duplicate field name"));
                }
                Name::Known(at) => fields[at] = Some(value),
                Name::Unknown(name) => drop(unknown.get_or_insert(name)),
            }
        }
        Ok((fields, unknown))
    }
}

enum Name {
    Known(usize),
    Unknown(String),
}

struct NameSeed<'n> {
    names: &'n [&'n str],
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match self.names.iter().position(|known| *known == name) {
            Some(at) => Name::Known(at),
            // A hostile name is cut: it comes back in the error body.
            None => Name::Unknown(name.chars().take(64).collect()),
        })
    }
}

struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    // Walks by recursion, unlike `IgnoredAny`, so that serde_json's depth limit of 128 applies.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_key_seed(NameSeed { names: &[] })?.is_some() {
            map.next_value_seed(Self)?;
        }
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_nothing_to_say_says_nothing() {
        for fine in ["", "{}", " { \n } "] {
            assert_eq!(check_empty(fine.as_bytes()), Ok(()), "{fine}");
        }
        for bad in ["[]", "null", "\"\"", "{} x", "{", "\u{feff}{}"] {
            let refused = check_empty(bad.as_bytes());
            assert!(matches!(refused, Err(BodyError::InvalidJson(_))), "{bad:?}: {refused:?}");
        }
        let named = check_empty(br#"{"reason":[1]}"#);
        assert_eq!(named, Err(BodyError::field("reason", "is not a field of this request")));
    }

    #[test]
    fn fields_are_read_in_the_order_they_are_asked_for() {
        let read = read(br#"{"b":null,"a":"x","c":[1,{"a":2}]}"#, &["a", "b", "c", "d"]).unwrap();
        let expected = [Some(Value::Text("x".into())), Some(Value::Null), Some(Value::Other), None];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_was_not_asked_for_and_what_is_no_object_is_refused() {
        let error = |body: &str| read(body.as_bytes(), &["a"]).unwrap_err();
        assert_eq!(
            error(r#"{"a":1,"z":2}"#),
            BodyError::field("z", "is not a field of this request")
        );
        for bad in ["", "[]", "null", r#"{"a":1,"a":1}"#, r#"{"a":1} x"#, r#"{"a":1e999}"#] {
            assert!(matches!(error(bad), BodyError::InvalidJson(_)), "{bad}");
        }
        let missing = integer("a", read(b"{}", &["a"]).unwrap()[0].as_ref()).unwrap_err();
        assert_eq!(missing, BodyError::field("a", "is missing"));
    }
}
