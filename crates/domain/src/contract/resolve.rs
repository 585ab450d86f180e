//! `POST /api/orders/{reservation_id}/pay` and `/cancel`: a body that says nothing, read strictly.
//!
//! Invariant: only whitespace between the braces of one JSON object passes; a field is named.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::buy::BuyError;

/// Characters of an unknown field's name that come back in an error body.
const NAME_CHARS_MAX: usize = 64;

/// Checks that a body is an empty JSON object.
///
/// # Errors
/// When it is none, or has a field.
pub fn check_body(body: &[u8]) -> Result<(), BuyError> {
    let fields: BTreeMap<String, IgnoredAny> =
        serde_json::from_slice(body).map_err(|error| BuyError::InvalidJson(error.to_string()))?;
    match fields.into_keys().next() {
        None => Ok(()),
        Some(field) => Err(BuyError::InvalidField {
            field: field.chars().take(NAME_CHARS_MAX).collect(),
            problem: "is not a field of this request".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_object_passes() {
        for fine in ["{}", " { \n } "] {
            assert_eq!(check_body(fine.as_bytes()), Ok(()), "{fine}");
        }
        for bad in ["", "[]", "null", "\"\"", "{} x", "{", "\u{feff}{}"] {
            let refused = check_body(bad.as_bytes());
            assert!(matches!(refused, Err(BuyError::InvalidJson(_))), "{bad:?}: {refused:?}");
        }
        let named = check_body(br#"{"reason":[1]}"#);
        assert!(matches!(named, Err(BuyError::InvalidField { field, .. }) if field == "reason"));
    }
}
