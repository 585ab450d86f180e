//! What to do about a call that decided nothing. Pure; the batcher acts on it.
//!
//! Invariant: once a call may have run unseen, a buyer is never told that nothing was reserved.

use std::time::{Duration, Instant};

use super::ReserveError;

/// Between tries while Redis is away or the sale is not vouched for: a vouch takes about 100 ms.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// Between tries after a stale deadline: the reply just brought the right time.
const PAUSE_STALE: Duration = Duration::from_millis(2);

/// Why a call decided nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecided {
    /// Nothing was sent.
    NotSent,
    /// It may have run: the reply was lost, or is an error from the middle of the script.
    MayHaveRun,
    /// Redis refused before running anything.
    Refused,
    /// The node is not vouched for.
    Closed,
    /// The deadline had passed in Redis time.
    Stale,
}

/// The next step of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again with the same candidate ids after a pause.
    Again(Duration),
    /// Tell every buyer of the batch.
    GiveUp(ReserveError),
}

/// What is remembered between the tries of one batch.
#[derive(Debug, Default)]
pub(super) struct Tries {
    may_have_run: bool,
}

impl Tries {
    /// Takes in a failed try and decides.
    pub(super) fn decide(&mut self, why: Undecided, now: Instant, deadline: Instant) -> Next {
        let pause = match why {
            Undecided::MayHaveRun => {
                self.may_have_run = true;
                PAUSE
            }
            Undecided::NotSent | Undecided::Refused | Undecided::Closed => PAUSE,
            Undecided::Stale => PAUSE_STALE,
        };
        if now + pause < deadline { Next::Again(pause) } else { Next::GiveUp(self.error()) }
    }

    /// What buyers hear when no try is left.
    pub(super) fn error(&self) -> ReserveError {
        if self.may_have_run { ReserveError::OutcomeUnknown } else { ReserveError::Unavailable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_reply_is_never_called_unavailable_later() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        let deadline = now + Duration::from_secs(1);
        assert_eq!(tries.decide(Undecided::MayHaveRun, now, deadline), Next::Again(PAUSE));
        assert_eq!(
            tries.decide(Undecided::Closed, deadline, deadline),
            Next::GiveUp(ReserveError::OutcomeUnknown)
        );
    }

    #[test]
    fn a_closed_sale_is_asked_again_until_the_deadline_and_then_unavailable() {
        let (now, mut tries) = (Instant::now(), Tries::default());
        let deadline = now + PAUSE + Duration::from_millis(1);
        for why in [Undecided::NotSent, Undecided::Refused, Undecided::Closed] {
            assert_eq!(tries.decide(why, now, deadline), Next::Again(PAUSE));
        }
        assert_eq!(tries.decide(Undecided::Stale, now, deadline), Next::Again(PAUSE_STALE));
        assert_eq!(
            tries.decide(Undecided::Closed, now + Duration::from_millis(1), deadline),
            Next::GiveUp(ReserveError::Unavailable)
        );
    }
}
