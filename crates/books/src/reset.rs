//! Resetting a sale: its orders are deleted, and every unit is on sale again.
//!
//! Leaves Redis to the gatekeeper: the raised epoch makes it vouch anew, and `reset_epoch` makes
//! whatever node remembers the sale forget it first.
//! Invariant: orders are deleted only while none is on its way.

use std::time::Duration;

use deadpool_postgres::Client;
use domain::{ProductId, StoredState};
use service::redis_pool::RedisCalls;
use tokio::time::Instant;

use crate::cut::{Cut, Cuts};
use crate::error::{BooksError, Refusal, unknown};
use crate::records::{self, SaleRecord};

const DELETE_ORDERS: &str = include_str!("../../../sql/delete_orders.sql");

/// How long orders on their way are waited for: below what nginx waits for an answer.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// Pause between two looks: a settler's transaction.
const PAUSE: Duration = Duration::from_millis(50);

/// Resets a sale that sells nothing, and gives it this state.
pub(crate) async fn reset<R: RedisCalls>(
    client: &mut Client,
    cuts: &Cuts<R>,
    product: ProductId,
    state: StoredState,
) -> Result<SaleRecord, BooksError> {
    let deadline = Instant::now() + QUIET_MAX;
    loop {
        let quiet = match records::list(client, Some(product)).await?.into_iter().next() {
            Some(sale) => {
                cuts.read(product).await?.filter(|cut| is_quiet(&sale, cut)).map(|_| sale)
            }
            None => return Err(Refusal::UnknownProduct.into()),
        };
        if let Some(seen) = quiet {
            let transaction = client.transaction().await?;
            // Nothing was settled and nothing changed since it was seen quiet.
            if records::lock(&transaction, product).await?.as_ref() == Some(&seen) {
                let statement = transaction.prepare_cached(DELETE_ORDERS).await?;
                transaction.execute(&statement, &[&product.get()]).await?;
                let Some(sale) = records::reset(&transaction, product, state).await? else {
                    return Err(Refusal::UnknownProduct.into());
                };
                transaction.commit().await.map_err(|error| unknown(&error))?;
                return Ok(sale);
            }
        }
        if Instant::now() > deadline {
            return Err(Refusal::SaleBusy.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Redis knows that the sale sells nothing, and no unit is between Redis and PostgreSQL.
fn is_quiet(sale: &SaleRecord, cut: &Cut) -> bool {
    cut.open
        && cut.epoch == sale.epoch
        && cut.applied == sale.effect_seq
        && cut.sale_version == sale.sale_version
        && sale.state != StoredState::Open
        && (cut.available, cut.marked, cut.outbox) == (sale.stock, 0, 0)
}

#[cfg(test)]
mod tests {
    use domain::Epoch;

    use super::*;

    #[test]
    fn a_sale_is_quiet_only_when_redis_knows_it_is_paused_and_nothing_is_on_its_way() {
        let sale = SaleRecord {
            total: 9,
            state: StoredState::Paused,
            sale_version: 3,
            epoch: Epoch(2),
            effect_seq: 4,
            ..SaleRecord::new(ProductId::new(1).unwrap(), 5)
        };
        let cut = Cut {
            open: true,
            available: 5,
            epoch: Epoch(2),
            seq: 4,
            applied: 4,
            outbox: 0,
            marked: 0,
            sale_version: 3,
        };
        assert!(is_quiet(&sale, &cut));
        let changes: [fn(&mut Cut); 7] = [
            |cut| cut.open = false,
            |cut| cut.available = 4,
            |cut| cut.epoch = Epoch(1),
            |cut| cut.applied = 3,
            |cut| cut.outbox = 1,
            |cut| (cut.available, cut.marked) = (4, 1),
            |cut| cut.sale_version = 2,
        ];
        for change in changes {
            let mut other = cut;
            change(&mut other);
            assert!(!is_quiet(&sale, &other), "{other:?}");
        }
        assert!(!is_quiet(&SaleRecord { state: StoredState::Open, ..sale }, &cut));
    }
}
