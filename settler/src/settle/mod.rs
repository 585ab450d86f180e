//! Settling: one transaction records a batch of orders and takes their units.
//!
//! Owns the course of the transaction; `decide` judges, `ledger` holds the statements. Leaves
//! delivery to `consume` and telling Redis to `effects`.
//! Invariant: a transaction locks the products, in id order, before it touches an order, and
//! commits only if every confirmed unit was taken from a stock that held it.

mod columns;
pub mod decide;
mod ledger;
mod transaction;

use std::collections::{HashMap, HashSet};

use books::effects::Effect;
use books::ledger::LockedProduct;
use books::report::Report;
use deadpool_postgres::{Client, Pool, PoolError};
use domain::contract::feed::SettledOrder;
use domain::contract::order_message::OrderBatch;
use domain::{Epoch, OrderStatus, ProductId, RejectReason};
use service::postgres::DatabaseError;

pub use ledger::{Ledger, StockChange, StockTaken};

use decide::{
    SettleOrder, Verdict, arrange, by_product, effects_of, judge, units_asked, units_suffice,
};
use transaction::Transaction;

/// What a committed batch did.
#[derive(Debug, Default)]
pub struct Settled {
    /// Orders confirmed now.
    pub confirmed: usize,
    /// Orders held now.
    pub held: usize,
    /// Orders rejected now.
    pub rejected: usize,
    /// Orders whose outcome was recorded earlier.
    pub replayed: usize,
    /// One for each product that changed.
    pub reports: Vec<Report>,
}

/// Why a batch was not settled, by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The database did not answer, or refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// These products do not exist: their messages can never be settled.
    #[error("no such product: {0:?}")]
    UnknownProducts(Vec<ProductId>),
    /// PostgreSQL is older than Redis: somebody restored a backup. A person must decide.
    #[error("product {product}: epoch {epoch} is newer than the database's")]
    FutureEpoch {
        /// The product.
        product: ProductId,
        /// The epoch of the message.
        epoch: Epoch,
    },
}

impl SettleError {
    /// One after which the same batch is tried again.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::Database(DatabaseError::Transient(why.into()))
    }
}

impl From<tokio_postgres::Error> for SettleError {
    fn from(error: tokio_postgres::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl From<PoolError> for SettleError {
    fn from(error: PoolError) -> Self {
        DatabaseError::from(error).into()
    }
}

/// What is believed of a batch before the database is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Nobody in it is known, as nearly always.
    AllNew,
    /// Some are copies, or second orders of their buyer.
    Mixed,
}

/// Settles a batch in one transaction, or in a second one when the first found a copy.
///
/// # Errors
/// See [`SettleError`]; after any of them nothing was recorded.
pub async fn settle_batch<'a>(
    pool: &Pool,
    batches: impl IntoIterator<Item = &'a OrderBatch>,
) -> Result<Settled, SettleError> {
    let orders = arrange(batches);
    for belief in [Belief::AllNew, Belief::Mixed] {
        if let Some(settled) = settle(pool.get().await?, &orders, belief).await? {
            return Ok(settled);
        }
    }
    Err(SettleError::transient("orders changed under the product's lock"))
}

async fn settle(
    client: Client,
    orders: &[SettleOrder],
    belief: Belief,
) -> Result<Option<Settled>, SettleError> {
    let transaction = Transaction::on(client);
    let client = transaction.client();
    let settled = match transaction.begin_with(client.lock_products(orders)).await {
        Ok(products) => record_batch(client, orders, &products, belief).await,
        Err(error) => Err(error),
    };
    if !matches!(settled, Ok(Some(_))) {
        transaction.rollback().await;
        return settled;
    }
    service::kill_point::pass("settler.inserted");
    transaction.commit().await?;
    service::kill_point::pass("settler.committed");
    settled
}

