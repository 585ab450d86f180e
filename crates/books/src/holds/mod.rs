//! Holds: an order is held until it is paid or cancelled, or expires; resolved exactly once.
//!
//! Owns the course of resolving; `statements` holds the SQL. PostgreSQL records the outcome first.
//! Units return to Redis as `void` effects of the log, keyed by the reservation: whatever is asked
//! twice, races, or is told again after a rebuild returns them once.
//! Invariant: whoever gives an order up has locked its product, so that giving up and settling one
//! order never overlap. A payment moves no units and locks none.

pub mod statements;

use std::collections::{BTreeMap, HashMap};

use domain::contract::feed::SettledOrder;
use domain::contract::order_message::QueuedOrder;
use domain::{Epoch, OrderStatus, ProductId, ReservationId, UserId};
use service::postgres::DatabaseError;

use crate::effects::{Effect, EffectKind, StockVersion};
use crate::ledger::{HolderRow, LockedProduct};
use crate::report::Report;

/// What a buyer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The order is paid.
    Pay,
    /// The order is given back.
    Cancel,
}

/// Why an order is not resolved as asked. It stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The sale holds nothing: the order was confirmed at once.
    NoHold,
    /// It was paid.
    Paid,
    /// It was cancelled.
    Cancelled,
    /// Its time is over.
    Expired,
    /// It got no units.
    Rejected,
}

/// Where an attempt to resolve left an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// It became what was asked, now; whoever commits tells Redis.
    Now(Report),
    /// It was that already.
    Before,
    /// It stays as it is.
    Refused(Refusal),
    /// PostgreSQL does not know it.
    Unknown,
}

/// A reservation as Redis knows it, which may not be settled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The product.
    pub product: ProductId,
    /// Life of the sale's Redis state it was found in.
    pub epoch: Epoch,
    /// The order.
    pub order: QueuedOrder,
}

/// Units and effects of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// The product.
    pub product: ProductId,
    /// Units that come back.
    pub units: i64,
    /// Effects just caused.
    pub effects: i64,
}

/// What resolving asks of PostgreSQL. Every method fails when the database does not answer.
pub trait HoldLedger: Sync {
    /// Pays a held order in time; the product's stock, or `None` when it is not that.
    fn pay_order(
        &self,
        id: ReservationId,
    ) -> impl Future<Output = Result<Option<StockVersion>, DatabaseError>> + Send;

    /// Product and status of an order.
    fn find_hold(
        &self,
        id: ReservationId,
    ) -> impl Future<Output = Result<Option<(ProductId, OrderStatus)>, DatabaseError>> + Send;

    /// Locks products, in id order, until the transaction ends.
    fn lock_products(
        &self,
        products: &[ProductId],
    ) -> impl Future<Output = Result<HashMap<ProductId, LockedProduct>, DatabaseError>> + Send;

    /// Makes held orders `cancelled` or `expired`; those it became true of.
    fn release_held(
        &self,
        ids: &[ReservationId],
        outcome: OrderStatus,
    ) -> impl Future<Output = Result<Vec<HolderRow>, DatabaseError>> + Send;

    /// Records an order nobody settled as cancelled; false when its id is known.
    fn insert_cancelled(
        &self,
        reservation: &Reservation,
    ) -> impl Future<Output = Result<bool, DatabaseError>> + Send;

    /// The order that holds units for a user.
    fn find_holder(
        &self,
        product: ProductId,
        user: UserId,
    ) -> impl Future<Output = Result<Option<QueuedOrder>, DatabaseError>> + Send;

    /// Puts units back and numbers effects.
    fn return_stock(
        &self,
        returns: &[Return],
    ) -> impl Future<Output = Result<Vec<StockVersion>, DatabaseError>> + Send;

    /// Logs what Redis has to be told.
    fn append_effects(
        &self,
        effects: &[Effect],
    ) -> impl Future<Output = Result<(), DatabaseError>> + Send;
}

/// Pays an order: one statement, which is its own transaction.
///
/// # Errors
/// When the database does not answer; the order may be paid.
pub async fn pay(ledger: &impl HoldLedger, id: ReservationId) -> Result<Resolved, DatabaseError> {
    let mut known_as_held = false;
    loop {
        if let Some(StockVersion { product, version, stock }) = ledger.pay_order(id).await? {
            let settled = vec![SettledOrder { id, status: OrderStatus::Paid }];
            return Ok(Resolved::Now(Report { stock, version, settled, ..Report::empty(product) }));
        }
        match ledger.find_hold(id).await? {
            // It may have been settled between the two questions. One that was held before the
            // first is not paid in time.
            Some((_, OrderStatus::Held)) if !known_as_held => known_as_held = true,
            Some((_, status)) => return Ok(judge(Resolution::Pay, status)),
            None => return Ok(Resolved::Unknown),
        }
    }
}

