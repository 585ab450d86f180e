//! The preflight of a sale: everything it needs, looked at once, before it opens.
//!
//! Owns what is looked at and what counts as fit. It changes nothing, but that looking at the
//! broker declares a queue that is missing. Invariant: what cannot be looked at is not fit.

use books::cut::Cuts;
use books::records::{self, SaleRecord};
use deadpool_postgres::Pool;
use domain::contract::admin_view::{Check, CheckView};
use domain::contract::{keys, rfc3339};
use domain::{ProductId, StoredState};
use service::redis_pool::{RedisCalls, RedisPool};
use service::settings::ServerSettings;

use crate::commands::check_schema;
use crate::consume::broker::Observer;
use crate::gatekeeper::node::{judge_info, read_info};
use crate::reconcile::{self, Reconciler};

const READ_CLOCK: &str = include_str!("../../sql/read_clock.sql");

/// Clocks further apart than this tell people another moment than the script keeps.
const CLOCKS_APART_MS_MAX: i64 = 1000;

/// What a look found: fine, or what is wrong.
type Found = Result<String, String>;

/// Looks at everything.
pub(crate) async fn look(
    servers: &ServerSettings,
    pool: Pool,
    redis: RedisPool,
    product: ProductId,
) -> CheckView {
    let mut checks = Vec::new();
    let mut note = |name, found: Found| {
        let ok = found.is_ok();
        let (Ok(detail) | Err(detail)) = found;
        checks.push(Check { name, ok, detail });
    };
    note("PostgreSQL", schema(&servers.database_url).await);
    note("Redis", redis_fitness(&redis, product).await);
    note("clocks", clocks(&pool, &redis, product).await);
    let sale = find_sale(&pool, product).await;
    match &sale {
        Ok(sale) => {
            note("product", Ok(sale.name.clone()));
            note("window", window(sale, redis_time_ms(&redis, product).await));
            for (name, found) in gate(sale, &redis).await {
                note(name, found);
            }
        }
        Err(problem) => note("product", Err(problem.clone())),
    }
    note("books", books(servers, pool, redis, product).await);
    for (name, found) in broker(&servers.amqp_url).await {
        note(name, found);
    }
    let fit = checks.iter().all(|check| check.ok);
    CheckView { product_id: product.get(), fit, checks }
}

async fn schema(database_url: &str) -> Found {
    check_schema(database_url).await.unwrap_or_else(|error| Err(format!("{error:#}")))
}

async fn redis_fitness(redis: &RedisPool, product: ProductId) -> Found {
    let info = read_info(redis, &keys::sale(product)).await.map_err(|error| error.to_string())?;
    judge_info(&info).map_err(|error| error.to_string())?;
    Ok("a primary of version 7 or newer that evicts nothing and keeps a file".to_owned())
}

async fn find_sale(pool: &Pool, product: ProductId) -> Result<SaleRecord, String> {
    let client = pool.get().await.map_err(|error| service::postgres::explain(&error))?;
    let found = records::list(&client, Some(product)).await.map_err(|error| error.to_string())?;
    found.into_iter().next().ok_or_else(|| format!("there is no product {product}"))
}

/// The time of the node that sells the product.
async fn redis_time_ms(redis: &RedisPool, product: ProductId) -> Result<i64, String> {
    let reply = redis
        .query_at(&keys::sale(product), &redis::cmd("TIME"))
        .await
        .map_err(|error| error.to_string())?;
    let (seconds, micros): (i64, i64) =
        redis::from_redis_value(reply).map_err(|error| error.to_string())?;
    Ok(seconds * 1000 + micros / 1000)
}

async fn clocks(pool: &Pool, redis: &RedisPool, product: ProductId) -> Found {
    let explain = |error: &dyn std::error::Error| service::postgres::explain(error);
    let client = pool.get().await.map_err(|error| explain(&error))?;
    let postgres_ms: i64 =
        client.query_one(READ_CLOCK, &[]).await.map_err(|error| explain(&error))?.get("ms");
    let apart = (redis_time_ms(redis, product).await? - postgres_ms).abs();
    let words = format!("those of Redis and PostgreSQL are {apart} ms apart");
    if apart <= CLOCKS_APART_MS_MAX { Ok(words) } else { Err(words) }
}

