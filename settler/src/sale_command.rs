//! `settler sale`: what an operator does to a sale from a terminal, by the same code as the API.
//!
//! Owns the words. Invariant: with `--json` stdout is one JSON document, a refusal too; the exit
//! code is 0 when it was done, 1 when it was refused or is unfit, 2 when it was not understood.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use books::error::BooksError;
use books::office::Office;
use books::sales::SaleChange;
use domain::contract::admin::{AdjustStock, ChangeSale, CreateProduct};
use domain::contract::admin_view::{AdjustmentView, CheckView, SaleList, SaleView};
use domain::contract::problem::Problem;
use service::redis_pool::{RedisPool, RedisPoolSettings};
use uuid::Uuid;

use crate::commands::say;
use crate::preflight;
use crate::settings::{AdjustSettings, CreateSettings, SaleChanges, SaleCommand, SaleSettings};

/// A command that freezes inside a transaction loses its lock on the product after 2 s.
const SESSION: &str = "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=2000";
/// A person waits for it; a Redis that is slower has another problem.
const REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// What there is to say, for a program and for a person.
struct Said {
    json: String,
    words: String,
    fine: bool,
}

/// Does what was asked, and says what was done.
///
/// # Errors
/// When a URL is malformed or a server is away.
pub async fn run(settings: &SaleSettings) -> anyhow::Result<ExitCode> {
    let servers = &settings.servers;
    let pool = service::postgres::pool(&servers.database_url, "settler-sale", 2, SESSION)
        .context("DATABASE_URL")?;
    let redis = RedisPoolSettings {
        url: servers.redis_url.clone(),
        connections_max: 2,
        response_timeout: REDIS_TIMEOUT,
    };
    let redis = RedisPool::connect(&redis, &[]).context("REDIS_URL")?;
    let said = match &settings.command {
        SaleCommand::Check(one) => {
            let looked = preflight::look(servers, pool, redis, one.product).await;
            Said { json: looked.to_json(), words: check_in_words(&looked), fine: looked.fit }
        }
        command => match act(&Office::new(pool, redis), command).await {
            Ok(said) => said,
            Err(error) => refusal(&error),
        },
    };
    say(if settings.json { &said.json } else { &said.words });
    Ok(if said.fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn act(office: &Office, command: &SaleCommand) -> Result<Said, BooksError> {
    let sale = match command {
        SaleCommand::List | SaleCommand::Check(_) => {
            let list = SaleList { sales: office.list().await? };
            let words: Vec<_> = list.sales.iter().map(sale_in_words).collect();
            let words =
                if words.is_empty() { "there are no sales".into() } else { words.join("\n") };
            return Ok(Said { json: list.to_json(), words, fine: true });
        }
        SaleCommand::Adjust(settings) => {
            let adjusted = office.adjust(settings.product.product, &adjustment(settings)).await?;
            let words = adjustment_in_words(&adjusted);
            return Ok(Said { json: adjusted.to_json(), words, fine: true });
        }
        SaleCommand::Create(settings) => office.create(&product(settings)).await?,
        SaleCommand::Change(settings) => {
            let change = SaleChange::Settings(changes(&settings.changes));
            office.change(settings.product.product, &change).await?
        }
        SaleCommand::Pause(one) => office.change(one.product, &SaleChange::Pause).await?,
        SaleCommand::Resume(one) => office.change(one.product, &SaleChange::Resume).await?,
        SaleCommand::Close(one) => office.change(one.product, &SaleChange::Close).await?,
    };
    Ok(Said { json: sale.to_json(), words: sale_in_words(&sale), fine: true })
}

fn product(settings: &CreateSettings) -> CreateProduct {
    CreateProduct {
        product: settings.product_id,
        name: settings.name.clone(),
        price_minor: settings.price_minor,
        currency: settings.currency.clone(),
        stock: settings.stock,
        limit: settings.limit,
        hold_seconds: settings.hold_seconds,
        opens_at_ms: settings.opens_at,
        closes_at_ms: settings.closes_at,
    }
}

fn changes(settings: &SaleChanges) -> ChangeSale {
    ChangeSale {
        name: settings.name.clone(),
        price_minor: settings.price_minor,
        limit: settings.limit,
        hold_seconds: settings.hold_seconds,
        opens_at_ms: settings.opens_at.map(|at| at.0),
        closes_at_ms: settings.closes_at.map(|at| at.0),
    }
}

fn adjustment(settings: &AdjustSettings) -> AdjustStock {
    let key = settings.key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    AdjustStock { delta: settings.delta, reason: settings.reason.clone(), key }
}

fn refusal(error: &BooksError) -> Said {
    let (code, detail) = (error.code(), error.to_string());
    let available = match error {
        BooksError::Refused(refusal) => refusal.available(),
        BooksError::Unavailable(_) | BooksError::OutcomeUnknown(_) => None,
    };
    let problem = Problem { detail: Some(&detail), available, ..Problem::new(code) };
    let json = String::from_utf8_lossy(&problem.to_json()).into_owned();
    let advice = match error {
        BooksError::Refused(_) => "refused",
        BooksError::Unavailable(_) => "nothing was changed, try again",
        BooksError::OutcomeUnknown(_) => "ask again with the same --key",
    };
    Said { json, words: format!("{advice}: {detail}"), fine: false }
}

fn sale_in_words(sale: &SaleView) -> String {
    let at = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
    let hold = match sale.hold_seconds {
        0 => "orders are confirmed at once".to_owned(),
        seconds => format!("orders are held for {seconds} s"),
    };
    format!(
        "product {}: {}\n  {}, opens {}, closes {}\n  stock {} of {}, at most {} a buyer, {}\n  \
         {} minor units of {}; version {}, {}",
        sale.product_id,
        sale.name,
        sale.state,
        at(&sale.opens_at, "at once"),
        at(&sale.closes_at, "never"),
        sale.stock,
        sale.total,
        sale.limit,
        hold,
        sale.price_minor,
        sale.currency,
        sale.sale_version,
        if sale.applied { "known to Redis" } else { "NOT YET known to Redis" },
    )
}

fn adjustment_in_words(adjusted: &AdjustmentView) -> String {
    let AdjustmentView { product_id, delta, stock, total, replayed, .. } = adjusted;
    let again = if *replayed { " (done before, under this key)" } else { "" };
    format!("product {product_id}: {delta:+} units, stock {stock} of {total}{again}")
}

fn check_in_words(looked: &CheckView) -> String {
    let mark = |ok| if ok { "ok  " } else { "FAIL" };
    let lines = looked.checks.iter();
    let mut lines: Vec<_> =
        lines.map(|check| format!("{} {}: {}", mark(check.ok), check.name, check.detail)).collect();
    lines.push(if looked.fit { "fit to sell" } else { "NOT fit to sell" }.to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_a_sale_is() {
        let sale = SaleView {
            product_id: 2,
            name: "Pixel 10".into(),
            price_minor: 2_990_000,
            currency: "THB".into(),
            stock: 499,
            total: 500,
            limit: 1,
            hold_seconds: 600,
            state: "paused",
            opens_at: Some("2026-12-01T05:00:00.000Z".into()),
            closes_at: None,
            sale_version: 3,
            applied: false,
        };
        let words = sale_in_words(&sale);
        for part in ["paused, opens 2026-12-01T05:00:00.000Z, closes never", "held for 600 s"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(words.ends_with("version 3, NOT YET known to Redis"), "{words}");
    }
}
