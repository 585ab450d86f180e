//! `stack loadtest`: the k6 run, and what PostgreSQL says of it afterwards.
//!
//! Invariant: a run counts as passed only if every 202 has exactly one order, nobody has two, and
//! the stock is what the orders leave.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::cli::say;
use crate::control::{self, Answer, Request};
use crate::find;

/// How long accepted orders may take to be settled after the run.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// What the script's summary says.
#[derive(Debug, Deserialize)]
struct Summary {
    requests: u64,
    accepted: u64,
    refused: u64,
    other: u64,
    rate: f64,
    p50_ms: f64,
    p95_ms: f64,
}

/// What PostgreSQL says.
#[derive(Debug)]
struct Ledger {
    total: i64,
    stock: i64,
    held_units: i64,
    orders: i64,
    doubled: i64,
}

pub(crate) async fn run(dir: &Path) -> anyhow::Result<()> {
    let Answer::Status(status) = control::ask(dir, Request::Status).await? else {
        bail!("the stack answered something else");
    };
    let Answer::Urls { database } = control::ask(dir, Request::Urls).await? else {
        bail!("the stack answered something else");
    };
    let Some(k6) = find::on_path("k6") else {
        bail!(
            "k6 is not on PATH: get it from https://grafana.com/docs/k6/latest/set-up/install-k6/"
        );
    };
    let script = find::project_root().join("perf/k6/loadtest.js");
    let folder = tempfile::tempdir()?;
    let (summary_path, accepted_path) =
        (folder.path().join("summary.json"), folder.path().join("accepted.log"));
    let k6_status = tokio::process::Command::new(k6)
        .arg("run")
        .arg("--log-output")
        .arg(format!("file={}", accepted_path.display()))
        .arg("--log-format=raw")
        .arg(&script)
        .env("BASE_URL", &status.http)
        .env("SUMMARY", &summary_path)
        .env("LIST_ACCEPTED", "1")
        .status()
        .await?;
    let summary: Summary =
        serde_json::from_slice(&std::fs::read(&summary_path).context("k6 wrote no summary")?)?;
    let listed = std::fs::read_to_string(&accepted_path).unwrap_or_default();
    let accepted: Vec<Uuid> = listed
        .lines()
        .filter_map(|line| Uuid::try_parse(line.strip_prefix("accepted ")?.trim()).ok())
        .collect();
    let (client, connection) = tokio_postgres::connect(&database, NoTls).await?;
    tokio::spawn(connection);
    let missing = wait_for_orders(&client, &accepted).await?;
    let ledger = read_ledger(&client).await?;
    let faults = judge(&summary, accepted.len(), missing, &ledger);
    report(&summary, &ledger, missing, &faults);
    record(&summary, &ledger, &faults)?;
    anyhow::ensure!(faults.is_empty(), "the load test broke an invariant");
    anyhow::ensure!(k6_status.success(), "k6 failed: a threshold was crossed");
    Ok(())
}

