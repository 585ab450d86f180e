//! `lua/reserve.lua` in a real Redis that does nothing else, in batches of several sizes, against
//! redis-benchmark on the smallest script that makes an order, one a call.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use redis::IntoConnectionInfo;
use tokio::process::Command;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::accepted::mean;
use crate::lab::{Lab, PLENTY};
use crate::resp::Pipe;
use crate::row::{Bound, Row};
use crate::system::System;

/// Sizes measured, each with the reservations it makes: some seconds' worth.
const SIZES: [(usize, usize); 4] = [(1, 150_000), (8, 400_000), (64, 800_000), (256, 800_000)];
/// Connections of the driver.
const CONNECTIONS: usize = 16;
/// How long Redis may take to free what was unlinked.
const FREED: Duration = Duration::from_millis(500);
/// Calls of each script that sells one unit.
const CALLS: i64 = 400_000;
/// The smallest script that makes an order.
const RESERVE_ONE: OneCall = OneCall {
    script: include_str!("../../../../perf/ceilings/reserve_one.lua"),
    remembers_users: true,
};
/// A bare counter.
const SELL_ONE: OneCall = OneCall {
    script: include_str!("../../../../perf/ceilings/sell_one.lua"),
    remembers_users: false,
};

/// A script that sells one unit a call.
struct OneCall {
    script: &'static str,
    remembers_users: bool,
}

/// Measures the scripts that sell one unit, then each size, in turn.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    lab.retire().await;
    let mut system = System::start(&[]).await?;
    let mut products = Vec::new();
    for _ in SIZES {
        products.push(system.sell(PLENTY).await?);
    }
    // Only Redis works from here: what it holds is compared with nothing and told to nobody.
    for process in system.stack.status().processes {
        if process.name.starts_with("edge-") || process.name.starts_with("settler-") {
            system.stack.stop(&process.name).await?;
        }
    }
    let (mut orders, mut units) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    for ((batch, reservations), product) in SIZES.into_iter().zip(products) {
        orders.push(call_one(&mut system, &RESERVE_ONE).await?);
        units.push(call_one(&mut system, &SELL_ONE).await?);
        rows.push(measure(&mut system, product, batch, reservations).await?);
    }
    let (orders, units) = (mean(orders.into_iter()), mean(units.into_iter()));
    for row in &mut rows {
        row.ceiling_per_second = Some(orders);
        row.fact("a bare counter, calls/s", units);
        if row.of == "batches of 64" {
            row.goal("over one order a call", Bound::AtLeast(3.0), row.ratio().unwrap_or(f64::NAN));
        }
    }
    system.shutdown().await;
    Ok(rows)
}

/// Calls a second of a script that sells one unit a call, each to another user.
async fn call_one(system: &mut System, one: &OneCall) -> anyhow::Result<f64> {
    let sha: String =
        redis::cmd("SCRIPT").arg(&["LOAD", one.script]).query_async(&mut system.redis).await?;
    redis::cmd("SET").arg("units").arg(PLENTY).query_async::<()>(&mut system.redis).await?;
    let info = system.stack.redis_url().into_connection_info()?;
    let address = info.addr().to_string();
    let (host, port) = address.rsplit_once(':').context("redis has a port")?;
    let output = Command::new("redis-benchmark")
        .args(["-h", host, "-p", port, "-c", "50", "-P", "16", "-n", &CALLS.to_string(), "--csv"])
        .args(["-a", info.redis_settings().password().unwrap_or_default()])
        .args(["-r", "1000000000", "EVALSHA", &sha, "2", "units", "users"])
        .args(["__rand_int__", "019a0000-0000-7000-8000-__rand_int__"])
        .output()
        .await
        .context("running redis-benchmark; on Debian it is in the package redis-tools")?;
    let mut pipe = redis::pipe();
    pipe.cmd("GET").arg("units").cmd("HLEN").arg("users").cmd("UNLINK").arg("users");
    let (left, users, _): (i64, i64, i64) = pipe.query_async(&mut system.redis).await?;
    let sold = PLENTY - left;
    // Users are drawn from a thousand million: some hundred come twice.
    ensure!(sold >= CALLS - CALLS / 1000, "{sold} of {CALLS} units were sold");
    let remembered = if one.remembers_users { sold } else { 0 };
    ensure!(users == remembered, "{sold} units were sold and {users} users are remembered");
    // What is unlinked is freed in the background; the next must not pay for it.
    tokio::time::sleep(FREED).await;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_csv(&text).with_context(|| format!("redis-benchmark said something else: {text}"))
}

