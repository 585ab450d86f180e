//! What buyers were told, and what it must agree with in the end. Pure.

use std::collections::{BTreeMap, BTreeSet};

use domain::{OrderStatus, ReservationId};

use crate::executor::Process;
use crate::port::Weather;
use crate::redis_nodes::RedisNodes;
use crate::tables::Tables;

/// What one user was told.
#[derive(Debug, Clone, Default)]
struct User {
    presses: u32,
    /// Presses refused for certain. The others may have reserved something.
    refusals: u32,
    /// Reservations a 202 named.
    accepted: Vec<ReservationId>,
    /// The reservation named last, by a 202 or a 409.
    owns: Option<ReservationId>,
    /// Two answers name two reservations.
    contradicted: bool,
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
    /// A repeated idempotency key was not recognised.
    pub(crate) key_forgotten: bool,
    /// Presses of Buy.
    pub(crate) attempts: u64,
    pub(crate) accepted: u64,
}

impl Told {
    pub(crate) fn asked(&mut self, user: i64) {
        self.attempts += 1;
        self.users.entry(user).or_default().presses += 1;
    }

    pub(crate) fn accepted(&mut self, user: i64, id: ReservationId) {
        self.accepted += 1;
        self.sold_out_in_a_row = 0;
        self.note(user, id).accepted.push(id);
    }

    pub(crate) fn owns(&mut self, user: i64, id: ReservationId) {
        let known = self.note(user, id);
        known.told_of_none |= known.presses == 1;
    }

    fn note(&mut self, user: i64, id: ReservationId) -> &mut User {
        let known = self.users.entry(user).or_default();
        known.contradicted |= known.owns.is_some_and(|before| before != id);
        known.owns = Some(id);
        known
    }

    /// Nothing was reserved, for certain.
    pub(crate) fn refused(&mut self, user: i64) {
        self.users.entry(user).or_default().refusals += 1;
    }

    /// What does not agree at the end, when all is quiet and everything was asked for.
    pub(crate) fn judge(
        &self,
        tables: &Tables,
        redis: &RedisNodes,
        weather: Weather,
    ) -> Result<(), String> {
        balance(tables, redis)?;
        let sale = &tables.sale;
        check(sale.stock == 0, "I9: units were not sold")?;
        check(!self.key_forgotten, "I11: an idempotency key was forgotten")?;
        let accepted = || self.users.values().flat_map(|user| &user.accepted);
        let lost = accepted().any(|id| !tables.orders.contains_key(id));
        check(!lost, "I3: a 202 has no outcome")?;
        let users = holders(tables);
        let refused =
            |user: &i64| self.users.get(user).is_none_or(|told| told.presses == told.refusals);
        check(!users.keys().any(refused), "I12: refused, and charged")?;
        let frame = redis.frame.ok_or("I10: nothing was ever published")?;
        let told = (frame.stock, frame.available, frame.epoch);
        if told != (sale.stock, 0, sale.epoch) {
            return Err(format!("I10: the newest frame, {frame:?}, is not the truth, {sale:?}"));
        }

        let is_rejected = |id: &ReservationId| {
            tables.orders.get(id).is_some_and(|row| row.status == OrderStatus::Rejected)
        };
        let rejected = accepted().filter(|id| is_rejected(id)).count();
        match weather {
            Weather::PartsDie => {
                check(rejected == 0, "I7: rejected after a 202")?;
                // Whoever gave an order up may have another.
                let given_up: BTreeSet<i64> =
                    tables.given_up().map(|row| row.order.user.get()).collect();
                let kept = || self.users.iter().filter(|(id, _)| !given_up.contains(id));
                let invented = kept().any(|(_, user)| user.told_of_none);
                check(!invented, "a first press is told of an earlier order")?;
                let contradicted = kept().any(|(_, user)| user.contradicted);
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

fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Whose order holds units, by user.
fn holders(tables: &Tables) -> BTreeMap<i64, ReservationId> {
    tables.holding().map(|row| (row.order.user.get(), row.order.id)).collect()
}

/// What must agree whenever all is quiet.
pub(crate) fn balance(tables: &Tables, redis: &RedisNodes) -> Result<(), String> {
    let sale = &tables.sale;
    check(sale.total == sale.stock + tables.units_held(), "I1: units appeared or vanished")?;
    check(sale.stock >= 0, "I2: the stock is negative")?;
    let users = holders(tables);
    check(users.len() == tables.holding().count(), "I5: a user holds two orders")?;
    let in_redis = redis.holders(redis.primary).into_iter();
    let in_redis: BTreeMap<_, _> = in_redis.map(|(user, holder)| (user, holder.id)).collect();
    check(users == in_redis, "I4: Redis and PostgreSQL know other holders")?;
    check(redis.available(redis.primary) == sale.stock, "I4: available is not the stock")
}