/// Whether the sale sells now, or will by itself.
fn window(sale: &SaleRecord, now_ms: Result<i64, String>) -> Found {
    let now_ms = now_ms?;
    match sale.state {
        StoredState::Closed => return Err("the sale is closed for good".to_owned()),
        StoredState::Paused => return Err("the sale is paused: resume it".to_owned()),
        StoredState::Open => {}
    }
    let closes = match sale.window.closes_at_ms {
        Some(at) if at <= now_ms => return Err(format!("it closed at {}", rfc3339::from_ms(at))),
        Some(at) => format!("closes at {}", rfc3339::from_ms(at)),
        None => "never closes".to_owned(),
    };
    Ok(match sale.window.opens_at_ms {
        Some(at) if at > now_ms => format!("opens at {}, {closes}", rfc3339::from_ms(at)),
        _ => format!("open now, {closes}"),
    })
}

async fn gate(sale: &SaleRecord, redis: &RedisPool) -> Vec<(&'static str, Found)> {
    let cut = match Cuts::new(redis.clone()).read(sale.product).await {
        Ok(Some(cut)) => cut,
        Ok(None) => return vec![("gate", Err("Redis has no such sale: is a settler up?".into()))],
        Err(error) => return vec![("gate", Err(error.to_string()))],
    };
    let gate = match () {
        () if !cut.open => Err("nobody vouches for Redis: is a settler up?".to_owned()),
        () if cut.epoch != sale.epoch => Err("Redis knows another epoch".to_owned()),
        () if cut.sale_version != sale.sale_version => {
            Err("Redis does not know the last change yet".to_owned())
        }
        () => Ok(format!("open under epoch {}", cut.epoch)),
    };
    let units = if (cut.available, cut.marked) == (sale.stock, 0) {
        Ok(format!("{} of {} can be reserved", cut.available, sale.total))
    } else {
        Err(format!("{} can be reserved, the stock is {}", cut.available, sale.stock))
    };
    let outbox = match cut.outbox {
        0 => Ok("empty".to_owned()),
        waiting => Err(format!("{waiting} batches wait for the broker")),
    };
    vec![("gate", gate), ("units", units), ("outbox", outbox)]
}

/// What the reconciler says of this product.
async fn books(
    servers: &ServerSettings,
    pool: Pool,
    redis: RedisPool,
    product: ProductId,
) -> Found {
    let mut reconciler = Reconciler::new(pool, redis, servers.amqp_url.clone());
    let view = reconciler.look(reconcile::now_ms()).await.map_err(|error| error.to_string())?;
    let books = view.products.iter().find(|books| books.product_id == product.get());
    let books = books.ok_or_else(|| "nothing to look at".to_owned())?;
    match books.findings.first() {
        Some(finding) => {
            Err(format!("{} broken by {}: {}", finding.invariant, finding.amount, finding.detail))
        }
        None => {
            Ok(format!("total {} = stock {} + orders {}", books.total, books.stock, books.holding))
        }
    }
}

async fn broker(amqp_url: &str) -> Vec<(&'static str, Found)> {
    let depths = match Observer::new(amqp_url.to_owned()).depths().await {
        Ok(depths) => depths,
        Err(error) => return vec![("RabbitMQ", Err(error.to_string()))],
    };
    let none = |count: u32, what: &str| {
        if count == 0 { Ok(format!("no {what}")) } else { Err(format!("{count} {what}")) }
    };
    let settlers = match depths.consumers {
        0 => Err("none takes orders from the queue: start one".to_owned()),
        count => Ok(format!("{count} take orders from the queue")),
    };
    vec![
        ("queue", none(depths.orders, "orders wait")),
        ("dead letters", none(depths.dead, "messages no settler could read")),
        ("settlers", settlers),
    ]
}

#[cfg(test)]
mod tests {
    use domain::SaleWindow;

    use super::*;

    #[test]
    fn a_sale_is_fit_when_it_sells_now_or_will_by_itself() {
        let sale = |state, opens_at_ms, closes_at_ms| {
            let product = ProductId::new(1).unwrap();
            let window = SaleWindow { opens_at_ms, closes_at_ms };
            SaleRecord { state, window, ..SaleRecord::new(product, 5) }
        };
        let open = StoredState::Open;
        let fit = |sale: SaleRecord| window(&sale, Ok(1_000)).is_ok();
        assert!(fit(sale(open, None, None)) && fit(sale(open, Some(2_000), Some(3_000))));
        assert!(!fit(sale(open, None, Some(1_000))), "it is over");
        assert!(!fit(sale(StoredState::Paused, None, None)));
        assert!(!fit(sale(StoredState::Closed, Some(2_000), None)));
        assert!(window(&sale(open, None, None), Err("away".into())).is_err());
    }
}
