//! What operators cause: settings, marks of adjustments, and forgetting.
//!
//! Invariant: at most one mark stands, and its units are in nobody's reach.

use super::{Model, Vouch};
use crate::{AdjustmentId, Epoch, SaleWindow, StoredState};

/// What an operator set, under a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Number of this value.
    pub sale_version: i64,
    /// Units in all.
    pub total: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// Open, paused or closed.
    pub state: StoredState,
    /// When it sells.
    pub window: SaleWindow,
}

/// Units an adjustment took out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The adjustment.
    pub id: AdjustmentId,
    /// Units.
    pub units: i64,
}

/// How marking units ended: `withdraw_units.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Marked, now or before.
    Marked,
    /// Not vouched for.
    Closed,
    /// Fewer are free.
    NotEnough,
    /// Another mark stands.
    Busy,
    /// An effect came since.
    Stale,
}

impl Model {
    /// `forget_sale.lua`; false when outrun.
    pub fn forget_sale(&mut self, claim: Epoch) -> bool {
        let stands = self.claim == Some(claim);
        if stands {
            *self = Self { claim: self.claim, outbox: self.outbox, ..Self::default() };
        }
        stands
    }

    /// `update_sale.lua`; whether it was news, `None` when closed.
    pub fn update(&mut self, settings: Settings) -> Option<bool> {
        let opened = self.opened.as_mut().filter(|_| self.vouch == Vouch::ThisNode)?;
        let news = settings.sale_version > opened.settings.sale_version;
        if news {
            opened.settings = settings;
            opened.rev += 1;
        }
        Some(news)
    }

    /// `withdraw_units.lua`, of a caller that saw effects up to `seen`.
    pub fn withdraw(&mut self, asked: Mark, seen: i64) -> Withdrawal {
        let (Vouch::ThisNode, Some(opened), Some(loaded)) =
            (self.vouch, self.opened.as_mut(), self.loaded.as_mut())
        else {
            return Withdrawal::Closed;
        };
        match self.mark {
            _ if loaded.applied > seen => Withdrawal::Stale,
            Some(mark) if mark.id == asked.id => Withdrawal::Marked,
            Some(_) => Withdrawal::Busy,
            None if loaded.available < asked.units => Withdrawal::NotEnough,
            None => {
                loaded.available -= asked.units;
                self.mark = Some(asked);
                opened.rev += 1;
                Withdrawal::Marked
            }
        }
    }

    /// `release_units.lua`; whether there was anything, `None` when closed.
    pub fn release(&mut self, id: AdjustmentId) -> Option<bool> {
        let opened = self.opened.as_mut().filter(|_| self.vouch == Vouch::ThisNode)?;
        let loaded = self.loaded.as_mut()?;
        let mark = self.mark.take_if(|mark| mark.id == id);
        if let Some(mark) = mark {
            loaded.available += mark.units;
            opened.rev += 1;
        }
        Some(mark.is_some())
    }
}
