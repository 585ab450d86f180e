//! The durable record of a reservation and its outcome. Owns the words PostgreSQL stores.
//!
//! Invariant: the statuses for which [`OrderStatus::holds_units`] is true are exactly those of
//! the partial unique index `orders_one_holder` in `sql/schema`.

/// Where an order stands. `Queued` exists before PostgreSQL knows it; the rest are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Reserved and accepted, not yet settled.
    Queued,
    /// Settled: the buyer owns the units.
    Confirmed,
    /// Settled: the buyer gets nothing; a [`RejectReason`] says why.
    Rejected,
    /// Settled, waiting for payment until it expires.
    Held,
    /// A held order that was paid.
    Paid,
    /// A held order given back by its buyer.
    Cancelled,
    /// A held order nobody paid in time.
    Expired,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Confirmed,
        Self::Rejected,
        Self::Held,
        Self::Paid,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word the API, the feed and PostgreSQL use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Held => "held",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether units of stock belong to an order of this status.
    pub const fn holds_units(self) -> bool {
        matches!(self, Self::Confirmed | Self::Held | Self::Paid)
    }
}

/// Why an accepted reservation was rejected at settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// Another order of the same user holds units of this product.
    AlreadyPurchased,
    /// The database holds fewer units than the order asks; only after Redis lost data.
    OutOfStock,
}

impl RejectReason {
    /// The word PostgreSQL and the API use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyPurchased => "already_purchased",
            Self::OutOfStock => "out_of_stock",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_back_from_its_word() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(OrderStatus::parse("shipped"), None);
    }
}
