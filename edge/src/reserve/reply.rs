//! Decodes the reply of `reserve.lua`. Its shape stands in the script's header.
//!
//! Invariant: a reply of any other shape is an error, never a guess.

use domain::{BatchCode, Epoch, Holder, RequestCode, Reserved, Seq};
use redis::Value;

use super::Proposal;

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
    /// Life of the sale it was decided in.
    pub epoch: Epoch,
    /// Units that can still be reserved.
    pub available: i64,
    /// Entry of the outbox; empty when nothing was newly reserved.
    pub outbox_id: String,
    /// One a request, in their order.
    pub answers: Vec<Reserved>,
}

/// Reads a reply to these proposals; `None` when it has another shape.
pub fn decode<'a>(
    value: &Value,
    proposals: impl ExactSizeIterator<Item = &'a Proposal>,
) -> Option<Reply> {
    let Value::Array(items) = value else { return None };
    let code = BatchCode::from_number(integer(items.first()?)?)?;
    let redis_ms = integer(items.get(1)?)?;
    match code {
        BatchCode::Closed => return Some(Reply::Closed { redis_ms }),
        BatchCode::Stale => return Some(Reply::Stale { redis_ms }),
        BatchCode::Decided => {}
    }
    let (head, holders) = items.split_at_checked(7)?;
    let (mut seq, available) = (Seq(integer(&head[3])?), integer(&head[4])?);
    let Value::BulkString(codes) = &head[6] else { return None };
    if codes.len() != proposals.len() {
        return None;
    }
    let mut holders = holders.iter();
    let answers = codes.iter().zip(proposals).map(|(code, proposal)| {
        let code = RequestCode::from_number((*code).into())?;
        let holder = match code {
            RequestCode::Accepted => {
                seq.0 += 1;
                Some(proposal.holder(seq))
            }
            code if code.names_holder() => Some(Holder::parse(text(holders.next()?)?)?),
            _ => None,
        };
        Reserved::from_reply(code, holder, available)
    });
    let answers = answers.collect::<Option<_>>()?;
    if holders.next().is_some() {
        return None;
    }
    Some(Reply::Decided(Decided {
        redis_ms,
        epoch: Epoch(integer(&head[2])?),
        available,
        outbox_id: text(&head[5])?.to_owned(),
        answers,
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
    use domain::{Quantity, ReservationId, UserId};
    use uuid::Uuid;

    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn proposals(units: &[i64]) -> Vec<Proposal> {
        let proposal = |(units, number): (&i64, u128)| Proposal {
            user: UserId::new(7).unwrap(),
            quantity: Quantity::new(*units).unwrap(),
            candidate: ReservationId(Uuid::from_u128(number)),
            key: None,
            traced: None,
        };
        units.iter().zip(1..).map(proposal).collect()
    }

    fn decided(codes: &[u8], holders: &[&str]) -> Value {
        let mut items = [0, 1_700_000_000_000, 3, 9, 41].map(Value::Int).to_vec();
        items.extend([bulk("17-0"), Value::BulkString(codes.to_vec())]);
        items.extend(holders.iter().map(|holder| bulk(holder)));
        Value::Array(items)
    }

    const HOLDER: &str = "0190f5fe-7c00-7a00-8000-000000000001|1|7";

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        let asked = proposals(&[1, 1, 2, 1, 1]);
        let reply = decode(&decided(&[0, 2, 0, 3, 4], &[HOLDER]), asked.iter());
        let Some(Reply::Decided(decided)) = reply else { panic!("{reply:?}") };
        assert_eq!((decided.epoch, decided.outbox_id.as_str()), (Epoch(3), "17-0"));
        let accepted = |at: usize, seq| Reserved::Accepted(asked[at].holder(Seq(seq)));
        assert_eq!(decided.answers[0], accepted(0, 10));
        let owner = decided.answers[1];
        assert!(matches!(owner, Reserved::AlreadyPurchased(h) if h.encode() == HOLDER));
        assert_eq!(decided.answers[2], accepted(2, 11));
        assert_eq!(decided.answers[3], Reserved::SoldOut);
        assert_eq!(decided.answers[4], Reserved::NotEnough { available: 41 });
    }

    #[test]
    fn another_shape_is_no_answer() {
        let (one, two) = (proposals(&[1]), proposals(&[1, 1]));
        let decode = |value: &Value, asked: &[Proposal]| decode(value, asked.iter());
        assert_eq!(decode(&decided(&[3], &[]), &two), None, "too few answers");
        assert_eq!(decode(&decided(&[2], &[]), &one), None, "an owner without a holder");
        assert_eq!(decode(&decided(&[0], &[HOLDER]), &one), None, "a holder nobody is");
        assert_eq!(decode(&decided(&[99], &[]), &one), None, "unknown code");
        assert_eq!(decode(&Value::Nil, &[]), None);
        assert_eq!(decode(&Value::Array(vec![Value::Int(0)]), &[]), None);
        let closed = Value::Array(vec![Value::Int(1), Value::Int(5)]);
        assert_eq!(decode(&closed, &one), Some(Reply::Closed { redis_ms: 5 }));
    }
}
