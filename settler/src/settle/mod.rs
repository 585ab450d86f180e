//! Settling: one transaction records a batch of orders and takes their units.
//!
//! Owns the statements that write `orders` and `products.stock`; leaves delivery to `consume` and
//! telling Redis to `effects`.
//! Invariant: a transaction locks the products, in id order, before it touches an order, and
//! commits only if every confirmed unit was taken from a stock that held it.

pub mod columns;
pub mod decide;

use std::collections::{HashMap, HashSet};

use deadpool_postgres::{Pool, PoolError, Transaction};
use domain::contract::feed::SettledOrder;
use domain::contract::order_message::{OrderBatch, QueuedOrder};
use domain::{Epoch, OrderStatus, ProductId, Quantity, RejectReason, ReservationId, Seq, UserId};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use columns::{EffectColumns, OrderColumns};
use decide::{
    Effect, HolderRow, LockedProduct, SettleOrder, Verdict, arrange, effects_of, judge,
    units_suffice,
};

const LOCK_PRODUCTS: &str = include_str!("../../../sql/lock_products.sql");
const INSERT_CONFIRMED: &str = include_str!("../../../sql/insert_confirmed.sql");
const INSERT_REJECTED: &str = include_str!("../../../sql/insert_rejected.sql");
const FIND_KNOWN: &str = include_str!("../../../sql/find_known.sql");
const FIND_HOLDERS: &str = include_str!("../../../sql/find_holders.sql");
const TAKE_STOCK: &str = include_str!("../../../sql/take_stock.sql");
const APPEND_EFFECTS: &str = include_str!("../../../sql/append_effects.sql");

/// What a committed batch changed in one product.
#[derive(Debug)]
pub struct Report {
    /// The product.
    pub product: ProductId,
    /// Units left.
    pub stock: i64,
    /// Number of this value of the stock.
    pub version: i64,
    /// Orders with their outcome.
    pub settled: Vec<SettledOrder>,
    /// What Redis must be told, in order.
    pub effects: Vec<Effect>,
}

/// What a committed batch did.
#[derive(Debug, Default)]
pub struct Settled {
    /// Orders confirmed now.
    pub confirmed: usize,
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
    /// Try the same batch again.
    #[error("database: {0}")]
    Transient(String),
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
    /// The same batch will fail again: a defect, or a schema that is not ours.
    #[error("database refused: {0}")]
    Refused(#[source] tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for SettleError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            // Class 22 data exception, 23 integrity constraint violation, 42 syntax or access.
            Some(code) if matches!(&code.code()[..2], "22" | "23" | "42") => {
                if *code == SqlState::UNIQUE_VIOLATION {
                    return Self::Transient(error.to_string());
                }
                Self::Refused(error)
            }
            Some(code) => Self::Transient(format!("{} ({})", error, code.code())),
            None => Self::Transient(error.to_string()),
        }
    }
}

impl From<PoolError> for SettleError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::from(error),
            other => Self::Transient(other.to_string()),
        }
    }
}

/// Settles a batch in one transaction.
///
/// # Errors
/// See [`SettleError`]; after any of them nothing was recorded.
pub async fn settle_batch(pool: &Pool, batches: &[OrderBatch]) -> Result<Settled, SettleError> {
    let orders = arrange(batches);
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let products = lock_products(&transaction, &orders).await?;
    check_products(&orders, &products)?;
    let outcome = if units_suffice(&orders, &products) {
        confirm_all(&transaction, &orders).await?
    } else {
        confirm_first(&transaction, &orders, &products).await?
    };
    let reports = record_changes(&transaction, &outcome, &products).await?;
    transaction.commit().await?;
    Ok(Settled {
        confirmed: outcome.confirmed.len(),
        rejected: outcome.rejected.len(),
        replayed: orders.len() - outcome.confirmed.len() - outcome.rejected.len(),
        reports,
    })
}

async fn lock_products(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
) -> Result<HashMap<ProductId, LockedProduct>, SettleError> {
    let mut ids: Vec<i64> = orders.iter().map(|order| order.product.get()).collect();
    ids.dedup();
    let statement = transaction.prepare_cached(LOCK_PRODUCTS).await?;
    let rows = transaction.query(&statement, &[&ids]).await?;
    let products = rows.iter().filter_map(|row| {
        let product = LockedProduct {
            stock: row.get("stock"),
            epoch: Epoch(row.get("epoch")),
            effect_seq: row.get("effect_seq"),
        };
        Some((ProductId::new(row.get("id")).ok()?, product))
    });
    Ok(products.collect())
}