/// Cancels an order PostgreSQL knows, in a transaction the caller commits.
///
/// # Errors
/// When the database does not answer; the caller must roll back.
pub async fn cancel(
    ledger: &impl HoldLedger,
    id: ReservationId,
) -> Result<Resolved, DatabaseError> {
    match ledger.find_hold(id).await? {
        None => Ok(Resolved::Unknown),
        Some((product, OrderStatus::Held)) => {
            let products = ledger.lock_products(&[product]).await?;
            cancel_locked(ledger, id, &products).await
        }
        Some((_, status)) => Ok(judge(Resolution::Cancel, status)),
    }
}

/// Cancels an order that may not be settled yet, in a transaction the caller commits.
///
/// It is recorded as cancelled before its message comes, which then finds the id known. No units
/// were taken, so none return in PostgreSQL; the effect returns those Redis reserved.
///
/// # Errors
/// When the database does not answer; the caller must roll back.
pub async fn cancel_queued(
    ledger: &impl HoldLedger,
    reservation: &Reservation,
) -> Result<Resolved, DatabaseError> {
    let Reservation { product, order, .. } = *reservation;
    let products = ledger.lock_products(&[product]).await?;
    let Some(locked) = products.get(&product) else { return Ok(Resolved::Unknown) };
    if locked.hold_seconds == 0 || !ledger.insert_cancelled(reservation).await? {
        // Either way it is settled like any other, if it is not already.
        return match ledger.find_hold(order.id).await? {
            None => Ok(Resolved::Refused(Refusal::NoHold)),
            Some((_, OrderStatus::Held)) => cancel_locked(ledger, order.id, &products).await,
            Some((_, status)) => Ok(judge(Resolution::Cancel, status)),
        };
    }
    // The place in Redis that is freed belongs to another order, if that one holds units.
    let holder = ledger.find_holder(product, order.user).await?;
    let change = Change { product, order, units: 0, holder };
    let reports = record(ledger, &[change], OrderStatus::Cancelled, &products).await?;
    Ok(reports.into_iter().next().map_or(Resolved::Before, Resolved::Now))
}

