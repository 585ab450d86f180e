//! What an operator may change of a sale, and when: pure decisions.
//!
//! Leaves the statements to `records`. Invariant: nothing of a sale that was closed for good
//! changes, and a window never ends before it begins.

use domain::contract::admin::{ChangeSale, CreateProduct};
use domain::contract::strict::BodyError;
use domain::{SaleWindow, StoredState};

use crate::error::Refusal;
use crate::records::SaleRecord;

/// What becomes of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaleChange {
    /// What is named.
    Settings(ChangeSale),
    /// It sells nothing until resumed.
    Pause,
    /// It sells again.
    Resume,
    /// It is over for good.
    Close,
}

/// The sale after a change; `None` when it is like that already.
///
/// # Errors
/// See [`Refusal`].
pub fn changed(sale: &SaleRecord, change: &SaleChange) -> Result<Option<SaleRecord>, Refusal> {
    let mut after = sale.clone();
    match change {
        SaleChange::Close => after.state = StoredState::Closed,
        _ if sale.state == StoredState::Closed => return Err(Refusal::SaleEnded),
        SaleChange::Pause => after.state = StoredState::Paused,
        SaleChange::Resume => after.state = StoredState::Open,
        SaleChange::Settings(change) => {
            let ChangeSale { name, price_minor, limit, hold_seconds, opens_at_ms, closes_at_ms } =
                change.clone();
            after.name = name.unwrap_or(after.name);
            after.price_minor = price_minor.unwrap_or(after.price_minor);
            after.limit = limit.unwrap_or(after.limit);
            after.hold_seconds = hold_seconds.unwrap_or(after.hold_seconds);
            after.window.opens_at_ms = opens_at_ms.unwrap_or(after.window.opens_at_ms);
            after.window.closes_at_ms = closes_at_ms.unwrap_or(after.window.closes_at_ms);
            check_window(after.window)?;
        }
    }
    Ok((after != *sale).then_some(after))
}

/// Whether a product may be created like this.
///
/// # Errors
/// See [`Refusal`].
pub fn check_new(new: &CreateProduct) -> Result<(), Refusal> {
    check_window(SaleWindow { opens_at_ms: new.opens_at_ms, closes_at_ms: new.closes_at_ms })
}

fn check_window(window: SaleWindow) -> Result<(), Refusal> {
    match (window.opens_at_ms, window.closes_at_ms) {
        (Some(opens), Some(closes)) if closes <= opens => {
            Err(Refusal::Field(BodyError::field("closes_at", "must be later than opens_at")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use domain::ProductId;

    use super::*;

    fn sale(state: StoredState) -> SaleRecord {
        let window = SaleWindow { opens_at_ms: Some(1_000), closes_at_ms: None };
        SaleRecord { state, window, ..SaleRecord::new(ProductId::new(1).unwrap(), 5) }
    }

    fn state_after(
        state: StoredState,
        change: &SaleChange,
    ) -> Result<Option<StoredState>, Refusal> {
        changed(&sale(state), change).map(|after| after.map(|sale| sale.state))
    }

    #[test]
    fn a_state_that_stands_is_no_change_and_closed_is_for_good() {
        use StoredState::{Closed, Open, Paused};
        assert_eq!(state_after(Open, &SaleChange::Pause), Ok(Some(Paused)));
        assert_eq!(state_after(Paused, &SaleChange::Pause), Ok(None));
        assert_eq!(state_after(Paused, &SaleChange::Resume), Ok(Some(Open)));
        assert_eq!(state_after(Paused, &SaleChange::Close), Ok(Some(Closed)));
        assert_eq!(state_after(Closed, &SaleChange::Close), Ok(None));
        for change in [
            SaleChange::Pause,
            SaleChange::Resume,
            SaleChange::Settings(ChangeSale { limit: Some(2), ..ChangeSale::default() }),
        ] {
            assert_eq!(state_after(Closed, &change), Err(Refusal::SaleEnded));
        }
    }

    #[test]
    fn a_window_is_judged_with_what_is_stored() {
        let to = |opens_at_ms, closes_at_ms| {
            let change = ChangeSale { opens_at_ms, closes_at_ms, ..ChangeSale::default() };
            changed(&sale(StoredState::Open), &SaleChange::Settings(change))
                .map(|after| after.map(|sale| sale.window))
        };
        assert!(matches!(to(None, Some(Some(1_000))), Err(Refusal::Field(_))));
        let window = to(Some(None), Some(Some(1_000))).unwrap().unwrap();
        assert_eq!(window, SaleWindow { opens_at_ms: None, closes_at_ms: Some(1_000) });
        assert_eq!(to(Some(Some(1_000)), None), Ok(None), "nothing new");
    }
}
