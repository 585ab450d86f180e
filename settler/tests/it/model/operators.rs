//! Random steps of operators: settings, marks of adjustments, and forgetting; and mishaps.

use domain::contract::keys;
use domain::model::{Mark, Model, Settings, Vouch, Withdrawal};
use domain::{AdjustmentId, SaleWindow, StoredState};
use service::redis_pool::RedisCalls;

use super::{ELSEWHERE, HOUR_MS, Pair, TOTAL, ints, now_ms};
use crate::fixture::product;

impl Pair {
    pub(super) async fn update(&mut self) {
        let settings = self.settings();
        let reply = self.call("update_sale", |command| {
            command.arg(keys::FEED_CHANNEL).arg(product().get()).arg(settings.sale_version);
            command.arg(settings.total).arg(settings.limit);
            command.arg(settings.window.opens_at_ms.unwrap_or(0));
            command.arg(settings.window.closes_at_ms.unwrap_or(0)).arg(settings.state.as_str());
        });
        let code = ints(&reply.await)[0];
        self.note(
            &["updated", "update current", "updating closed"][usize::try_from(code).unwrap()],
        );
        let expected = self.model.update(settings).map_or(2, |news| i64::from(!news));
        assert_eq!(code, expected, "{settings:?}");
    }

    /// One of a few adjustments, mostly the one whose mark stands.
    pub(super) fn adjustment(&mut self) -> AdjustmentId {
        match self.model.mark {
            Some(mark) if !self.dice.one_in(3) => mark.id,
            _ => AdjustmentId(uuid::Uuid::from_u128(u128::try_from(self.dice.below(5)).unwrap())),
        }
    }

    pub(super) async fn withdraw(&mut self) {
        let asked = Mark { id: self.adjustment(), units: 1 + self.dice.below(12) };
        let applied = self.model.loaded.map_or(0, |loaded| loaded.applied);
        let seen = applied + 1 - self.dice.below(3);
        let reply = self.call("withdraw_units", |command| {
            command.arg(keys::FEED_CHANNEL).arg(product().get()).arg(asked.id.to_string());
            command.arg(asked.units).arg(seen);
        });
        let withdrawal = match ints(&reply.await)[0] {
            0 => Withdrawal::Marked,
            1 => Withdrawal::Closed,
            2 => Withdrawal::NotEnough,
            3 => Withdrawal::Busy,
            _ => Withdrawal::Stale,
        };
        assert_eq!(withdrawal, self.model.withdraw(asked, seen), "{asked:?}");
        self.note(&("withdrawal", withdrawal));
    }

    pub(super) async fn release(&mut self) {
        let id = self.adjustment();
        let reply = self.call("release_units", |command| {
            command.arg(keys::FEED_CHANNEL).arg(product().get()).arg(id.to_string());
        });
        let code = ints(&reply.await)[0];
        self.note(&["released", "no mark", "releasing closed"][usize::try_from(code).unwrap()]);
        let expected = self.model.release(id).map_or(2, |released| i64::from(!released));
        assert_eq!(code, expected, "{id}");
    }

    /// As a gatekeeper does after a reset: what is forgotten is loaded before anything else.
    pub(super) async fn forget(&mut self) {
        let claim = self.claim();
        let reply = self.call("forget_sale", |command| _ = command.arg(claim.0));
        let forgotten = ints(&reply.await) == [0];
        self.note(&if forgotten { "forgotten" } else { "forgetting outrun" });
        assert_eq!(forgotten, self.model.forget_sale(claim));
    }

    /// What an operator may set: mostly a sale that sells.
    pub(super) fn settings(&mut self) -> Settings {
        let states = [StoredState::Open, StoredState::Paused, StoredState::Closed];
        let rare = if self.dice.one_in(6) { 1 + self.dice.below(2) } else { 0 };
        let now = now_ms();
        // Mostly a window that sells, or none.
        let mut at = |likely: i64| match self.dice.below(20) {
            0 => Some(now - HOUR_MS),
            1 => Some(now + HOUR_MS),
            2..=7 => Some(now + likely),
            _ => None,
        };
        let window = SaleWindow { opens_at_ms: at(-HOUR_MS), closes_at_ms: at(HOUR_MS) };
        Settings {
            sale_version: self.dice.below(9),
            total: TOTAL + self.dice.below(9),
            limit: 1 + self.dice.below(4),
            state: states[usize::try_from(rare).unwrap()],
            window,
        }
    }

    /// What befalls a node: its vouch is not its own any more, or everything is gone.
    pub(super) async fn befall(&mut self) {
        let mut command = redis::cmd("FLUSHALL");
        match self.dice.below(4) {
            0 => self.model = Model::default(),
            1 => {
                command = redis::cmd("HSET");
                command.arg(keys::sale(product())).arg(keys::SALE_VOUCH_FIELD).arg(ELSEWHERE);
                self.model.vouch = Vouch::AnotherNode;
            }
            _ => {
                command = redis::cmd("HDEL");
                command.arg(keys::sale(product())).arg(keys::SALE_VOUCH_FIELD);
                self.model.vouch = Vouch::Nobody;
            }
        }
        self.redis.query(&command).await.unwrap();
    }
}
