//! What `reserve.lua` answers: one code for the batch, one for each request.
//!
//! Owns the codes and the holder text `id|quantity|seq`, with `|key` behind it where the buyer sent
//! an idempotency key; leaves the Redis reply type to the edge.
//! Invariant: the numbers here are those in the header of `lua/reserve.lua`; a test holds them so.

use crate::ids::{IdempotencyKey, Quantity, ReservationId, Seq};

/// Whether the script looked at the requests at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchCode {
    /// Every request has its own answer.
    Decided,
    /// Nobody vouched for this Redis node, or the sale is not loaded. Nothing was reserved.
    Closed,
    /// The call ran after its deadline, on a node that had been frozen. Nothing was reserved.
    Stale,
}

impl BatchCode {
    /// Every code with its number and the name the script's header uses.
    pub const ALL: [(i64, &'static str, Self); 3] =
        [(0, "DECIDED", Self::Decided), (1, "CLOSED", Self::Closed), (2, "STALE", Self::Stale)];

    /// Reads the number the script replied.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|(n, ..)| *n == number).map(|(.., code)| code)
    }
}

/// What one request was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestCode {
    /// Reserved now.
    Accepted,
    /// This very candidate id had been reserved by an earlier try whose reply was lost.
    Retried,
    /// The user has a reservation already.
    AlreadyPurchased,
    /// Nothing is available.
    SoldOut,
    /// Something is available, less than asked.
    NotEnough,
    /// The window has not opened.
    NotStarted,
    /// An operator paused the sale.
    Paused,
    /// The window has closed, or an operator closed the sale.
    Ended,
    /// More units than one order of this sale may have.
    OverLimit,
    /// The outbox is at its bound: orders wait for the broker. Nothing was reserved.
    Overloaded,
    /// The user has a reservation, made under the idempotency key of this request.
    Replayed,
}

impl RequestCode {
    /// Every code with its number and the name the script's header uses.
    pub const ALL: [(i64, &'static str, Self); 11] = [
        (0, "ACCEPTED", Self::Accepted),
        (1, "RETRIED", Self::Retried),
        (2, "ALREADY_PURCHASED", Self::AlreadyPurchased),
        (3, "SOLD_OUT", Self::SoldOut),
        (4, "NOT_ENOUGH", Self::NotEnough),
        (5, "NOT_STARTED", Self::NotStarted),
        (6, "PAUSED", Self::Paused),
        (7, "ENDED", Self::Ended),
        (8, "OVER_LIMIT", Self::OverLimit),
        (9, "OVERLOADED", Self::Overloaded),
        (10, "REPLAYED", Self::Replayed),
    ];

    /// Reads the number the script replied.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|(n, ..)| *n == number).map(|(.., code)| code)
    }

    /// Whether the script names a holder beside this code: one that stood before.
    pub const fn names_holder(self) -> bool {
        matches!(self, Self::Retried | Self::AlreadyPurchased | Self::Replayed)
    }
}

/// The reservation that stands for a user, as `buyers:{P}` stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The id that stands.
    pub id: ReservationId,
    /// Its units.
    pub quantity: Quantity,
    /// Its place in line.
    pub seq: Seq,
    /// The idempotency key it was made under.
    pub key: Option<IdempotencyKey>,
}

impl Holder {
    /// Reads `id|quantity|seq` or `id|quantity|seq|key`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let id = ReservationId::parse(parts.next()?)?;
        let quantity = Quantity::new(parts.next()?.parse().ok()?).ok()?;
        let seq = Seq(parts.next()?.parse().ok()?);
        let key = match parts.next() {
            Some(key) => Some(IdempotencyKey::parse(key)?),
            None => None,
        };
        if parts.next().is_some() { None } else { Some(Self { id, quantity, seq, key }) }
    }

    /// Writes what [`Holder::parse`] reads.
    pub fn encode(&self) -> String {
        format!("{}|{}|{}", self.id, self.quantity, self.encode_end())
    }

    /// Writes the end of it: `seq`, or `seq|key`.
    pub fn encode_end(&self) -> String {
        match self.key {
            Some(key) => format!("{}|{key}", self.seq),
            None => self.seq.to_string(),
        }
    }
}

