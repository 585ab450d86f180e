//! Decodes the reply of `reserve.lua`. Its shape stands in the script's header.
//!
//! Invariant: a reply of any other shape is an error, never a guess.

use domain::{BatchCode, Epoch, RequestCode, Reserved};
use redis::Value;

/// What the script decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// One answer a request, in their order.
    Decided(Decided),
    /// The sale is not open on this node.
    Closed {
        /// Redis time, ms since the Unix epoch.
        redis_ms: i64,
    },
    /// The call came after its deadline.
    Stale {
        /// Redis time, ms since the Unix epoch.
        redis_ms: i64,
    },
}

/// A batch that was decided.
#[derive(Debug, PartialEq, Eq)]
pub struct Decided {
    /// Redis time, ms since the Unix epoch.
    pub redis_ms: i64,
    /// Life of the sale.
    pub epoch: Epoch,
    /// Units that can still be reserved.
    pub available: i64,
    /// Entry of the outbox; empty when nothing was newly reserved.
    pub outbox_id: String,
    /// One a request, in their order.
    pub answers: Vec<Reserved>,
}

/// Reads a reply to `requests` requests; `None` when it has another shape.
pub fn decode(value: &Value, requests: usize) -> Option<Reply> {
    let Value::Array(items) = value else { return None };
    let code = BatchCode::from_number(integer(items.first()?)?)?;
    let redis_ms = integer(items.get(1)?)?;
    match code {
        BatchCode::Closed => return Some(Reply::Closed { redis_ms }),
        BatchCode::Stale => return Some(Reply::Stale { redis_ms }),
        BatchCode::Decided => {}
    }
    let (head, answers) = items.split_at_checked(6)?;
    let available = integer(&head[4])?;
    if answers.len() != 2 * requests {
        return None;
    }
    let answers = answers.chunks_exact(2).map(|pair| {
        let code = RequestCode::from_number(integer(&pair[0])?)?;
        Reserved::from_reply(code, text(&pair[1])?, available)
    });
    Some(Reply::Decided(Decided {
        redis_ms,
        epoch: Epoch(integer(&head[2])?),
        available,
        outbox_id: text(&head[5])?.to_owned(),
        answers: answers.collect::<Option<_>>()?,
    }))
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn decided(pairs: &[(i64, &str)]) -> Value {
        let mut items = vec![
            Value::Int(0),
            Value::Int(1_700_000_000_000),
            Value::Int(3),
            Value::Int(9),
            Value::Int(41),
            bulk("17-0"),
        ];
        items.extend(pairs.iter().flat_map(|(code, holder)| [Value::Int(*code), bulk(holder)]));
        Value::Array(items)
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        let holder = "0190f5fe-7c00-7a00-8000-000000000001|1|7";
        let reply = decode(&decided(&[(0, holder), (3, ""), (4, "")]), 3);
        let Some(Reply::Decided(decided)) = reply else { panic!("{reply:?}") };
        assert_eq!((decided.epoch, decided.outbox_id.as_str()), (Epoch(3), "17-0"));
        assert!(matches!(decided.answers[0], Reserved::Accepted(h) if h.encode() == holder));
        assert_eq!(decided.answers[1], Reserved::SoldOut);
        assert_eq!(decided.answers[2], Reserved::NotEnough { available: 41 });
    }

    #[test]
    fn another_shape_is_no_answer() {
        assert_eq!(decode(&decided(&[(3, "")]), 2), None, "too few answers");
        assert_eq!(decode(&decided(&[(0, "")]), 1), None, "accepted without a holder");
        assert_eq!(decode(&decided(&[(99, "")]), 1), None, "unknown code");
        assert_eq!(decode(&Value::Nil, 0), None);
        assert_eq!(decode(&Value::Array(vec![Value::Int(0)]), 0), None);
        let closed = Value::Array(vec![Value::Int(1), Value::Int(5)]);
        assert_eq!(decode(&closed, 1), Some(Reply::Closed { redis_ms: 5 }));
    }
}