async fn cancel_locked(
    ledger: &impl HoldLedger,
    id: ReservationId,
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Resolved, DatabaseError> {
    let mut reports = release(ledger, &[id], OrderStatus::Cancelled, products).await?;
    if let Some(report) = reports.pop() {
        return Ok(Resolved::Now(report));
    }
    // It was paid, or expired before the lock was ours.
    let found = ledger.find_hold(id).await?;
    Ok(found.map_or(Resolved::Unknown, |(_, status)| judge(Resolution::Cancel, status)))
}

/// Expires those of these orders whose time is over, in a transaction the caller commits.
///
/// # Errors
/// When the database does not answer; the caller must roll back.
pub async fn expire(
    ledger: &impl HoldLedger,
    due: &[(ReservationId, ProductId)],
) -> Result<Vec<Report>, DatabaseError> {
    let (ids, mut products): (Vec<_>, Vec<_>) = due.iter().copied().unzip();
    products.sort_unstable();
    products.dedup();
    let products = ledger.lock_products(&products).await?;
    release(ledger, &ids, OrderStatus::Expired, &products).await
}

/// What an order that cannot be resolved as asked is told. A held one is one whose time is over.
const fn judge(asked: Resolution, status: OrderStatus) -> Resolved {
    match (asked, status) {
        (Resolution::Pay, OrderStatus::Paid) | (Resolution::Cancel, OrderStatus::Cancelled) => {
            Resolved::Before
        }
        (_, OrderStatus::Confirmed) => Resolved::Refused(Refusal::NoHold),
        (_, OrderStatus::Rejected) => Resolved::Refused(Refusal::Rejected),
        (_, OrderStatus::Held | OrderStatus::Expired) => Resolved::Refused(Refusal::Expired),
        (_, OrderStatus::Paid) => Resolved::Refused(Refusal::Paid),
        (_, OrderStatus::Cancelled) => Resolved::Refused(Refusal::Cancelled),
        (_, OrderStatus::Queued) => Resolved::Unknown,
    }
}

/// An order that was given up.
#[derive(Debug, Clone, Copy)]
struct Change {
    product: ProductId,
    order: QueuedOrder,
    /// Units that return in PostgreSQL.
    units: i64,
    /// Whose place in Redis it stood in.
    holder: Option<QueuedOrder>,
}

async fn release(
    ledger: &impl HoldLedger,
    ids: &[ReservationId],
    outcome: OrderStatus,
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Vec<Report>, DatabaseError> {
    let released = ledger.release_held(ids, outcome).await?;
    let changes = released.into_iter().map(|HolderRow { product, order }| Change {
        product,
        order,
        units: order.quantity.units(),
        holder: None,
    });
    let mut changes: Vec<_> = changes.collect();
    changes.sort_unstable_by_key(|change| (change.product, change.order.seq));
    record(ledger, &changes, outcome, products).await
}

/// Returns units, logs the effects, and says what changed in each product.
async fn record(
    ledger: &impl HoldLedger,
    changes: &[Change],
    outcome: OrderStatus,
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Vec<Report>, DatabaseError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reports = gather_reports(changes, outcome, products);
    let returns: Vec<Return> = reports.iter().map(|report| return_of(report, changes)).collect();
    let returned = ledger.return_stock(&returns).await?;
    for report in &mut reports {
        let found = returned.iter().find(|stock| stock.product == report.product);
        let stock = found.ok_or_else(|| DatabaseError::transient("a locked product is gone"))?;
        (report.stock, report.version) = (stock.stock, stock.version);
    }
    let effects: Vec<Effect> = reports.iter().flat_map(|r| r.effects.iter().copied()).collect();
    ledger.append_effects(&effects).await?;
    Ok(reports)
}

fn return_of(report: &Report, changes: &[Change]) -> Return {
    let own = changes.iter().filter(|change| change.product == report.product);
    Return {
        product: report.product,
        units: own.map(|change| change.units).sum(),
        effects: i64::try_from(report.effects.len()).unwrap_or(i64::MAX),
    }
}

/// The effects of each product, numbered after its last: a void an order, and the adoption of
/// whoever holds the place it stood in.
fn gather_reports(
    changes: &[Change],
    status: OrderStatus,
    products: &HashMap<ProductId, LockedProduct>,
) -> Vec<Report> {
    let mut reports: BTreeMap<ProductId, Report> = BTreeMap::new();
    for Change { product, order, holder, .. } in changes {
        let report = reports.entry(*product).or_insert_with(|| Report::empty(*product));
        report.settled.push(SettledOrder { id: order.id, status });
        let before = products.get(product).map_or(0, |locked| locked.effect_seq);
        let last = report.effects.last().map_or(before, |effect| effect.n);
        let adopted = holder.iter().map(|holder| EffectKind::Adopt(*holder));
        let told = std::iter::once(EffectKind::Void(*order)).chain(adopted);
        let numbered = (last + 1..).zip(told);
        let effects = numbered.map(|(n, kind)| Effect { product: *product, n, kind });
        report.effects.extend(effects);
    }
    reports.into_values().collect()
}

#[cfg(test)]
mod tests {
    use domain::{Quantity, Seq};

    use super::*;

    fn product(id: i64) -> ProductId {
        ProductId::new(id).unwrap()
    }

    fn order(id: u128, user: i64) -> QueuedOrder {
        QueuedOrder {
            id: ReservationId(uuid::Uuid::from_u128(id)),
            user: UserId::new(user).unwrap(),
            quantity: Quantity::new(2).unwrap(),
            seq: Seq(1),
            key: None,
        }
    }

    fn locked(effect_seq: i64) -> LockedProduct {
        LockedProduct { stock: 0, epoch: Epoch(1), effect_seq, hold_seconds: 60 }
    }

    #[test]
    fn each_product_numbers_its_own_effects_and_a_place_goes_back_to_its_holder() {
        let changes = [
            Change { product: product(1), order: order(1, 7), units: 2, holder: None },
            Change { product: product(2), order: order(2, 7), units: 2, holder: None },
            Change { product: product(1), order: order(3, 8), units: 0, holder: Some(order(4, 8)) },
        ];
        let products = HashMap::from([(product(1), locked(5)), (product(2), locked(0))]);
        let reports = gather_reports(&changes, OrderStatus::Cancelled, &products);
        let told: Vec<Vec<_>> =
            reports.iter().map(|r| r.effects.iter().map(|e| (e.n, e.kind)).collect()).collect();
        let (void, adopt) = (EffectKind::Void, EffectKind::Adopt);
        let first = [(6, void(order(1, 7))), (7, void(order(3, 8))), (8, adopt(order(4, 8)))];
        assert_eq!(told[0], first);
        assert_eq!(told[1], [(1, void(order(2, 7)))]);
        assert_eq!(
            return_of(&reports[0], &changes),
            Return { product: product(1), units: 2, effects: 3 }
        );
        assert_eq!(reports[0].settled.len(), 2, "the holder's status did not change");
    }

    #[test]
    fn what_is_resolved_stays_so_and_asking_for_the_same_again_is_no_error() {
        use OrderStatus as S;
        let told = |asked| {
            [S::Paid, S::Cancelled, S::Expired, S::Confirmed, S::Rejected]
                .map(|status| judge(asked, status))
        };
        let refused = Resolved::Refused;
        let rest =
            [refused(Refusal::Expired), refused(Refusal::NoHold), refused(Refusal::Rejected)];
        let [paid, cancelled, others @ ..] = told(Resolution::Pay);
        assert_eq!((paid, cancelled), (Resolved::Before, refused(Refusal::Cancelled)));
        assert_eq!(others, rest);
        let [paid, cancelled, others @ ..] = told(Resolution::Cancel);
        assert_eq!((paid, cancelled), (refused(Refusal::Paid), Resolved::Before));
        assert_eq!(others, rest);
    }
}