fn check_products(
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<(), SettleError> {
    let mut unknown: Vec<_> =
        orders.iter().map(|o| o.product).filter(|id| !products.contains_key(id)).collect();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(SettleError::UnknownProducts(unknown));
    }
    let newer = orders.iter().find(|o| products.get(&o.product).is_some_and(|p| o.epoch > p.epoch));
    match newer {
        Some(order) => Err(SettleError::FutureEpoch { product: order.product, epoch: order.epoch }),
        None => Ok(()),
    }
}

/// The orders this transaction gave an outcome.
#[derive(Debug, Default)]
struct Outcome {
    confirmed: Vec<SettleOrder>,
    rejected: Vec<(SettleOrder, RejectReason)>,
}

/// The fast path: nobody has to be chosen, the unique indexes find copies and second orders.
async fn confirm_all(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
) -> Result<Outcome, SettleError> {
    let confirmed = insert_confirmed(transaction, orders).await?;
    if confirmed.len() == orders.len() {
        return Ok(Outcome { confirmed: orders.to_vec(), rejected: Vec::new() });
    }
    let (confirmed, others): (Vec<_>, Vec<_>) =
        orders.iter().partition(|o| confirmed.contains(&o.order.id));
    // Copies of settled orders are among them; inserting a rejection leaves those alone.
    let seconds = others.into_iter().map(|o| (o, RejectReason::AlreadyPurchased)).collect();
    let rejected = insert_rejected(transaction, seconds).await?;
    Ok(Outcome { confirmed, rejected })
}

