//! What `reserve.lua` replied, read as its header says.

use domain::model::Asked;
use domain::{Holder, RequestCode, Seq};
use redis::Value;

/// One code a request, with whoever holds.
pub(crate) fn answers(reply: &[Value], batch: &[Asked]) -> Vec<(RequestCode, Option<Holder>)> {
    let Value::BulkString(codes) = &reply[6] else { panic!("{reply:?}") };
    assert_eq!(codes.len(), batch.len());
    let Value::Int(mut seq) = reply[3] else { panic!("{reply:?}") };
    let mut holders = reply[7..].iter();
    let answer = |(code, asked): (&u8, &Asked)| {
        let code = RequestCode::from_number((*code).into()).unwrap();
        let holder = match code {
            RequestCode::Accepted => {
                seq += 1;
                let Asked { candidate: id, quantity, key, .. } = *asked;
                Some(Holder { id, quantity, seq: Seq(seq), key })
            }
            code if code.names_holder() => {
                let text: String = redis::from_redis_value_ref(holders.next().unwrap()).unwrap();
                Holder::parse(&text)
            }
            _ => None,
        };
        (code, holder)
    };
    let answers = codes.iter().zip(batch).map(answer).collect();
    assert_eq!(holders.next(), None, "{reply:?}");
    answers
}