/// The course of a transaction over arranged orders after [`Ledger::lock_products`], which gave
/// `products`; the caller commits. `None` when the belief was wrong: the caller must roll back, and
/// begin again with [`Belief::Mixed`].
///
/// # Errors
/// See [`SettleError`]; after any of them the caller must roll back.
pub async fn record_batch(
    ledger: &impl Ledger,
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
    belief: Belief,
) -> Result<Option<Settled>, SettleError> {
    check_products(orders, products)?;
    let recorded = if belief == Belief::AllNew && units_suffice(orders, products) {
        confirm_all(ledger, orders, products).await?
    } else {
        decide_each(ledger, orders, products).await?
    };
    let Some((outcome, reports)) = recorded else { return Ok(None) };
    let held = by_product(&outcome.confirmed).filter(|(product, _)| is_held(*product, products));
    let held = held.map(|(_, orders)| orders.len()).sum::<usize>();
    Ok(Some(Settled {
        confirmed: outcome.confirmed.len() - held,
        held,
        rejected: outcome.rejected.len(),
        replayed: orders.len() - outcome.confirmed.len() - outcome.rejected.len(),
        reports,
    }))
}

fn check_products(
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<(), SettleError> {
    let asked = by_product(orders);
    let unknown: Vec<_> =
        asked.map(|(product, _)| product).filter(|id| !products.contains_key(id)).collect();
    if !unknown.is_empty() {
        return Err(SettleError::UnknownProducts(unknown));
    }
    let mut newer = by_product(orders).filter_map(|(product, orders)| {
        let epoch = products.get(&product)?.epoch;
        orders.iter().find(|order| order.epoch > epoch)
    });
    match newer.next() {
        Some(order) => Err(SettleError::FutureEpoch { product: order.product, epoch: order.epoch }),
        None => Ok(()),
    }
}

/// The orders this transaction gave an outcome.
#[derive(Debug, Default)]
struct Outcome {
    /// Those that got their units: held where their sale holds.
    confirmed: Vec<SettleOrder>,
    rejected: Vec<(SettleOrder, RejectReason)>,
    /// Those whose earlier outcome is that they hold nothing.
    given_up: Vec<SettleOrder>,
}

/// Copies of orders that hold nothing. Most are just that, but an edge that never heard that its
/// call had reserved repeats it with the same id, and reserves again what was given up meanwhile.
/// Each such call writes a message of its own, which ends here, and Redis is told once more.
async fn find_given_up(
    ledger: &impl Ledger,
    orders: &[SettleOrder],
    outcome: &Outcome,
) -> Result<Vec<SettleOrder>, SettleError> {
    if outcome.confirmed.len() + outcome.rejected.len() == orders.len() {
        return Ok(Vec::new());
    }
    let now = outcome.confirmed.iter().chain(outcome.rejected.iter().map(|(order, _)| order));
    let now: HashSet<_> = now.map(|order| order.order.id).collect();
    let earlier = orders.iter().filter(|order| !now.contains(&order.order.id));
    let ids: Vec<_> = earlier.map(|order| order.order.id.0).collect();
    let given_up = ledger.find_given_up(&ids).await?;
    let is_one = |order: &&SettleOrder| given_up.contains(&order.order.id);
    Ok(orders.iter().filter(is_one).copied().collect())
}

/// The fast path: there are units for all, so nobody has to be chosen, unless the unique indexes
/// find a copy or a second order (`None`).
async fn confirm_all(
    ledger: &impl Ledger,
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Option<(Outcome, Vec<Report>)>, SettleError> {
    let outcome = Outcome { confirmed: orders.to_vec(), ..Outcome::default() };
    let effects = effects_of(&outcome.confirmed, &[], &[], products);
    let reports = gather_reports(&outcome, effects, products);
    let changes = stock_changes(&outcome.confirmed, &reports);
    match ledger.confirm_all(orders, products, &changes).await? {
        Some(taken) => Ok(Some((outcome, complete(ledger, reports, &taken).await?))),
        None => Ok(None),
    }
}

/// The slow path: units run short, or an order or its user is known, so it is decided here.
async fn decide_each(
    ledger: &impl Ledger,
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Option<(Outcome, Vec<Report>)>, SettleError> {
    let ids: Vec<_> = orders.iter().map(|order| order.order.id.0).collect();
    let known = ledger.find_known(&ids).await?;
    let holders = ledger.find_holders(orders).await?;
    let by_user =
        holders.iter().map(|h| ((h.product, h.order.user), h.order.id)).collect::<HashMap<_, _>>();
    let Verdict { confirmed, rejected } = judge(orders, products, &known, &by_user);
    if !ledger.insert_confirmed(&confirmed, products).await? {
        // Only a writer that does not lock the product can cause this.
        return Ok(None);
    }
    let rejected = ledger.insert_rejected(rejected).await?;
    let mut outcome = Outcome { confirmed, rejected, ..Outcome::default() };
    outcome.given_up = find_given_up(ledger, orders, &outcome).await?;
    let reports = record_changes(ledger, &outcome, products).await?;
    Ok(Some((outcome, reports)))
}

/// Takes the confirmed units, logs the effects, and says what changed in each product.
async fn record_changes(
    ledger: &impl Ledger,
    outcome: &Outcome,
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Vec<Report>, SettleError> {
    let rejected = outcome.rejected.iter().map(|(order, _)| order);
    let voided: Vec<_> = rejected.chain(&outcome.given_up).copied().collect();
    let seconds = outcome
        .rejected
        .iter()
        .filter(|(_, reason)| *reason == RejectReason::AlreadyPurchased)
        .map(|(order, _)| order);
    let seconds: Vec<_> = seconds.chain(&outcome.given_up).copied().collect();
    let holders = ledger.find_holders(&seconds).await?;
    let effects = effects_of(&outcome.confirmed, &voided, &holders, products);
    let reports = gather_reports(outcome, effects, products);
    if reports.is_empty() {
        return Ok(reports);
    }
    let taken = ledger.take_stock(&stock_changes(&outcome.confirmed, &reports)).await?;
    complete(ledger, reports, &taken).await
}

/// Puts into the reports what each product has now, and logs the effects.
async fn complete(
    ledger: &impl Ledger,
    mut reports: Vec<Report>,
    taken: &[StockTaken],
) -> Result<Vec<Report>, SettleError> {
    for report in &mut reports {
        // A product that is missing here does not hold the units: the guard said no.
        let taken = taken
            .iter()
            .find(|taken| taken.product == report.product)
            .ok_or_else(|| SettleError::transient("the stock guard refused"))?;
        (report.stock, report.version) = (taken.stock, taken.version);
    }
    let effects: Vec<_> = reports.iter().flat_map(|r| r.effects.iter().copied()).collect();
    ledger.append_effects(&effects).await?;
    Ok(reports)
}

fn stock_changes(confirmed: &[SettleOrder], reports: &[Report]) -> Vec<StockChange> {
    let units = units_asked(confirmed);
    let change = |report: &Report| StockChange {
        product: report.product,
        units: units.get(&report.product).copied().unwrap_or(0),
        effects: i64::try_from(report.effects.len()).unwrap_or(i64::MAX),
    };
    reports.iter().map(change).collect()
}

fn is_held(product: ProductId, products: &HashMap<ProductId, LockedProduct>) -> bool {
    products.get(&product).is_some_and(|product| product.hold_seconds > 0)
}

fn gather_reports(
    outcome: &Outcome,
    effects: Vec<Effect>,
    products: &HashMap<ProductId, LockedProduct>,
) -> Vec<Report> {
    let mut reports: HashMap<ProductId, Report> = HashMap::new();
    for (product, orders) in by_product(&outcome.confirmed) {
        let status = match is_held(product, products) {
            true => OrderStatus::Held,
            false => OrderStatus::Confirmed,
        };
        let settled = orders.iter().map(|order| SettledOrder { id: order.order.id, status });
        report_of(&mut reports, product).settled.extend(settled);
    }
    for (order, _) in &outcome.rejected {
        let settled = SettledOrder { id: order.order.id, status: OrderStatus::Rejected };
        report_of(&mut reports, order.product).settled.push(settled);
    }
    for effect in effects {
        report_of(&mut reports, effect.product).effects.push(effect);
    }
    reports.into_values().collect()
}

fn report_of(reports: &mut HashMap<ProductId, Report>, product: ProductId) -> &mut Report {
    reports.entry(product).or_insert_with(|| Report::empty(product))
}
