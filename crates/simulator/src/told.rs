//! What buyers were told, and what it must agree with in the end. Pure.

use std::collections::BTreeMap;

use domain::{OrderStatus, ReservationId};

use crate::executor::Process;
use crate::ledger::Tables;
use crate::port::Weather;
use crate::redis_nodes::RedisNodes;

/// What one user was told.
#[derive(Debug, Clone, Copy, Default)]
struct User {
    /// By a 202 or a 409.
    owns: Option<ReservationId>,
    /// A 202.
    accepted: bool,
    /// Nothing certain: the outcome is unknown, or the edge died.
    unknown: bool,
    /// Two answers name two reservations.
    contradicted: bool,
    presses: u32,
    /// Pressed once and was told of an earlier order.
    told_of_none: bool,
}

/// Everything everybody was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    users: BTreeMap<i64, User>,
    /// Batches an edge keeps until the broker confirms them.
    pub(crate) unconfirmed: BTreeMap<Process, usize>,
    /// Sold out, without anything else between.
    pub(crate) sold_out_in_a_row: u32,
    /// Presses of Buy.
    pub(crate) attempts: u64,
    pub(crate) accepted: u64,
}

impl Told {
    pub(crate) fn asked(&mut self, user: i64) {
        self.attempts += 1;
        let known = self.users.entry(user).or_default();
        known.presses += 1;
        // Until an answer comes, an edge may die with it.
        known.unknown = true;
    }

    pub(crate) fn accepted(&mut self, user: i64, id: ReservationId) {
        self.accepted += 1;
        self.sold_out_in_a_row = 0;
        self.note(user, id);
        self.users.entry(user).or_default().accepted = true;
    }

    pub(crate) fn owns(&mut self, user: i64, id: ReservationId) {
        let known = self.users.entry(user).or_default();
        known.told_of_none |= known.presses == 1;
        self.note(user, id);
    }

    fn note(&mut self, user: i64, id: ReservationId) {
        let known = self.users.entry(user).or_default();
        known.contradicted |= known.owns.is_some_and(|before| before != id);
        known.owns = Some(id);
    }

    /// Refused for certain, with nothing unknown before: `certain` says whether this was the first
    /// press.
    pub(crate) fn refused(&mut self, user: i64, first_press: bool) {
        if first_press {
            self.users.entry(user).or_default().unknown = false;
        }
    }

    pub(crate) fn has_pressed(&self, user: i64) -> bool {
        self.users.contains_key(&user)
    }

    /// What does not agree at the end, when all is quiet and everything was asked for.
    pub(crate) fn judge(
        &self,
        tables: &Tables,
        redis: &RedisNodes,
        weather: Weather,
    ) -> Result<(), String> {
        let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        let sale = &tables.sale;
        check(sale.total == sale.stock + tables.units_held(), "I1: units appeared or vanished")?;
        check(sale.stock >= 0, "I2: the stock is negative")?;
        let lost = self.users.values().filter(|user| user.accepted);
        let lost = lost.filter_map(|user| user.owns).find(|id| !tables.orders.contains_key(id));
        check(lost.is_none(), "I3: a 202 has no outcome")?;

        let in_redis: BTreeMap<_, _> = redis
            .holders(redis.primary)
            .into_iter()
            .map(|(user, holder)| (user, holder.id))
            .collect();
        let in_tables: Vec<_> =
            tables.holding().map(|row| (row.order.user.get(), row.order.id)).collect();
        let users: BTreeMap<_, _> = in_tables.iter().copied().collect();
        check(users.len() == in_tables.len(), "I5: a user holds two orders")?;
        check(users == in_redis, "I4: Redis and PostgreSQL know other holders")?;
        check(redis.available(redis.primary) == sale.stock, "I4: available is not the stock")?;
        check(sale.stock == 0, "I9: units were not sold")?;

        let charged = |user: &&i64| {
            self.users.get(user).is_none_or(|told| told.owns.is_none() && !told.unknown)
        };
        check(!users.keys().any(|user| charged(&user)), "I12: refused, and charged")?;
        let frame = redis.frame.ok_or("I10: nothing was ever published")?;
        let told = (frame.stock, frame.available, frame.epoch);
        if told != (sale.stock, 0, sale.epoch) {
            return Err(format!("I10: the newest frame, {frame:?}, is not the truth, {sale:?}"));
        }

        let is_rejected = |id: &ReservationId| {
            tables.orders.get(id).is_some_and(|row| row.status == OrderStatus::Rejected)
        };
        let accepted = self.users.values().filter(|user| user.accepted);
        let rejected = accepted.filter_map(|user| user.owns).filter(is_rejected).count();
        match weather {
            Weather::PartsDie => {
                check(rejected == 0, "I7: rejected after a 202")?;
                let invented = self.users.values().any(|user| user.told_of_none);
                check(!invented, "a first press is told of an earlier order")?;
                let contradicted = self.users.values().any(|user| user.contradicted);
                check(!contradicted, "I11: a replay has another id")
            }
            Weather::RedisForgets => {
                let lost = redis.lost.len();
                // A lost order has at most two units, each of which may have been sold again.
                check(rejected <= 2 * lost, "I7: more rejected than Redis lost")
            }
        }
    }
}
