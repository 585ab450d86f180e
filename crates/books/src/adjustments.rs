//! Adjustments: units added to a product, or free ones taken out, each once under its key.
//!
//! What adds units is decided in PostgreSQL and told through the effects log. What takes units out
//! is decided in Redis, where they are marked, and then recorded in PostgreSQL, if the life of the
//! sale that marked them still is the one PostgreSQL knows.
//! Invariant: applied and refused are final, and an adjustment becomes applied in the transaction
//! that changes the stock and logs the effect.

use std::time::Duration;

use deadpool_postgres::{Client, GenericClient, Transaction};
use domain::contract::admin::AdjustStock;
use domain::contract::admin_view::AdjustmentView;
use domain::contract::strict::BodyError;
use domain::{AdjustmentId, Epoch, ProductId};
use service::redis_pool::RedisCalls;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::effects::{Effect, EffectKind, UnitChange, append_effects};
use crate::error::{BooksError, Refusal, unknown};
use crate::marks::{Marked, UnitMarks};
use crate::records::{self, SaleRecord};

const INSERT_ADJUSTMENT: &str = include_str!("../../../sql/insert_adjustment.sql");
const FIND_ADJUSTMENT: &str = include_str!("../../../sql/find_adjustment.sql");
const APPLY_ADJUSTMENT: &str = include_str!("../../../sql/apply_adjustment.sql");
const REFUSE_ADJUSTMENT: &str = include_str!("../../../sql/refuse_adjustment.sql");
const IS_PENDING: &str = include_str!("../../../sql/is_pending.sql");

/// How long another adjustment, or a gatekeeper that vouches meanwhile, is waited for: below what
/// nginx waits for an answer.
const FINISH_MAX: Duration = Duration::from_secs(4);
/// Pause between two tries: a few round trips.
const PAUSE: Duration = Duration::from_millis(20);

/// How far an adjustment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    Applied { stock: i64, total: i64 },
    Refused { available: i64 },
}

/// An adjustment as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Adjustment {
    id: AdjustmentId,
    delta: i64,
    reason: String,
    status: Status,
    /// Number of the last effect of the product when this was read.
    effect_seq: i64,
}

/// What was done about an adjustment.
#[derive(Debug)]
pub struct Adjusted {
    /// What the operator is told.
    pub view: AdjustmentView,
    /// What Redis must be told, when this call applied it.
    pub tell: Option<(SaleRecord, Effect)>,
}

/// Adds units, or takes free ones out.
///
/// # Errors
/// See [`BooksError`]; after `Unavailable` units may be marked for a moment, which the leading
/// settler settles one way or the other.
pub async fn adjust<R: RedisCalls>(
    client: &mut Client,
    marks: &UnitMarks<R>,
    product: ProductId,
    asked: &AdjustStock,
) -> Result<Adjusted, BooksError> {
    if let Some(known) = find(client, product, Some(&asked.key), None).await? {
        if (known.delta, known.reason.as_str()) != (asked.delta, asked.reason.as_str()) {
            return Err(Refusal::KeyReused.into());
        }
        return finish(client, marks, product, known, true).await;
    }
    if asked.delta > 0 {
        return add(client, marks, product, asked).await;
    }
    if records::list(client, Some(product)).await?.is_empty() {
        return Err(Refusal::UnknownProduct.into());
    }
    let id = AdjustmentId(Uuid::now_v7());
    insert(client, id, product, asked, None).await?;
    // Whoever came first under this key, this is the one that counts.
    let Some(known) = find(client, product, Some(&asked.key), None).await? else {
        return Err(BooksError::Unavailable("an adjustment vanished".into()));
    };
    if (known.delta, known.reason.as_str()) != (asked.delta, asked.reason.as_str()) {
        return Err(Refusal::KeyReused.into());
    }
    let replayed = known.id != id;
    finish(client, marks, product, known, replayed).await
}

