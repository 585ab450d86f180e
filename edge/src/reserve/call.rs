//! One call of `reserve.lua`: its arguments, and what follows from how it ended. Pure.
//!
//! Owns the decision to repeat a call; `batcher` makes it. Invariant: "nothing was reserved" is
//! said only when no call of this batch can have run.

use domain::contract::keys;
use domain::{ProductId, Quantity, Reserved};
use redis::Cmd;
use service::redis_pool::{LoadedScript, RedisCallError};

use super::reply::{Decided, Reply};
use super::{Proposal, ReserveError};

/// The call for these proposals. `deadline_ms` is Redis time: a call that runs later reserves
/// nothing.
pub fn command<'a>(
    script: &LoadedScript,
    product: ProductId,
    deadline_ms: i64,
    outbox_max: u32,
    proposals: impl ExactSizeIterator<Item = &'a Proposal> + Clone,
) -> Cmd {
    let (sale, buyers, outbox) =
        (keys::sale(product), keys::buyers(product), keys::outbox(product));
    let mut command = script.command(&[&sale, &buyers, &outbox]);
    command.arg(deadline_ms).arg(outbox_max).arg(proposals.len());
    for Proposal { user, .. } in proposals.clone() {
        command.arg(user.get());
    }
    let mut id = [0; 36];
    for Proposal { candidate, key, .. } in proposals.clone() {
        let candidate = candidate.0.hyphenated().encode_lower(&mut id);
        match key {
            None => command.arg(&*candidate),
            Some(key) => command.arg(format!("{candidate}|{key}")),
        };
    }
    if proposals.clone().any(|proposal| proposal.quantity != Quantity::ONE) {
        for Proposal { quantity, .. } in proposals {
            command.arg(quantity.units());
        }
    }
    command
}

/// How one call ended.
pub type Outcome = Result<Option<Reply>, RedisCallError>;

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Everybody has an answer.
    Answer(Decided),
    /// The same call again, with the same candidate ids.
    Again,
    /// Nobody can be told more than this.
    Fail(ReserveError),
}

/// The calls of one batch so far.
#[derive(Debug, Default)]
pub struct Tries {
    may_have_run: bool,
}

impl Tries {
    /// Notes how a call ended. `time_left`: another one would end before the deadline.
    pub fn after(&mut self, outcome: Outcome, time_left: bool) -> Next {
        match outcome {
            // Nothing was reserved now; but an earlier call may still run, and find it otherwise.
            Ok(Some(Reply::Decided(decided)))
                if self.may_have_run && decided.answers.iter().any(may_pass) => {}
            Ok(Some(Reply::Decided(decided))) => return Next::Answer(decided),
            // Closed or stale: this call reserved nothing.
            Ok(Some(Reply::Closed { .. } | Reply::Stale { .. })) => {}
            // It ran, and said something that is no answer: asking again would not help.
            Ok(None) => return Next::Fail(ReserveError::OutcomeUnknown),
            Err(RedisCallError::NotSent(_)) => {}
            Err(RedisCallError::Unknown(_)) => self.may_have_run = true,
            Err(RedisCallError::Refused(error)) => {
                tracing::debug!(%error, "redis refused a reservation");
            }
        }
        match (time_left, self.may_have_run) {
            (true, _) => Next::Again,
            (false, true) => Next::Fail(ReserveError::OutcomeUnknown),
            (false, false) => Next::Fail(ReserveError::Unavailable),
        }
    }
}

/// Whether what refuses a buyer now may be over a moment later: units return when an order is given
/// up, an outbox empties, a sale opens, an operator raises a limit or moves a window.
const fn may_pass(answer: &Reserved) -> bool {
    match answer {
        Reserved::SoldOut
        | Reserved::NotEnough { .. }
        | Reserved::NotStarted
        | Reserved::Paused
        | Reserved::Ended
        | Reserved::OverLimit
        | Reserved::Overloaded => true,
        Reserved::Accepted(_) | Reserved::AlreadyPurchased(_) | Reserved::Replayed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown() -> Outcome {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Err(RedisCallError::Unknown(broken.into()))
    }

    #[test]
    fn nothing_was_reserved_is_said_only_when_no_call_can_have_run() {
        let closed = || Ok(Some(Reply::Closed { redis_ms: 1 }));
        let mut tries = Tries::default();
        assert_eq!(tries.after(closed(), true), Next::Again);
        assert_eq!(tries.after(closed(), false), Next::Fail(ReserveError::Unavailable));
        let mut tries = Tries::default();
        assert_eq!(tries.after(unknown(), true), Next::Again);
        assert_eq!(tries.after(closed(), false), Next::Fail(ReserveError::OutcomeUnknown));
        let decided = |answer| {
            let (epoch, outbox_id) = (domain::Epoch(1), String::new());
            let answers = vec![answer];
            let decided = Decided { redis_ms: 1, epoch, available: 1, outbox_id, answers };
            Ok(Some(Reply::Decided(decided)))
        };
        for passing in [Reserved::Overloaded, Reserved::SoldOut] {
            let mut tries = Tries::default();
            assert!(matches!(tries.after(decided(passing), true), Next::Answer(_)));
            assert_eq!(tries.after(unknown(), true), Next::Again);
            assert_eq!(tries.after(decided(passing), true), Next::Again);
            let unsure = Next::Fail(ReserveError::OutcomeUnknown);
            assert_eq!(tries.after(decided(passing), false), unsure);
            let holder = domain::Holder::parse("0190f5fe-7c00-7a00-8000-000000000001|1|1").unwrap();
            let known = Reserved::AlreadyPurchased(holder);
            assert!(matches!(tries.after(decided(known), false), Next::Answer(_)));
        }
        let mut tries = Tries::default();
        let not_sent = Err(RedisCallError::NotSent("no connection".into()));
        assert_eq!(tries.after(not_sent, false), Next::Fail(ReserveError::Unavailable));
        assert_eq!(tries.after(Ok(None), true), Next::Fail(ReserveError::OutcomeUnknown));
    }
}