/// The slow path: units run short, so who gets them is decided here.
async fn confirm_first(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Outcome, SettleError> {
    let known = find_known(transaction, orders).await?;
    let holders = find_holders(transaction, orders.iter()).await?;
    let by_user =
        holders.iter().map(|h| ((h.product, h.order.user), h.order.id)).collect::<HashMap<_, _>>();
    let Verdict { confirmed, rejected } = judge(orders, products, &known, &by_user);
    let inserted = insert_confirmed(transaction, &confirmed).await?;
    if inserted.len() != confirmed.len() {
        // Only a writer that does not lock the product can cause this; decide again.
        return Err(SettleError::Transient("orders changed under the product's lock".into()));
    }
    let rejected = insert_rejected(transaction, rejected).await?;
    Ok(Outcome { confirmed, rejected })
}

async fn insert_confirmed(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
) -> Result<HashSet<ReservationId>, SettleError> {
    if orders.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = OrderColumns::of(orders.iter());
    let statement = transaction.prepare_cached(INSERT_CONFIRMED).await?;
    let rows = transaction.query(&statement, &columns.params()).await?;
    Ok(ids_of(&rows))
}

async fn insert_rejected(
    transaction: &Transaction<'_>,
    rejected: Vec<(SettleOrder, RejectReason)>,
) -> Result<Vec<(SettleOrder, RejectReason)>, SettleError> {
    if rejected.is_empty() {
        return Ok(rejected);
    }
    let reasons: Vec<&str> = rejected.iter().map(|(_, reason)| reason.as_str()).collect();
    let columns = OrderColumns::of(rejected.iter().map(|(order, _)| order));
    let [a, b, c, d, e, f, g] = columns.params();
    let statement = transaction.prepare_cached(INSERT_REJECTED).await?;
    let rows = transaction.query(&statement, &[a, b, c, d, e, f, g, &reasons]).await?;
    let inserted = ids_of(&rows);
    Ok(rejected.into_iter().filter(|(order, _)| inserted.contains(&order.order.id)).collect())
}

fn ids_of(rows: &[Row]) -> HashSet<ReservationId> {
    rows.iter().map(|row| ReservationId(row.get("id"))).collect()
}

async fn find_known(
    transaction: &Transaction<'_>,
    orders: &[SettleOrder],
) -> Result<HashSet<ReservationId>, SettleError> {
    let ids: Vec<_> = orders.iter().map(|o| o.order.id.0).collect();
    let statement = transaction.prepare_cached(FIND_KNOWN).await?;
    Ok(ids_of(&transaction.query(&statement, &[&ids]).await?))
}

async fn find_holders(
    transaction: &Transaction<'_>,
    orders: impl Iterator<Item = &SettleOrder>,
) -> Result<Vec<HolderRow>, SettleError> {
    let (products, users): (Vec<i64>, Vec<i64>) =
        orders.map(|o| (o.product.get(), o.order.user.get())).unzip();
    let statement = transaction.prepare_cached(FIND_HOLDERS).await?;
    let rows = transaction.query(&statement, &[&products, &users]).await?;
    Ok(rows.iter().filter_map(holder_of).collect())
}

fn holder_of(row: &Row) -> Option<HolderRow> {
    Some(HolderRow {
        product: ProductId::new(row.get("product_id")).ok()?,
        order: QueuedOrder {
            id: ReservationId(row.get("id")),
            user: UserId::new(row.get("user_id")).ok()?,
            quantity: Quantity::new(row.get("quantity")).ok()?,
            seq: Seq(row.get("seq")),
        },
    })
}

/// Takes the confirmed units, logs the effects, and says what changed in each product.
async fn record_changes(
    transaction: &Transaction<'_>,
    outcome: &Outcome,
    products: &HashMap<ProductId, LockedProduct>,
) -> Result<Vec<Report>, SettleError> {
    let rejected: Vec<_> = outcome.rejected.iter().map(|(order, _)| *order).collect();
    let seconds = outcome
        .rejected
        .iter()
        .filter(|(_, reason)| *reason == RejectReason::AlreadyPurchased)
        .map(|(order, _)| order);
    let holders =
        if rejected.is_empty() { Vec::new() } else { find_holders(transaction, seconds).await? };
    let effects = effects_of(&outcome.confirmed, &rejected, &holders, products);
    let mut reports = gather_reports(outcome, effects);
    if reports.is_empty() {
        return Ok(reports);
    }
    take_stock(transaction, outcome, &mut reports).await?;
    let effects: Vec<_> = reports.iter().flat_map(|r| r.effects.iter().copied()).collect();
    if !effects.is_empty() {
        let statement = transaction.prepare_cached(APPEND_EFFECTS).await?;
        transaction.execute(&statement, &EffectColumns::of(&effects).params()).await?;
    }
    Ok(reports)
}

fn gather_reports(outcome: &Outcome, effects: Vec<Effect>) -> Vec<Report> {
    let mut reports: HashMap<ProductId, Report> = HashMap::new();
    let empty = |product| Report {
        product,
        stock: 0,
        version: 0,
        settled: Vec::new(),
        effects: Vec::new(),
    };
    let confirmed = outcome.confirmed.iter().map(|o| (o, OrderStatus::Confirmed));
    let rejected = outcome.rejected.iter().map(|(o, _)| (o, OrderStatus::Rejected));
    for (order, status) in confirmed.chain(rejected) {
        let report = reports.entry(order.product).or_insert_with(|| empty(order.product));
        report.settled.push(SettledOrder { id: order.order.id, status });
    }
    for effect in effects {
        reports.entry(effect.product).or_insert_with(|| empty(effect.product)).effects.push(effect);
    }
    reports.into_values().collect()
}

async fn take_stock(
    transaction: &Transaction<'_>,
    outcome: &Outcome,
    reports: &mut [Report],
) -> Result<(), SettleError> {
    let mut units: HashMap<ProductId, i64> = HashMap::new();
    for order in &outcome.confirmed {
        *units.entry(order.product).or_default() += order.order.quantity.units();
    }
    let ids: Vec<i64> = reports.iter().map(|r| r.product.get()).collect();
    let taken: Vec<i64> =
        reports.iter().map(|r| units.get(&r.product).copied().unwrap_or(0)).collect();
    let caused: Vec<i64> =
        reports.iter().map(|r| i64::try_from(r.effects.len()).unwrap_or(i64::MAX)).collect();
    let statement = transaction.prepare_cached(TAKE_STOCK).await?;
    let rows = transaction.query(&statement, &[&ids, &taken, &caused]).await?;
    for report in reports.iter_mut() {
        // A product that is missing here does not hold the units: the guard said no.
        let row = rows
            .iter()
            .find(|row| row.get::<_, i64>("id") == report.product.get())
            .ok_or_else(|| SettleError::Transient("the stock guard refused".into()))?;
        report.stock = row.get("stock");
        report.version = row.get("version");
    }
    Ok(())
}
