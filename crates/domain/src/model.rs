//! A pure model of one sale in Redis: what every script of `lua/` decides, in ordinary code.
//!
//! Owns no rule of its own: a test runs it beside the real scripts in a real Redis, thousands of
//! random steps, and compares after each. Whoever wants to know what a script means reads it here.
//! Invariant: `available` + units of buyers + marked units changes only by loading and by effects.

use std::collections::BTreeMap;

use crate::{
    AdjustmentId, Epoch, Holder, IdempotencyKey, Quantity, RequestCode, ReservationId, SaleWindow,
    Seq, StoredState,
};

mod operators;

pub use operators::{Mark, Settings, Withdrawal};

/// Whom the `vouch` field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vouch {
    /// Nobody: claimed, or never opened.
    #[default]
    Nobody,
    /// This node: the sale may sell.
    ThisNode,
    /// The node this one was before it restarted.
    AnotherNode,
}

/// Fields an opened sale has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Life of this state.
    pub epoch: Epoch,
    /// Frames published in it.
    pub rev: i64,
    /// Version of the stock.
    pub version: i64,
    /// Units PostgreSQL has.
    pub stock: i64,
    /// What an operator set.
    pub settings: Settings,
}

/// Fields a loaded sale has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Units that can be reserved.
    pub available: i64,
    /// Last arrival.
    pub seq: i64,
    /// Last effect applied.
    pub applied: i64,
}

/// One sale in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// Epoch somebody claimed.
    pub claim: Option<Epoch>,
    /// Whom the node is vouched for as.
    pub vouch: Vouch,
    /// `None` until loaded.
    pub loaded: Option<Loaded>,
    /// `None` until opened.
    pub opened: Option<Opened>,
    /// What an adjustment took out that PostgreSQL has not taken out yet.
    pub mark: Option<Mark>,
    /// Who holds what.
    pub buyers: BTreeMap<i64, Holder>,
    /// Entries of the outbox.
    pub outbox: usize,
}

/// How a claim ended: `begin_vouch.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Claimed; the node remembers this epoch, arrival and effect.
    Claimed(Epoch, i64, i64),
    /// Claimed; the node remembers no opened sale.
    Missing,
    /// This or a later epoch is claimed already.
    Outrun,
}

/// How opening ended: `open_sale.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Vouched for.
    Opened,
    /// A later epoch is claimed.
    Outrun,
    /// The node is another one since, or forgot what it was told.
    Restarted,
}

/// One request of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub user: i64,
    /// How many.
    pub quantity: Quantity,
    /// The proposed id.
    pub candidate: ReservationId,
    /// The idempotency key, if one was sent.
    pub key: Option<IdempotencyKey>,
}

/// What `reserve.lua` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// One code a request, with whoever holds.
    Decided(Vec<(RequestCode, Option<Holder>)>),
    /// Not vouched for.
    Closed,
    /// Past its deadline.
    Stale,
}

/// One effect of `report_stock.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Its number.
    pub n: i64,
    /// What to do.
    pub kind: EffectKind,
}

/// What an effect does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    /// This user holds this.
    Adopt(i64, Holder),
    /// This user does not hold this.
    Void(i64, Holder),
    /// Units more.
    Add(Mark),
    /// Units fewer.
    Withdraw(Mark),
}

impl Model {
    /// `begin_vouch.lua`.
    pub fn begin_vouch(&mut self, epoch: Epoch) -> Begun {
        if self.claim.is_some_and(|claim| claim >= epoch) {
            return Begun::Outrun;
        }
        self.claim = Some(epoch);
        self.vouch = Vouch::Nobody;
        match (self.opened, self.loaded) {
            (Some(opened), Some(loaded)) => {
                Begun::Claimed(opened.epoch, loaded.seq, loaded.applied)
            }
            _ => {
                self.buyers.clear();
                Begun::Missing
            }
        }
    }

    /// `load_sale.lua`; false when outrun.
    pub fn load_sale(&mut self, claim: Epoch, available: i64, applied: i64) -> bool {
        let stands = self.claim == Some(claim);
        if stands {
            self.loaded = Some(Loaded { available, seq: 0, applied });
        }
        stands
    }

    /// `adopt_buyers.lua`; how many were absent, `None` when outrun.
    pub fn adopt(&mut self, claim: Epoch, holders: &[(i64, Holder)]) -> Option<usize> {
        let loaded = self.loaded.as_mut().filter(|_| self.claim == Some(claim))?;
        let absent: Vec<_> =
            holders.iter().filter(|(user, _)| !self.buyers.contains_key(user)).collect();
        for (user, holder) in &absent {
            loaded.available -= holder.quantity.units();
            self.buyers.insert(*user, *holder);
        }
        Some(absent.len())
    }

    /// `open_sale.lua`. `this_node`: the replid that was read is still its own; `gone`: an
    /// adjustment that was refused.
    pub fn open_sale(
        &mut self,
        claim: Epoch,
        this_node: bool,
        adopted_seq: i64,
        opened: Opened,
        gone: Option<AdjustmentId>,
    ) -> Opening {
        if self.claim != Some(claim) {
            return Opening::Outrun;
        }
        let Some(loaded) = self.loaded.as_mut().filter(|_| this_node) else {
            return Opening::Restarted;
        };
        loaded.seq = loaded.seq.max(adopted_seq);
        if let Some(mark) = self.mark.take_if(|mark| Some(mark.id) == gone) {
            loaded.available += mark.units;
        }
        self.vouch = Vouch::ThisNode;
        self.opened = Some(Opened { epoch: claim, rev: 0, ..opened });
        Opening::Opened
    }

