//! JSON Schema (draft 2020-12), as far as `openapi.json` uses it.
//!
//! Invariant: a keyword that is not known here is an error, so nothing in the document goes unheld.

use serde_json::Value;

/// Keywords that only tell people something.
const ANNOTATIONS: [&str; 3] = ["description", "default", "example"];

/// What is wrong with `value`, by place; empty when it fits `schema`. References are looked up in
/// `document`.
pub(crate) fn misfits(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Some(keywords) = schema.as_object() else { return vec![format!("{at}: no schema")] };
    let mut found = Vec::new();
    for (keyword, wanted) in keywords {
        let fits = match keyword.as_str() {
            "$ref" => {
                found.extend(misfits(document, resolve(document, wanted), value, at));
                true
            }
            "allOf" => {
                let parts = list(wanted);
                found.extend(parts.iter().flat_map(|part| misfits(document, part, value, at)));
                true
            }
            "oneOf" => {
                let fits = |part: &&Value| misfits(document, part, value, at).is_empty();
                list(wanted).iter().filter(fits).count() == 1
            }
            "properties" | "additionalProperties" | "required" => {
                found.extend(object_misfits(document, keyword, keywords, value, at));
                true
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(misfits(document, wanted, item, &format!("{at}[{n}]")));
                }
                true
            }
            annotation if ANNOTATIONS.contains(&annotation) => true,
            _ => scalar_fits(keyword, wanted, value),
        };
        if !fits {
            found.push(format!("{at}: {value} is against {keyword} {wanted}"));
        }
    }
    found
}

/// Follows a reference within the document.
pub(crate) fn resolve<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).unwrap();
    document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap()
}

fn object_misfits(
    document: &Value,
    keyword: &str,
    keywords: &serde_json::Map<String, Value>,
    value: &Value,
    at: &str,
) -> Vec<String> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let wanted = &keywords[keyword];
    match keyword {
        "required" => list(wanted)
            .iter()
            .filter(|name| !object.contains_key(name.as_str().unwrap()))
            .map(|name| format!("{at}: {name} is missing"))
            .collect(),
        "properties" => wanted
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(name, schema)| Some((name, schema, object.get(name)?)))
            .flat_map(|(name, schema, member)| {
                misfits(document, schema, member, &format!("{at}.{name}"))
            })
            .collect(),
        _ => {
            assert_eq!(
                wanted,
                &Value::Bool(false),
                "{at}: additionalProperties is only ever false"
            );
            let known = keywords.get("properties").and_then(Value::as_object);
            object
                .keys()
                .filter(|name| !known.is_some_and(|known| known.contains_key(*name)))
                .map(|name| format!("{at}: {name} is not described"))
                .collect()
        }
    }
}

/// Keywords about one value; those about another type do not concern it.
fn scalar_fits(keyword: &str, wanted: &Value, value: &Value) -> bool {
    let text = value.as_str();
    let chars = |text: &str| u64::try_from(text.chars().count()).unwrap();
    match keyword {
        "type" => match wanted {
            Value::Array(types) => types.iter().any(|wanted| has_type(wanted, value)),
            wanted => has_type(wanted, value),
        },
        "enum" => list(wanted).contains(value),
        "const" => wanted == value,
        "minimum" => value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= wanted.as_i64().unwrap()),
        "minLength" => text.is_none_or(|text| chars(text) >= wanted.as_u64().unwrap()),
        "maxLength" => text.is_none_or(|text| chars(text) <= wanted.as_u64().unwrap()),
        "pattern" => text.is_none_or(|text| matches_pattern(wanted.as_str().unwrap(), text)),
        "format" => text.is_none_or(|text| has_format(wanted.as_str().unwrap(), text)),
        other => panic!("{other} is not a keyword this test holds"),
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("{other} is not a type this test holds"),
    }
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[!-~]+$" => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "^[A-Z]{3}$" => text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
        other => panic!("{other} is not a pattern this test holds"),
    }
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "uuid" => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
        "date-time" => {
            let like = |(got, wanted): (u8, u8)| match wanted {
                b'0' => got.is_ascii_digit(),
                _ => got == wanted,
            };
            text.len() == 24 && text.bytes().zip(*b"0000-00-00T00:00:00.000Z").all(like)
        }
        other => panic!("{other} is not a format this test holds"),
    }
}

#[test]
fn every_kind_of_misfit_is_found() {
    let document = serde_json::json!({"n": {"type": "integer", "minimum": 1, "maximum": 3}});
    let schema = serde_json::json!({
        "type": "object", "additionalProperties": false, "required": ["a"],
        "properties": {
            "a": {"$ref": "#/n"}, "b": {"enum": ["x", null]}, "c": {"type": ["string", "null"],
            "format": "date-time"}, "d": {"type": "array", "items": {"const": 7}},
            "e": {"oneOf": [{"type": "string"}, {"minLength": 2}]},
            "f": {"pattern": "^[A-Z]{3}$", "maxLength": 3}, "g": {"allOf": [{"format": "uuid"}]},
        },
    });
    let fit = |text: &str| {
        misfits(&document, &schema, &serde_json::from_str(text).unwrap(), "").is_empty()
    };
    assert!(fit(r#"{"a":3,"b":null,"c":"2026-11-23T12:00:00.000Z","d":[7],"e":"x","f":"THB",
           "g":"019ab3c4-7e1b-7c3d-8a21-000000000001"}"#));
    let bad = [
        "[]",
        "{}",
        r#"{"a":0}"#,
        r#"{"a":4}"#,
        r#"{"a":1.5}"#,
        r#"{"a":"1"}"#,
        r#"{"a":1,"z":1}"#,
        r#"{"a":1,"b":"y"}"#,
        r#"{"a":1,"c":"noon"}"#,
        r#"{"a":1,"d":[7,8]}"#,
        r#"{"a":1,"e":"xx"}"#,
        r#"{"a":1,"f":"thb"}"#,
        r#"{"a":1,"g":"1"}"#,
    ];
    for text in bad {
        assert!(!fit(text), "{text}");
    }
}
