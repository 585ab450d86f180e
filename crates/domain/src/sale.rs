//! The one sale of a product: its window and its state. Pure; time comes in as an argument.
//!
//! Invariant: the state shown to people is derived here and in `lua/` by the same rule, in the
//! order closed, paused, scheduled, ended, sold out, open.

/// What an operator set; stored in PostgreSQL and Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoredState {
    /// Sells while its window is open.
    Open,
    /// Sells nothing until resumed.
    Paused,
    /// Over for good.
    Closed,
}

impl StoredState {
    /// The word PostgreSQL and Redis store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Closed => "closed",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Open, Self::Paused, Self::Closed].into_iter().find(|state| state.as_str() == word)
    }
}

/// What a buyer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaleState {
    /// Its window has not opened yet.
    Scheduled,
    /// Units can be reserved.
    Open,
    /// Stopped by an operator, may resume.
    Paused,
    /// Nothing is available now.
    SoldOut,
    /// Over: closed by an operator or past its window.
    Closed,
}

impl SaleState {
    /// The word the API and the feed use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::SoldOut => "sold_out",
            Self::Closed => "closed",
        }
    }
}

/// When a sale sells, in milliseconds since the Unix epoch; `None` is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaleWindow {
    /// First instant that sells.
    pub opens_at_ms: Option<i64>,
    /// First instant that no longer sells.
    pub closes_at_ms: Option<i64>,
}

impl SaleWindow {
    /// The state people see at `now_ms`, given what is stored and what is available.
    pub fn state_at(self, stored: StoredState, available: i64, now_ms: i64) -> SaleState {
        match stored {
            StoredState::Closed => SaleState::Closed,
            StoredState::Paused => SaleState::Paused,
            StoredState::Open if self.opens_at_ms.is_some_and(|at| now_ms < at) => {
                SaleState::Scheduled
            }
            StoredState::Open if self.closes_at_ms.is_some_and(|at| now_ms >= at) => {
                SaleState::Closed
            }
            StoredState::Open if available <= 0 => SaleState::SoldOut,
            StoredState::Open => SaleState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: SaleWindow = SaleWindow { opens_at_ms: Some(1_000), closes_at_ms: Some(2_000) };

    #[test]
    fn the_window_includes_its_first_instant_and_excludes_its_last() {
        let at = |now| WINDOW.state_at(StoredState::Open, 5, now);
        assert_eq!(at(999), SaleState::Scheduled);
        assert_eq!(at(1_000), SaleState::Open);
        assert_eq!(at(1_999), SaleState::Open);
        assert_eq!(at(2_000), SaleState::Closed);
    }

    #[test]
    fn an_operator_outranks_the_window_and_the_stock() {
        assert_eq!(WINDOW.state_at(StoredState::Paused, 0, 0), SaleState::Paused);
        assert_eq!(WINDOW.state_at(StoredState::Closed, 9, 1_500), SaleState::Closed);
        assert_eq!(WINDOW.state_at(StoredState::Open, 0, 1_500), SaleState::SoldOut);
        assert_eq!(SaleWindow::default().state_at(StoredState::Open, 1, i64::MAX), SaleState::Open);
    }
}
