//! Effects as columns, for one `unnest` however many they are.
//!
//! Invariant: the order of columns is that of the parameters of `append_effects.sql`.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::effects::Effect;

/// Columns of effects.
#[derive(Debug)]
pub(crate) struct EffectColumns {
    products: Vec<i64>,
    ns: Vec<i64>,
    kinds: Vec<&'static str>,
    reservations: Vec<Option<Uuid>>,
    users: Vec<Option<i64>>,
    quantities: Vec<i64>,
    seqs: Vec<Option<i64>>,
    adjustments: Vec<Option<Uuid>>,
}

impl EffectColumns {
    /// Turns rows into columns.
    pub(crate) fn of(effects: &[Effect]) -> Self {
        let orders = || effects.iter().map(|effect| effect.kind.order());
        let changes = || effects.iter().map(|effect| effect.kind.change());
        let units = |effect: &Effect| {
            let of_order = effect.kind.order().map(|order| order.quantity.units());
            of_order.or_else(|| effect.kind.change().map(|change| change.units)).unwrap_or(0)
        };
        Self {
            products: effects.iter().map(|effect| effect.product.get()).collect(),
            ns: effects.iter().map(|effect| effect.n).collect(),
            kinds: effects.iter().map(|effect| effect.kind.as_str()).collect(),
            reservations: orders().map(|order| Some(order?.id.0)).collect(),
            users: orders().map(|order| Some(order?.user.get())).collect(),
            quantities: effects.iter().map(units).collect(),
            seqs: orders().map(|order| Some(order?.seq.0)).collect(),
            adjustments: changes().map(|change| Some(change?.adjustment.0)).collect(),
        }
    }

    /// The parameters `$1` to `$8`.
    pub(crate) fn params(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.products,
            &self.ns,
            &self.kinds,
            &self.reservations,
            &self.users,
            &self.quantities,
            &self.seqs,
            &self.adjustments,
        ]
    }
}