/// The answer to one buyer. Sold out is an answer, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// This buyer holds a reservation made by this request (now, or by its own earlier try).
    Accepted(Holder),
    /// This buyer holds a reservation made by an earlier request.
    AlreadyPurchased(Holder),
    /// This buyer holds a reservation made by an earlier request with the same idempotency key.
    Replayed(Holder),
    /// Nothing is available.
    SoldOut,
    /// Less than asked is available: this many units.
    NotEnough {
        /// Units that could still be reserved.
        available: i64,
    },
    /// The sale opens later.
    NotStarted,
    /// The sale is paused.
    Paused,
    /// The sale is over.
    Ended,
    /// The order is larger than the sale allows.
    OverLimit,
    /// The outbox is full.
    Overloaded,
}

impl Reserved {
    /// Joins a request's code with the reservation that stands for its user (none where it was
    /// refused) and the units available after the batch. `None` when they do not fit each other.
    pub fn from_reply(code: RequestCode, holder: Option<Holder>, available: i64) -> Option<Self> {
        Some(match code {
            RequestCode::Accepted | RequestCode::Retried => Self::Accepted(holder?),
            RequestCode::AlreadyPurchased => Self::AlreadyPurchased(holder?),
            RequestCode::Replayed => Self::Replayed(holder?),
            RequestCode::SoldOut => Self::SoldOut,
            RequestCode::NotEnough => Self::NotEnough { available },
            RequestCode::NotStarted => Self::NotStarted,
            RequestCode::Paused => Self::Paused,
            RequestCode::Ended => Self::Ended,
            RequestCode::OverLimit => Self::OverLimit,
            RequestCode::Overloaded => Self::Overloaded,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = include_str!("../../../lua/reserve.lua");

    /// Lines of the header such as `--   3 SOLD_OUT   nothing is available`, below `heading`.
    fn header_codes(heading: &str) -> Vec<(i64, String)> {
        SCRIPT
            .lines()
            .skip_while(|line| line.strip_prefix("-- ") != Some(heading))
            .skip(1)
            .map_while(|line| {
                let mut words = line.strip_prefix("--   ")?.split_whitespace();
                Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_script_header_lists_exactly_these_codes() {
        let batch: Vec<_> =
            BatchCode::ALL.iter().map(|(n, name, _)| (*n, (*name).into())).collect();
        assert_eq!(header_codes("batch code"), batch);
        let request: Vec<_> =
            RequestCode::ALL.iter().map(|(n, name, _)| (*n, (*name).into())).collect();
        assert_eq!(header_codes("request code"), request);
    }

    #[test]
    fn the_script_body_returns_every_code_it_lists() {
        let body: String =
            SCRIPT.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        for (number, name) in BatchCode::ALL
            .iter()
            .map(|(n, name, _)| (n, name))
            .chain(RequestCode::ALL.iter().map(|(n, name, _)| (n, name)))
        {
            assert!(body.contains(&format!("local {name} = {number}\n")), "{name} = {number}");
            assert!(body.matches(name).count() > 1, "{name} is never used");
        }
    }

    #[test]
    fn a_holder_survives_the_round_trip_and_garbage_is_refused() {
        let text = "0190f5fe-7c00-7a00-8000-000000000001|2|41";
        assert_eq!(Holder::parse(text).unwrap().encode(), text);
        let keyed = format!("{text}|00000000000000ff");
        assert_eq!(Holder::parse(&keyed).unwrap().encode(), keyed);
        let no_quantity = "0190f5fe-7c00-7a00-8000-000000000001|0|1";
        let (no_key, two) = (format!("{text}|9"), format!("{keyed}|1"));
        for bad in ["", "x|1|1", no_quantity, &no_key, &two, &format!("{text}|")] {
            assert_eq!(Holder::parse(bad), None, "{bad:?}");
        }
    }
}
