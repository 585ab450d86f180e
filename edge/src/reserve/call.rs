//! One call of `lua/reserve.lua`: its command and its reply. Owns that script's text.
//!
//! Invariant: a reply that does not fit the request in every part is an error, never a default.

use domain::contract::keys;
use domain::{BatchCode, Epoch, ProductId, RequestCode, Reserved};
use redis::{Cmd, Value};
use service::redis_pool::LoadedScript;

use super::batcher::Waiting;

/// The reserving script, to be loaded on every connection.
pub fn script() -> LoadedScript {
    LoadedScript::new(include_str!("../../../lua/reserve.lua"))
}

/// The keys of one product, spelled once.
#[derive(Debug)]
pub(super) struct Keys {
    sale: String,
    buyers: String,
    outbox: String,
}

impl Keys {
    pub(super) fn of(product: ProductId) -> Self {
        Self {
            sale: keys::sale(product),
            buyers: keys::buyers(product),
            outbox: keys::outbox(product),
        }
    }
}

/// What the script said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Every request has an answer.
    Decided(Decided),
    /// Nobody vouched for the node; nothing was reserved.
    Closed,
    /// The call came after its deadline; nothing was reserved.
    Stale,
}

/// The answers to a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) epoch: Epoch,
    pub(super) available: i64,
    pub(super) outbox_id: String,
    /// One a request, in its order.
    pub(super) answers: Vec<Reserved>,
}

/// A reply no script of ours gives.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply: {0}")]
pub(super) struct MalformedReply(&'static str);

/// The command for a batch.
pub(super) fn command(
    script: &LoadedScript,
    keys: &Keys,
    deadline_ms: i64,
    outbox_max: u32,
    batch: &[Waiting],
) -> Cmd {
    let mut command = script.command(&[&keys.sale, &keys.buyers, &keys.outbox]);
    command.arg(deadline_ms).arg(outbox_max);
    for request in batch {
        let mut text = uuid::Uuid::encode_buffer();
        let candidate = request.candidate.0.hyphenated().encode_lower(&mut text);
        command.arg(request.user.get()).arg(request.quantity.units()).arg(&*candidate);
    }
    command
}

/// Redis time and what was decided for a batch of `requests`.
pub(super) fn decode(value: &Value, requests: usize) -> Result<(i64, Reply), MalformedReply> {
    let Value::Array(parts) = value else { return Err(MalformedReply("not an array")) };
    let mut parts = parts.iter();
    let mut next = || parts.next().ok_or(MalformedReply("too short"));
    let code = BatchCode::from_number(integer(next()?)?).ok_or(MalformedReply("batch code"))?;
    let redis_ms = integer(next()?)?;
    match code {
        BatchCode::Closed => return Ok((redis_ms, Reply::Closed)),
        BatchCode::Stale => return Ok((redis_ms, Reply::Stale)),
        BatchCode::Decided => {}
    }
    let epoch = Epoch(integer(next()?)?);
    let _rev = integer(next()?)?;
    let available = integer(next()?)?;
    let outbox_id = text(next()?)?.to_owned();
    let mut answers = Vec::with_capacity(requests);
    for _ in 0..requests {
        let code =
            RequestCode::from_number(integer(next()?)?).ok_or(MalformedReply("request code"))?;
        let answer = Reserved::from_reply(code, text(next()?)?, available);
        answers.push(answer.ok_or(MalformedReply("holder"))?);
    }
    if parts.next().is_some() {
        return Err(MalformedReply("too long"));
    }
    Ok((redis_ms, Reply::Decided(Decided { epoch, available, outbox_id, answers })))
}

fn integer(value: &Value) -> Result<i64, MalformedReply> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(MalformedReply("not an integer")),
    }
}

fn text(value: &Value) -> Result<&str, MalformedReply> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text.as_str()),
        _ => None,
    }
    .ok_or(MalformedReply("not a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn reply(requests: &[(i64, &str)]) -> Value {
        let mut parts = vec![
            Value::Int(0),
            Value::Int(1_700),
            Value::Int(2),
            Value::Int(7),
            Value::Int(41),
            bulk("5-0"),
        ];
        for (code, holder) in requests {
            parts.extend([Value::Int(*code), bulk(holder)]);
        }
        Value::Array(parts)
    }

    const HOLDER: &str = "0190f5fe-7c00-7a00-8000-000000000001|1|9";

    #[test]
    fn every_request_gets_its_own_answer() {
        let (redis_ms, reply) = decode(&reply(&[(0, HOLDER), (4, "")]), 2).unwrap();
        let Reply::Decided(decided) = reply else { panic!("{reply:?}") };
        assert_eq!((redis_ms, decided.epoch, decided.outbox_id.as_str()), (1_700, Epoch(2), "5-0"));
        assert!(matches!(decided.answers[0], Reserved::Accepted(holder) if holder.seq.0 == 9));
        assert_eq!(decided.answers[1], Reserved::NotEnough { available: 41 });
    }

    #[test]
    fn a_closed_or_stale_reply_still_tells_the_time() {
        for (code, expected) in [(1, Reply::Closed), (2, Reply::Stale)] {
            let value = Value::Array(vec![Value::Int(code), Value::Int(55)]);
            assert_eq!(decode(&value, 3).unwrap(), (55, expected));
        }
    }

    #[test]
    fn a_reply_that_does_not_fit_is_refused() {
        let cases = [
            Value::Nil,
            Value::Array(vec![Value::Int(0)]),
            Value::Array(vec![Value::Int(9), Value::Int(1)]),
            reply(&[]),
            reply(&[(0, "")]),
            reply(&[(99, "")]),
            reply(&[(3, ""), (3, "")]),
        ];
        for (number, value) in cases.iter().enumerate() {
            assert!(decode(value, 1).is_err(), "case {number}");
        }
    }
}
