//! Newtype ids and counters. Owns their ranges; leaves their storage to others.
//!
//! Invariant: a `ProductId` or `UserId` is positive and fits PostgreSQL's `bigint`.

use std::fmt;
use std::num::NonZeroU32;

use uuid::Uuid;

/// Why a number is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to {max}")]
pub struct IdError {
    /// The largest value the id may have.
    pub max: i64,
}

macro_rules! positive_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Accepts 1 to 2^63 − 1; anything else is an [`IdError`].
            pub const fn new(value: i64) -> Result<Self, IdError> {
                if value < 1 { Err(IdError { max: i64::MAX }) } else { Ok(Self(value)) }
            }

            /// The number, as PostgreSQL's `bigint` and JSON carry it.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

positive_id! {
    /// What is sold.
    ProductId
}
positive_id! {
    /// Who buys.
    UserId
}

/// The id of one atomic claim, proposed by an edge (UUIDv7, RFC 9562) and fixed by `reserve.lua`.
/// It is also the order's primary key in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId(pub Uuid);

impl ReservationId {
    /// Parses the hyphenated form; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        // Uuid also reads braced, simple and URN forms; one spelling keeps log and cache keys one.
        if text.len() != 36 { None } else { Uuid::try_parse(text).ok().map(Self) }
    }

    /// When an edge proposed it, milliseconds since the Unix epoch; `None` unless it is a UUIDv7.
    pub fn proposed_at_ms(&self) -> Option<i64> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let seconds = i64::try_from(seconds).ok()?;
        seconds.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a buyer's `Idempotency-Key` is remembered by: the first 8 bytes of its SHA-256, written as
/// 16 hex digits. It stands beside one user's reservation only, so 64 bits are far from any clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(u64);

impl IdempotencyKey {
    /// The key of a hash that begins with these bytes.
    pub const fn from_hash(first: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(first))
    }

    /// Parses 16 lower-case hex digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let all_digits = text.len() == 16 && text.as_bytes().iter().all(is_digit);
        if all_digits { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }

    /// The same bits, as PostgreSQL's `bigint` carries them.
    pub const fn to_stored(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads what [`IdempotencyKey::to_stored`] wrote.
    pub const fn from_stored(stored: i64) -> Self {
        Self(stored.cast_unsigned())
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The id of one adjustment of a product's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdjustmentId(pub Uuid);

impl fmt::Display for AdjustmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Units in one order, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(NonZeroU32);

impl Quantity {
    /// One unit, the quantity of a request that names none.
    pub const ONE: Self = Self(NonZeroU32::MIN);
    /// The most units one order may name, whatever the sale's limit: keeps sums far below 2^53.
    pub const MAX: i64 = 1_000_000;

    /// Accepts 1 to [`Quantity::MAX`].
    pub fn new(value: i64) -> Result<Self, IdError> {
        let error = IdError { max: Self::MAX };
        if value > Self::MAX {
            return Err(error);
        }
        u32::try_from(value).ok().and_then(NonZeroU32::new).map(Self).ok_or(error)
    }

    /// The number of units.
    pub fn units(self) -> i64 {
        i64::from(self.0.get())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// One life of a sale's Redis state; PostgreSQL hands it out, `begin_vouch.lua` claims it.
    Epoch
}
counter! {
    /// Arrival number of a reservation in its sale, given by `reserve.lua`: the place in line.
    Seq
}
counter! {
    /// Revision of the feed within an epoch; never goes back while the epoch stands.
    Rev
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_quantities_refuse_what_is_out_of_range() {
        assert!(ProductId::new(0).is_err());
        assert!(UserId::new(-1).is_err());
        assert_eq!(UserId::new(i64::MAX).unwrap().get(), i64::MAX);
        assert!(Quantity::new(0).is_err());
        assert!(Quantity::new(-100).is_err());
        assert!(Quantity::new(Quantity::MAX + 1).is_err());
        assert_eq!(Quantity::new(3).unwrap().units(), 3);
    }

    #[test]
    fn an_idempotency_key_has_one_spelling_and_survives_postgresql() {
        for text in ["0000000000000001", "ffffffffffffffff", "8000000000000000"] {
            let key = IdempotencyKey::parse(text).unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(IdempotencyKey::from_stored(key.to_stored()), key);
        }
        for bad in ["", "1", "+000000000000001", "FFFFFFFFFFFFFFFF", "00000000000000001"] {
            assert_eq!(IdempotencyKey::parse(bad), None, "{bad:?}");
        }
        let first = IdempotencyKey::from_hash([0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(first.to_string(), "0000000000000102");
    }

    #[test]
    fn a_reservation_id_has_one_spelling() {
        let id = "0190f5fe-7c00-7a00-8000-000000000001";
        assert_eq!(ReservationId::parse(id).unwrap().to_string(), id);
        assert!(ReservationId::parse("0190f5fe7c007a008000000000000001").is_none());
        assert!(ReservationId::parse("").is_none());
    }
}
