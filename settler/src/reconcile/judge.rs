//! What the figures say: pure decisions of the reconciler.
//!
//! PostgreSQL is read before Redis. Stock only falls by settling what Redis had reserved, so units
//! available later can never be more than the stock was earlier.
//! Invariant: what cannot be compared is no finding; a finding needs no second look to be true.

use books::cut::Cut;
use domain::contract::reconcile::{Finding, ProductBooks};
use domain::{Epoch, ProductId};

/// One product in PostgreSQL, from one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// The product.
    pub product: ProductId,
    /// Units in all.
    pub total: i64,
    /// Units not owned by an order.
    pub stock: i64,
    /// Units owned by orders.
    pub holding: i64,
    /// Units of `total` that neither its beginning nor an adjustment explains.
    pub unexplained: i64,
    /// Buyers with more than the largest limit the sale ever had.
    pub over_limit: i64,
    /// Newest epoch.
    pub epoch: Epoch,
    /// Number of the last effect.
    pub effect_seq: i64,
    /// Number of this value of the stock.
    pub version: i64,
}

/// What one look at a product found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// PostgreSQL, read first.
    pub ledger: Ledger,
    /// Redis, read second; `None` when it is away or has no such sale.
    pub cut: Option<Cut>,
    /// Messages in the queue; `None` when the broker is away.
    pub queue: Option<u32>,
}

impl Look {
    /// Redis knows what PostgreSQL knew: same life of the sale, every effect applied.
    fn comparable(&self) -> Option<Cut> {
        let ledger = &self.ledger;
        self.cut.filter(|c| c.open && c.epoch == ledger.epoch && c.applied == ledger.effect_seq)
    }

    /// Nothing waits, and nothing happened since the look before.
    fn is_quiet(&self, before: Option<&Self>) -> bool {
        let idle = self.queue == Some(0) && self.cut.is_some_and(|cut| cut.outbox == 0);
        idle && before.is_some_and(|before| before.cut == self.cut && before.ledger == self.ledger)
    }
}

/// The books of one product, and what is wrong with them.
pub fn judge(look: &Look, before: Option<&Look>) -> ProductBooks {
    let Ledger { product, total, stock, holding, unexplained, over_limit, .. } = look.ledger;
    let quiet = look.is_quiet(before);
    let compared = look.comparable();
    let open = compared.map(|cut| stock - cut.available - cut.marked);
    let mut findings = Vec::new();
    let mut find = |invariant, amount: i64, detail| {
        if amount != 0 {
            findings.push(Finding { invariant, amount, detail });
        }
    };
    find("I1", total - stock - holding, "units are neither in stock nor in an order");
    find("I1", unexplained, "the total was changed by no adjustment");
    find("I2", (-stock).max(0), "the stock is negative");
    find("I5", over_limit, "buyers hold more than the limit");
    match open {
        Some(open) if open < 0 => find("I4", -open, "Redis can reserve units that are not there"),
        Some(open) if quiet => find("I4", open, "units are reserved and nobody will settle them"),
        _ => {}
    }
    ProductBooks {
        product_id: product.get(),
        total,
        stock,
        holding,
        available: compared.map(|cut| cut.available),
        open,
        outbox: look.cut.map(|cut| cut.outbox),
        quiet,
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            ledger: Ledger {
                product: ProductId::new(1).unwrap(),
                total: 100,
                stock: 60,
                holding: 40,
                unexplained: 0,
                over_limit: 0,
                epoch: Epoch(2),
                effect_seq: 3,
                version: 9,
            },
            cut: Some(Cut {
                open: true,
                available: 60,
                epoch: Epoch(2),
                seq: 40,
                applied: 3,
                outbox: 0,
                marked: 0,
                sale_version: 1,
            }),
            queue: Some(0),
        }
    }

    fn found(look: &Look, before: Option<&Look>) -> Vec<(&'static str, i64)> {
        judge(look, before).findings.iter().map(|f| (f.invariant, f.amount)).collect()
    }

    fn with_cut(change: impl Fn(&mut Cut)) -> Look {
        let mut changed = look();
        changed.cut.as_mut().into_iter().for_each(change);
        changed
    }

    #[test]
    fn books_that_add_up_are_quiet_on_the_second_look() {
        let books = judge(&look(), None);
        assert!(books.findings.is_empty() && !books.quiet);
        assert_eq!((books.available, books.open), (Some(60), Some(0)));
        assert!(judge(&look(), Some(&look())).quiet);
    }

    #[test]
    fn each_drift_in_postgresql_is_found() {
        let with = |change: fn(&mut Ledger)| {
            let mut changed = look();
            change(&mut changed.ledger);
            found(&changed, None)
        };
        assert_eq!(with(|l| l.holding = 39), [("I1", 1)]);
        assert_eq!(with(|l| l.holding = 42), [("I1", -2)]);
        assert_eq!(with(|l| l.unexplained = 2), [("I1", 2)]);
        assert_eq!(with(|l| l.over_limit = 3), [("I5", 3)]);
        assert_eq!(with(|l| (l.stock, l.holding) = (-5, 105)), [("I2", 5), ("I4", 65)]);
    }

    #[test]
    fn redis_may_have_less_than_the_stock_until_all_is_quiet_and_never_more() {
        let selling = with_cut(|cut| cut.available = 50);
        assert_eq!(judge(&selling, None).open, Some(10));
        assert_eq!(found(&selling, None), []);
        assert_eq!(found(&selling, Some(&look())), [], "something happened since");
        assert_eq!(found(&selling, Some(&selling)), [("I4", 10)]);
        let waiting = Look { queue: Some(1), ..selling };
        assert_eq!(found(&waiting, Some(&waiting)), []);
        let in_outbox = with_cut(|cut| (cut.available, cut.outbox) = (50, 1));
        assert_eq!(found(&in_outbox, Some(&in_outbox)), []);
        assert_eq!(found(&with_cut(|cut| cut.available = 61), None), [("I4", 1)]);
    }

    #[test]
    fn units_an_adjustment_marked_are_neither_available_nor_open() {
        let marked = with_cut(|cut| (cut.available, cut.marked) = (50, 10));
        assert_eq!(judge(&marked, None).open, Some(0));
        assert_eq!(found(&marked, Some(&marked)), []);
        let too_many = with_cut(|cut| (cut.available, cut.marked) = (50, 11));
        assert_eq!(found(&too_many, None), [("I4", 1)]);
    }

    #[test]
    fn what_cannot_be_compared_is_no_finding() {
        let odd: [fn(&mut Cut); 3] =
            [|cut| cut.open = false, |cut| cut.epoch = Epoch(1), |cut| cut.applied = 2];
        for change in odd {
            let look = with_cut(|cut| {
                cut.available = 99;
                change(cut);
            });
            assert_eq!(found(&look, Some(&look)), []);
            assert_eq!(judge(&look, None).available, None);
        }
        let away = Look { cut: None, queue: None, ..look() };
        assert_eq!(found(&away, Some(&away)), []);
    }
}