/// The rate in the last line of `"test","rps",…`.
fn parse_csv(text: &str) -> Option<f64> {
    let line = text.lines().rev().find(|line| line.starts_with('"'))?;
    line.split("\",\"").nth(1)?.trim_matches('"').parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn measure(
    system: &mut System,
    product: i64,
    batch: usize,
    reservations: usize,
) -> anyhow::Result<Row> {
    let mut row = Row::new("script", format!("batches of {batch}"));
    row.unit = "reservations";
    let script = redis::Script::new(include_str!("../../../../lua/reserve.lua"));
    script.prepare_invoke().load_async(&mut system.redis).await?;
    let calls_each = reservations / batch / CONNECTIONS;
    let mut workers = JoinSet::new();
    let before = system.meter.read();
    let started = Instant::now();
    for worker in 0..CONNECTIONS {
        let caller = Caller {
            pipe: Pipe::open(system.stack.redis_url()).await?,
            sha: script.get_hash().to_owned(),
            product,
            next_user: 1 + worker * calls_each * batch,
        };
        workers.spawn(caller.call(calls_each, batch));
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let made = calls_each * batch * CONNECTIONS;
    row.per_second = Some(made as f64 / seconds);
    row.usage = system.meter.read().since(&before, made as u64);
    row.fact("calls/s", (calls_each * CONNECTIONS) as f64 / seconds);
    check(system, product, made, &mut row).await?;
    Ok(row)
}

async fn check(
    system: &mut System,
    product: i64,
    made: usize,
    row: &mut Row,
) -> anyhow::Result<()> {
    let mut pipe = redis::pipe();
    pipe.cmd("HLEN").arg(format!("buyers:{{{product}}}"));
    pipe.cmd("HGET").arg(format!("sale:{{{product}}}")).arg("available");
    let (buyers, available): (i64, i64) = pipe.query_async(&mut system.redis).await?;
    let made = i64::try_from(made)?;
    let figures = format!("{made} reserved, {buyers} buyers, {} units taken", PLENTY - available);
    row.check("every user has one unit", buyers == made && PLENTY - available == made, figures);
    let keys = ["buyers", "outbox"].map(|key| format!("{key}:{{{product}}}"));
    redis::cmd("UNLINK").arg(&keys).query_async::<()>(&mut system.redis).await?;
    // As above.
    tokio::time::sleep(FREED).await;
    Ok(())
}

/// One connection that reserves.
struct Caller {
    pipe: Pipe,
    sha: String,
    product: i64,
    next_user: usize,
}

impl Caller {
    async fn call(mut self, calls: usize, batch: usize) -> anyhow::Result<()> {
        ensure!(calls > 0, "no calls");
        // In flight on one connection: enough that Redis never waits for this program.
        let depth = (64 / batch).clamp(2, 16);
        let mut left = calls;
        while left > 0 {
            let now = depth.min(left);
            for _ in 0..now {
                self.append(batch);
            }
            self.pipe.exchange(now).await?;
            left -= now;
        }
        Ok(())
    }

    fn append(&mut self, batch: usize) {
        self.pipe.begin(9 + 2 * batch);
        self.pipe.arg(b"EVALSHA");
        self.pipe.arg(self.sha.as_bytes());
        self.pipe.arg(b"3");
        for key in ["sale", "buyers", "outbox"] {
            self.pipe.arg(format!("{key}:{{{}}}", self.product).as_bytes());
        }
        // A deadline, and an outbox bound, that never come.
        self.pipe.arg(b"9000000000000000");
        self.pipe.arg(b"4000000000");
        self.pipe.arg(batch.to_string().as_bytes());
        for _ in 0..batch {
            self.pipe.arg(self.next_user.to_string().as_bytes());
            self.next_user += 1;
        }
        let mut id = [0; 36];
        for _ in 0..batch {
            let candidate = Uuid::from_u128(fastrand::u128(..));
            self.pipe.arg(candidate.hyphenated().encode_lower(&mut id).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_last_line() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\"\n\"EVALSHA x\",\"151285.93\",\"4.9\"\n";
        assert_eq!(parse_csv(text), Some(151_285.93));
        assert_eq!(parse_csv("Could not connect"), None);
    }
}