    /// `reserve.lua` at `now_ms` of Redis time.
    pub fn reserve(
        &mut self,
        now_ms: i64,
        deadline_ms: i64,
        outbox_bound: usize,
        batch: &[Asked],
    ) -> Decision {
        let (Vouch::ThisNode, Some(opened), Some(mut loaded)) =
            (self.vouch, self.opened, self.loaded)
        else {
            return Decision::Closed;
        };
        if now_ms > deadline_ms {
            return Decision::Stale;
        }
        let refusal = opened.refusal(now_ms, self.outbox >= outbox_bound);
        let mut accepted = false;
        let mut answers = Vec::with_capacity(batch.len());
        for asked in batch {
            let known = self.buyers.get(&asked.user);
            let answer = match known {
                Some(holder) if holder.id == asked.candidate => {
                    (RequestCode::Retried, Some(*holder))
                }
                Some(holder) if asked.key.is_some() && holder.key == asked.key => {
                    (RequestCode::Replayed, Some(*holder))
                }
                Some(holder) => (RequestCode::AlreadyPurchased, Some(*holder)),
                None => match refusal.or_else(|| refuse(asked, &opened, loaded.available)) {
                    Some(code) => (code, None),
                    None => {
                        let holder = loaded.take(asked);
                        self.buyers.insert(asked.user, holder);
                        accepted = true;
                        (RequestCode::Accepted, Some(holder))
                    }
                },
            };
            answers.push(answer);
        }
        self.loaded = Some(loaded);
        self.outbox += usize::from(accepted);
        Decision::Decided(answers)
    }

    /// `report_stock.lua`; the last effect applied, `None` when closed. `claim`: while vouching.
    pub fn report(
        &mut self,
        claim: Option<Epoch>,
        version: i64,
        stock: i64,
        effects: &[Effect],
    ) -> Option<i64> {
        let stands = match claim {
            Some(claim) => self.claim == Some(claim),
            None => self.vouch == Vouch::ThisNode,
        };
        let loaded = self.loaded.as_mut().filter(|_| stands)?;
        for effect in effects {
            if effect.n == loaded.applied + 1 {
                loaded.apply(effect, &mut self.buyers, &mut self.mark);
            }
        }
        if let (None, Some(opened)) = (claim, self.opened.as_mut()) {
            if version > opened.version {
                (opened.version, opened.stock) = (version, stock);
            }
            opened.rev += 1;
        }
        Some(loaded.applied)
    }
}

impl Opened {
    /// What refuses every new reservation.
    fn refusal(&self, now_ms: i64, outbox_full: bool) -> Option<RequestCode> {
        let SaleWindow { opens_at_ms, closes_at_ms } = self.settings.window;
        let ended = closes_at_ms.is_some_and(|at| now_ms >= at);
        match self.settings.state {
            StoredState::Closed => Some(RequestCode::Ended),
            _ if ended => Some(RequestCode::Ended),
            StoredState::Paused => Some(RequestCode::Paused),
            _ if opens_at_ms.is_some_and(|at| now_ms < at) => Some(RequestCode::NotStarted),
            _ => outbox_full.then_some(RequestCode::Overloaded),
        }
    }
}

/// What refuses this request.
fn refuse(asked: &Asked, opened: &Opened, available: i64) -> Option<RequestCode> {
    let units = asked.quantity.units();
    match () {
        () if units > opened.settings.limit => Some(RequestCode::OverLimit),
        () if available <= 0 => Some(RequestCode::SoldOut),
        () if units > available => Some(RequestCode::NotEnough),
        () => None,
    }
}

impl Loaded {
    fn take(&mut self, asked: &Asked) -> Holder {
        self.seq += 1;
        self.available -= asked.quantity.units();
        let Asked { candidate: id, quantity, key, .. } = *asked;
        Holder { id, quantity, seq: Seq(self.seq), key }
    }

    fn apply(
        &mut self,
        effect: &Effect,
        buyers: &mut BTreeMap<i64, Holder>,
        standing: &mut Option<Mark>,
    ) {
        match effect.kind {
            EffectKind::Void(user, holder) => {
                if buyers.get(&user).is_some_and(|present| present.id == holder.id) {
                    buyers.remove(&user);
                    self.available += holder.quantity.units();
                }
            }
            EffectKind::Adopt(user, holder) => {
                buyers.entry(user).or_insert_with(|| {
                    self.available -= holder.quantity.units();
                    holder
                });
            }
            EffectKind::Add(mark) => self.available += mark.units,
            EffectKind::Withdraw(mark) => {
                // Its units were taken when they were marked.
                if standing.take_if(|standing| standing.id == mark.id).is_none() {
                    self.available -= mark.units;
                }
            }
        }
        self.applied = effect.n;
    }
}