/// Waits until every accepted reservation has its order; how many still have none.
async fn wait_for_orders(client: &Client, accepted: &[Uuid]) -> anyhow::Result<i64> {
    let deadline = Instant::now() + QUIET_MAX;
    let query = "SELECT count(*) FROM unnest($1::uuid[]) AS a (id) \
                 LEFT JOIN orders AS o ON o.id = a.id WHERE o.id IS NULL";
    loop {
        let missing: i64 = client.query_one(query, &[&accepted]).await?.get(0);
        if missing == 0 || Instant::now() > deadline {
            return Ok(missing);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn read_ledger(client: &Client) -> anyhow::Result<Ledger> {
    let query = "SELECT p.total, p.stock, \
        (SELECT coalesce(sum(quantity), 0)::bigint FROM orders \
          WHERE product_id = 1 AND status IN ('confirmed', 'held', 'paid')), \
        (SELECT count(*) FROM orders WHERE product_id = 1), \
        (SELECT count(*) FROM (SELECT user_id FROM orders \
          WHERE product_id = 1 AND status IN ('confirmed', 'held', 'paid') \
          GROUP BY user_id HAVING count(*) > 1) AS d) \
        FROM products AS p WHERE p.id = 1";
    let row = client.query_one(query, &[]).await?;
    Ok(Ledger {
        total: row.get(0),
        stock: row.get(1),
        held_units: row.get(2),
        orders: row.get(3),
        doubled: row.get(4),
    })
}

fn judge(summary: &Summary, listed: usize, missing: i64, ledger: &Ledger) -> Vec<String> {
    let mut faults = Vec::new();
    if u64::try_from(listed) != Ok(summary.accepted) {
        faults.push(format!("{} were accepted, {listed} listed", summary.accepted));
    }
    if summary.requests == 0 || summary.accepted + summary.refused == 0 {
        faults.push("nothing was asked".to_owned());
    }
    if summary.other > 0 {
        faults.push(format!("{} answers were neither 202 nor 400", summary.other));
    }
    if missing > 0 {
        faults.push(format!("{missing} accepted orders have no outcome"));
    }
    if ledger.stock < 0 {
        faults.push(format!("stock is {}", ledger.stock));
    }
    if ledger.stock != ledger.total - ledger.held_units {
        faults.push("stock is not what the orders leave".to_owned());
    }
    if ledger.doubled > 0 {
        faults.push(format!("{} users have two orders", ledger.doubled));
    }
    faults
}

fn report(summary: &Summary, ledger: &Ledger, missing: i64, faults: &[String]) {
    say(&format!(
        "\n  {} requests, {:.0}/s, p50 {:.1} ms, p95 {:.1} ms",
        summary.requests, summary.rate, summary.p50_ms, summary.p95_ms
    ));
    say(&format!(
        "  202: {}   400: {}   other: {}",
        summary.accepted, summary.refused, summary.other
    ));
    say(&format!(
        "  PostgreSQL: {} of {} units sold, stock {}, {} orders, {} users with two, {missing} lost",
        ledger.held_units, ledger.total, ledger.stock, ledger.orders, ledger.doubled
    ));
    for fault in faults {
        say(&format!("  BROKEN: {fault}"));
    }
    say(if faults.is_empty() { "  every invariant holds" } else { "  invariants are broken" });
}

/// The heading of the load test's table in `perf/RESULTS.md`.
const HEADING: &str = "## `make loadtest`";

/// The results with `row` behind the last row of the load test's table; `None` without that table.
fn with_row(results: &str, row: &str) -> Option<String> {
    let heading = results.find(HEADING)?;
    let table = heading + results[heading..].find("\n|")? + 1;
    let rows = results[table..].split_inclusive('\n').take_while(|line| line.starts_with('|'));
    let end = table + rows.map(str::len).sum::<usize>();
    Some(format!("{}{row}\n{}", &results[..end], &results[end..]))
}

/// Adds the run to `perf/RESULTS.md`.
fn record(summary: &Summary, ledger: &Ledger, faults: &[String]) -> anyhow::Result<()> {
    let path = find::project_root().join("perf/RESULTS.md");
    let said = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program)
            .args(args)
            .current_dir(find::project_root())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let unknown = || "unknown".to_owned();
    let date = said("date", &["-u", "+%Y-%m-%d %H:%M"]).unwrap_or_else(unknown);
    let commit = said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(unknown);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let verdict = if faults.is_empty() { "all hold" } else { "BROKEN" };
    let row = format!(
        "| {date} | {cores} | {commit} | {} | {:.0} | {:.1} | {:.1} | {} | {} | {} | {} | \
         {verdict} |",
        summary.requests,
        summary.rate,
        summary.p50_ms,
        summary.p95_ms,
        summary.accepted,
        summary.refused,
        summary.other,
        ledger.stock,
    );
    let name = path.display();
    let results = std::fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
    let results = with_row(&results, &row).with_context(|| format!("{name}: no {HEADING}"))?;
    std::fs::write(&path, results).with_context(|| format!("writing {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            requests: 10,
            accepted: 2,
            refused: 8,
            other: 0,
            rate: 1.0,
            p50_ms: 1.0,
            p95_ms: 1.0,
        }
    }

    #[test]
    fn only_a_ledger_that_adds_up_passes() {
        let good = Ledger { total: 5, stock: 3, held_units: 2, orders: 2, doubled: 0 };
        assert!(judge(&summary(), 2, 0, &good).is_empty());
        assert_eq!(judge(&summary(), 2, 1, &good).len(), 1, "a lost order");
        assert_eq!(judge(&summary(), 1, 0, &good).len(), 1, "an unlisted order");
        assert_eq!(judge(&Summary { other: 1, ..summary() }, 2, 0, &good).len(), 1, "a 500");
        let oversold = Ledger { total: 5, stock: -1, held_units: 6, orders: 6, doubled: 1 };
        assert_eq!(judge(&summary(), 2, 0, &oversold).len(), 2, "negative, and doubled");
        let drift = Ledger { total: 5, stock: 4, held_units: 2, orders: 2, doubled: 0 };
        assert_eq!(judge(&summary(), 2, 0, &drift).len(), 1);
    }
    #[test]
    fn a_run_is_written_behind_the_last_row_of_its_own_table() {
        let results = "# Results\n\n## `make bench`\n\n| a |\n\n## `make loadtest`\n\nwords\n\n\
                       | date |\n|---|\n| 1 |\n\n## `make chaos`\n\n| b |\n";
        let expected = results.replace("| 1 |\n", "| 1 |\n| 2 |\n");
        assert_eq!(with_row(results, "| 2 |"), Some(expected));
        assert_eq!(with_row("# Results\n", "| 2 |"), None);
    }
}
