//! Reads what scripts and commands reply. Owns the shapes; knows no meaning.
//!
//! Invariant: an unexpected shape is an error, never a default.

use crate::redis_pool::RedisCallError;
use redis::Value;

/// Why a step against Redis failed.
#[derive(Debug, thiserror::Error)]
pub enum RedisStepError {
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] RedisCallError),
    /// The answer has a shape no script of ours gives.
    #[error("unexpected reply: {0}")]
    Shape(String),
}

/// One integer.
///
/// # Errors
/// When it is anything else.
pub fn integer(value: &Value) -> Result<i64, RedisStepError> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(RedisStepError::Shape(format!("{other:?} is not an integer"))),
    }
}

/// Exactly `N` integers.
///
/// # Errors
/// When it is anything else.
pub fn integers<const N: usize>(value: &Value) -> Result<[i64; N], RedisStepError> {
    let Value::Array(items) = value else {
        return Err(RedisStepError::Shape(format!("{value:?} is not an array")));
    };
    let numbers = items.iter().map(integer).collect::<Result<Vec<_>, _>>()?;
    numbers
        .try_into()
        .map_err(|got: Vec<_>| RedisStepError::Shape(format!("{} integers, not {N}", got.len())))
}

/// Exactly `N` texts, each absent or present, as HMGET gives them.
///
/// # Errors
/// When it is anything else.
pub fn texts<const N: usize>(value: Value) -> Result<[Option<String>; N], RedisStepError> {
    let fields: Vec<Option<String>> =
        redis::from_redis_value(value).map_err(|e| RedisStepError::Shape(e.to_string()))?;
    fields
        .try_into()
        .map_err(|got: Vec<_>| RedisStepError::Shape(format!("{} texts, not {N}", got.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_shape_is_read() {
        let pair = Value::Array(vec![Value::Int(1), Value::Int(2)]);
        assert_eq!(integers::<2>(&pair).unwrap(), [1, 2]);
        assert!(integers::<3>(&pair).is_err());
        assert!(integers::<1>(&Value::Nil).is_err());
        assert!(integer(&Value::Okay).is_err());
        let fields = Value::Array(vec![Value::Nil, Value::BulkString(b"x".to_vec())]);
        assert_eq!(texts::<2>(fields).unwrap(), [None, Some("x".to_owned())]);
    }
}