/// Brings an adjustment whose mark stands to its end, whoever began it.
///
/// # Errors
/// See [`BooksError`].
pub async fn finish_marked<R: RedisCalls>(
    client: &mut Client,
    marks: &UnitMarks<R>,
    product: ProductId,
    id: AdjustmentId,
) -> Result<Option<Adjusted>, BooksError> {
    let Some(known) = find(client, product, None, Some(id)).await? else {
        // Nobody knows it: PostgreSQL was restored from a backup.
        marks.release(product, id).await?;
        return Ok(None);
    };
    match finish(client, marks, product, known, true).await {
        Ok(adjusted) => Ok(Some(adjusted)),
        Err(BooksError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an adjustment is not decided yet.
///
/// # Errors
/// When the database does not answer.
pub async fn is_pending(
    client: &impl GenericClient,
    id: AdjustmentId,
) -> Result<bool, service::postgres::DatabaseError> {
    let statement = client.prepare_cached(IS_PENDING).await?;
    Ok(client.query_one(&statement, &[&id.0]).await?.get("pending"))
}

/// What adds units needs PostgreSQL alone.
async fn add<R: RedisCalls>(
    client: &mut Client,
    marks: &UnitMarks<R>,
    product: ProductId,
    asked: &AdjustStock,
) -> Result<Adjusted, BooksError> {
    let transaction = client.transaction().await?;
    if records::lock(&transaction, product).await?.is_none() {
        return Err(Refusal::UnknownProduct.into());
    }
    // Under the lock: two requests of one key are told apart here.
    if find(&transaction, product, Some(&asked.key), None).await?.is_some() {
        drop(transaction);
        return Box::pin(adjust(client, marks, product, asked)).await;
    }
    let Some(sale) = records::adjust(&transaction, product, asked.delta).await? else {
        let problem = "would make the total larger than a product may have";
        return Err(Refusal::Field(BodyError::field("delta", problem)).into());
    };
    let id = AdjustmentId(Uuid::now_v7());
    insert(&transaction, id, product, asked, Some((sale.stock, sale.total))).await?;
    let effect = log(&transaction, &sale, id, asked.delta).await?;
    transaction.commit().await.map_err(|error| unknown(&error))?;
    service::kill_point::pass("adjustment.committed");
    let view = view(product, id, asked.delta, &asked.reason, (sale.stock, sale.total), false);
    Ok(Adjusted { view, tell: Some((sale, effect)) })
}

/// Marks and records until the adjustment is decided.
async fn finish<R: RedisCalls>(
    client: &mut Client,
    marks: &UnitMarks<R>,
    product: ProductId,
    mut known: Adjustment,
    replayed: bool,
) -> Result<Adjusted, BooksError> {
    let deadline = Instant::now() + FINISH_MAX;
    loop {
        match known.status {
            Status::Applied { stock, total } => {
                let view =
                    view(product, known.id, known.delta, &known.reason, (stock, total), replayed);
                return Ok(Adjusted { view, tell: None });
            }
            Status::Refused { available } => {
                // A call that came late may have marked units all the same. Where this fails, the
                // leading settler finds the mark.
                let _ = marks.release(product, known.id).await;
                return Err(Refusal::NotEnoughFree { available }.into());
            }
            Status::Pending => {}
        }
        let marked = marks.withdraw(product, known.id, -known.delta, known.effect_seq).await;
        let why = match marked {
            Ok(Marked::Marked { epoch }) => {
                service::kill_point::pass("adjustment.marked");
                if let Some((sale, effect)) = record(client, product, &known, epoch).await? {
                    service::kill_point::pass("adjustment.committed");
                    let left = (sale.stock, sale.total);
                    let view = view(product, known.id, known.delta, &known.reason, left, replayed);
                    return Ok(Adjusted { view, tell: Some((sale, effect)) });
                }
                "the sale is being vouched for"
            }
            Ok(Marked::NotEnough { epoch, available }) => {
                refuse(client, product, &known, epoch, available).await?;
                "the sale is being vouched for"
            }
            Ok(Marked::Busy) => "another adjustment is under way",
            Ok(Marked::Stale) => "the sale changes too fast",
            Ok(Marked::Closed) => {
                return Err(BooksError::Unavailable("the gate of the sale is closed".into()));
            }
            Err(error) => return Err(BooksError::OutcomeUnknown(error.to_string())),
        };
        known = find(client, product, None, Some(known.id))
            .await?
            .ok_or_else(|| BooksError::Unavailable("an adjustment vanished".into()))?;
        if known.status == Status::Pending {
            if Instant::now() > deadline {
                return Err(BooksError::Unavailable(why.into()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Takes marked units out of the stock; `None` when they were marked in another life of the sale,
/// or somebody else decided meanwhile.
async fn record(
    client: &mut Client,
    product: ProductId,
    known: &Adjustment,
    epoch: Epoch,
) -> Result<Option<(SaleRecord, Effect)>, BooksError> {
    let transaction = client.transaction().await?;
    let Some(locked) = decidable(&transaction, product, known, epoch).await? else {
        return Ok(None);
    };
    let Some(sale) = records::adjust(&transaction, product, known.delta).await? else {
        // Somebody edited the row: Redis has units PostgreSQL does not.
        let free = locked.stock;
        decide(&transaction, REFUSE_ADJUSTMENT, &[&known.id.0, &free]).await?;
        transaction.commit().await.map_err(|error| unknown(&error))?;
        return Ok(None);
    };
    decide(&transaction, APPLY_ADJUSTMENT, &[&known.id.0, &sale.stock, &sale.total]).await?;
    let effect = log(&transaction, &sale, known.id, known.delta).await?;
    transaction.commit().await.map_err(|error| unknown(&error))?;
    Ok(Some((sale, effect)))
}

async fn refuse(
    client: &mut Client,
    product: ProductId,
    known: &Adjustment,
    epoch: Epoch,
    available: i64,
) -> Result<(), BooksError> {
    let transaction = client.transaction().await?;
    if decidable(&transaction, product, known, epoch).await?.is_some() {
        decide(&transaction, REFUSE_ADJUSTMENT, &[&known.id.0, &available]).await?;
        transaction.commit().await.map_err(|error| unknown(&error))?;
    }
    Ok(())
}

/// The sale, locked, while the adjustment is pending and this is still the life of the sale.
async fn decidable(
    transaction: &Transaction<'_>,
    product: ProductId,
    known: &Adjustment,
    epoch: Epoch,
) -> Result<Option<SaleRecord>, BooksError> {
    let locked = records::lock(transaction, product).await?;
    let pending = is_pending(transaction, known.id).await?;
    Ok(locked.filter(|sale| pending && sale.epoch == epoch))
}

async fn decide(
    transaction: &Transaction<'_>,
    statement: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), BooksError> {
    let statement = transaction.prepare_cached(statement).await?;
    match transaction.execute(&statement, params).await? {
        1 => Ok(()),
        _ => Err(BooksError::Unavailable("an adjustment was decided without the lock".into())),
    }
}

async fn log(
    transaction: &Transaction<'_>,
    sale: &SaleRecord,
    adjustment: AdjustmentId,
    delta: i64,
) -> Result<Effect, BooksError> {
    let change = UnitChange { adjustment, units: delta.abs() };
    let kind = if delta > 0 { EffectKind::Add(change) } else { EffectKind::Withdraw(change) };
    let effect = Effect { product: sale.product, n: sale.effect_seq, kind };
    append_effects(transaction, &[effect]).await?;
    Ok(effect)
}

async fn insert(
    client: &impl GenericClient,
    id: AdjustmentId,
    product: ProductId,
    asked: &AdjustStock,
    after: Option<(i64, i64)>,
) -> Result<(), BooksError> {
    let statement = client.prepare_cached(INSERT_ADJUSTMENT).await?;
    let (stock, total) = (after.map(|(stock, _)| stock), after.map(|(_, total)| total));
    let params: [&(dyn ToSql + Sync); 7] =
        [&id.0, &product.get(), &asked.delta, &asked.reason, &asked.key, &stock, &total];
    client.query_opt(&statement, &params).await?;
    Ok(())
}

async fn find(
    client: &impl GenericClient,
    product: ProductId,
    key: Option<&str>,
    id: Option<AdjustmentId>,
) -> Result<Option<Adjustment>, BooksError> {
    let statement = client.prepare_cached(FIND_ADJUSTMENT).await?;
    let id = id.map(|id| id.0);
    let row = client.query_opt(&statement, &[&product.get(), &key, &id]).await?;
    Ok(row.map(|row| {
        let number = |name: &str| row.get::<_, Option<i64>>(name).unwrap_or(0);
        Adjustment {
            id: AdjustmentId(row.get("id")),
            delta: row.get("delta"),
            reason: row.get("reason"),
            status: match row.get::<_, &str>("status") {
                "applied" => {
                    Status::Applied { stock: number("stock_after"), total: number("total_after") }
                }
                "refused" => Status::Refused { available: number("available") },
                _ => Status::Pending,
            },
            effect_seq: row.get("effect_seq"),
        }
    }))
}

fn view(
    product: ProductId,
    id: AdjustmentId,
    delta: i64,
    reason: &str,
    (stock, total): (i64, i64),
    replayed: bool,
) -> AdjustmentView {
    AdjustmentView {
        adjustment_id: id.to_string(),
        product_id: product.get(),
        delta,
        reason: reason.to_owned(),
        stock,
        total,
        replayed,
    }
}
