//! The invariants, judged from what buyers were told and what the stores say. Pure.

use std::collections::HashMap;

use crate::load::{Told, User};

/// One order in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) user: u64,
    pub(crate) quantity: i64,
    pub(crate) confirmed: bool,
}

/// What the stores say at the end, read from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    pub(crate) total: i64,
    pub(crate) stock: i64,
    /// By reservation id.
    pub(crate) orders: HashMap<String, Order>,
    pub(crate) available: i64,
    pub(crate) outbox: i64,
    /// Messages in the queue, and dead letters, as `settler reconcile` counts them.
    pub(crate) queue: i64,
    pub(crate) dead: i64,
    /// What the reconciler found.
    pub(crate) reconciled: bool,
}

/// One invariant, with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    pub(crate) holds: bool,
    pub(crate) figures: String,
}

/// Judges a run. `losses`: for each fault, and the time before the first, whether it took back what
/// Redis had said. Only who bought just before or after such a fault may have lost by it.
pub(crate) fn judge(told: &Told, stores: &Stores, losses: &[bool]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut say = |name, holds, figures| verdicts.push(Verdict { name, holds, figures });
    let confirmed = || stores.orders.values().filter(|order| order.confirmed);
    let holding: i64 = confirmed().map(|order| order.quantity).sum();
    let drift = stores.total - stores.stock - holding;
    say("I1 units add up", drift == 0, format!("{drift} units adrift of {}", stores.total));
    say("I2 never negative", stores.stock >= 0, format!("stock {}", stores.stock));

    let accepted =
        || told.users.values().flat_map(|user| user.accepted.iter().chain(&user.accepted_before));
    let lost = accepted().filter(|id| !stores.orders.contains_key(*id)).count();
    say(
        "I3 every 202 has its outcome",
        lost == 0,
        format!("{lost} lost of {}", accepted().count()),
    );
    let apart = stores.stock - stores.available;
    say("I4 Redis agrees", apart == 0, format!("{apart} units apart"));

    let mut orders_of: HashMap<u64, i64> = HashMap::new();
    confirmed().for_each(|order| *orders_of.entry(order.user).or_default() += order.quantity);
    let doubled = orders_of.values().filter(|units| **units > 1).count();
    say("I5 nobody has two", doubled == 0, format!("{doubled} doubled"));

    let invented = confirmed().filter(|order| !told.users.contains_key(&order.user)).count();
    say("I6 nobody got what they did not ask for", invented == 0, format!("{invented} invented"));
    let is_rejected = |id: &String| stores.orders.get(id).is_some_and(|order| !order.confirmed);
    // How many of these users there are, and how many of them no loss of Redis explains.
    let count = |is: &dyn Fn(&User) -> bool| {
        let near_a_loss = |user: &User| losses.iter().skip(user.accepted_in).take(2).any(|l| *l);
        let found: Vec<_> = told.users.values().filter(|user| is(user)).collect();
        let owed = found.iter().filter(|user| !near_a_loss(user)).count();
        (found.len(), owed)
    };
    let (all, owed) =
        count(&|user| user.accepted.iter().chain(&user.accepted_before).any(is_rejected));
    let figures = format!("{all} rejected, {owed} of them far from any loss of Redis");
    say("I7 rejected after a 202", owed == 0, figures);
    let waiting = stores.queue + stores.outbox + stores.dead;
    let figures = format!("queue {}, outbox {}, dead {}", stores.queue, stores.outbox, stores.dead);
    say("I8 everything is settled", waiting == 0 && stores.reconciled, figures);
    let undersold = stores.stock;
    say("I9 everything is sold", undersold == 0, format!("{undersold} undersold"));

    let (all, owed) = count(&|user| user.contradicted);
    let figures = format!("{all} contradicted, {owed} of them far from any loss of Redis");
    say("I11 a replay is the same", owed == 0, figures);
    let refused_and_charged = told
        .users
        .iter()
        .filter(|(_, user)| user.accepted.is_none() && user.owns.is_none() && !user.unknown)
        .filter(|(user, _)| orders_of.contains_key(user))
        .count();
    let figures = format!("{refused_and_charged} refused and charged");
    say("I12 a refusal reserves nothing", refused_and_charged == 0, figures);
    let strange = told.strange.len();
    let first = told.strange.first().cloned().unwrap_or_default();
    say("only answers the API promises", strange == 0, format!("{strange} others {first}"));
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (Told, Stores) {
        let mut told = Told::default();
        let accepted = User { accepted: Some("a".into()), ..User::default() };
        told.users.insert(1, accepted);
        told.users.insert(2, User { unknown: true, ..User::default() });
        told.users.insert(3, User::default());
        let order = |user| Order { user, quantity: 1, confirmed: true };
        let orders = [("a".to_owned(), order(1)), ("b".to_owned(), order(2))].into();
        let stores = Stores { total: 2, orders, reconciled: true, ..Stores::default() };
        (told, stores)
    }

    fn broken(change: impl Fn(&mut Told, &mut Stores)) -> Vec<&'static str> {
        let (mut told, mut stores) = good();
        change(&mut told, &mut stores);
        let verdicts = judge(&told, &stores, &[false, false]);
        verdicts.iter().filter(|v| !v.holds).map(|v| &v.name[..3]).collect()
    }

    #[test]
    fn a_good_run_passes_and_every_kind_of_bad_one_does_not() {
        assert_eq!(broken(|_, _| {}), [""; 0]);
        assert_eq!(broken(|_, s| _ = s.orders.remove("a")), ["I1 ", "I3 "]);
        assert_eq!(broken(|_, s| (s.stock, s.available, s.total) = (1, 1, 3)), ["I9 "]);
        assert_eq!(broken(|_, s| (s.stock, s.available, s.total) = (-1, -1, 1)), ["I2 ", "I9 "]);
        assert_eq!(broken(|_, s| s.available = 1), ["I4 "]);
        let twice = |s: &mut Stores| s.orders.get_mut("b").into_iter().for_each(|o| o.user = 1);
        assert_eq!(broken(|_, s| twice(s)), ["I5 "]);
        assert_eq!(broken(|t, _| _ = t.users.remove(&2)), ["I6 "]);
        let reject = |s: &mut Stores| {
            s.orders.get_mut("a").into_iter().for_each(|o| o.confirmed = false);
            s.total = 1;
        };
        assert_eq!(broken(|_, s| reject(s)), ["I7 "]);
        assert_eq!(broken(|_, s| s.outbox = 1), ["I8 "]);
        assert_eq!(broken(|_, s| s.reconciled = false), ["I8 "]);
        let refused =
            |t: &mut Told| t.users.get_mut(&2).into_iter().for_each(|u| u.unknown = false);
        assert_eq!(broken(|t, _| refused(t)), ["I12"]);
        assert_eq!(broken(|t, _| t.strange.push("500".into())), ["onl"]);
    }

    #[test]
    fn a_rejection_is_forgiven_only_when_redis_lost_data() {
        let (told, mut stores) = good();
        stores.orders.get_mut("a").into_iter().for_each(|order| order.confirmed = false);
        stores.total = 1;
        for losses in [[true, false], [false, true]] {
            assert!(judge(&told, &stores, &losses).iter().all(|verdict| verdict.holds));
        }
    }
}
