//! Runs wrk with `perf/wrk/buy.lua`, and reads what it says at the end.
//!
//! Invariant: a run whose result cannot be read is an error, never zeros.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::Command;

/// wrk's threads: they share two cores with everything they measure.
const THREADS: usize = 2;

/// Who buys what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buyers {
    /// First of the user ids that are used once each.
    pub(crate) first_user: i64,
    pub(crate) product: i64,
    /// Requests in a thousand that go to one of the first `products` products evenly.
    pub(crate) spread: u32,
    pub(crate) products: u32,
    /// Requests in a thousand that come from one of the users 1 to `owners`.
    pub(crate) owned: u32,
    pub(crate) owners: u32,
}

impl Buyers {
    fn args(&self) -> [String; 6] {
        let Self { first_user, product, spread, products, owned, owners } = self;
        let (products, owners) = ((*products).max(1), (*owners).max(1));
        [
            first_user.to_string(),
            product.to_string(),
            spread.to_string(),
            products.to_string(),
            owned.to_string(),
            owners.to_string(),
        ]
    }
}

/// What one run says; latencies in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct Pressed {
    pub(crate) requests: u64,
    pub(crate) micros: u64,
    /// Complete answers other than 2xx and 3xx.
    pub(crate) not_2xx: u64,
    /// Connections that could not be made, read or written.
    pub(crate) broken: u64,
    pub(crate) timeouts: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Pressed {
    /// Requests answered a second.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.micros.max(1) as f64
    }

    /// Answers 2xx; the only one the API has for a buy is 202.
    pub(crate) fn accepted(&self) -> u64 {
        self.requests - self.not_2xx.min(self.requests)
    }
}

/// Presses Buy at `http` over so many connections.
pub(crate) async fn press(
    http: &str,
    connections: usize,
    length: Duration,
    buyers: &Buyers,
) -> anyhow::Result<Pressed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../perf/wrk/buy.lua");
    let output = Command::new("wrk")
        .arg(format!("-t{}", THREADS.min(connections)))
        .arg(format!("-c{connections}"))
        .arg(format!("-d{}s", length.as_secs().max(1)))
        .args(["--timeout", "5s", "-s"])
        .arg(script)
        .arg(http)
        .arg("--")
        .args(buyers.args())
        .kill_on_drop(true)
        .output()
        .await
        .context("running wrk; on Debian it is the package wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| format!("wrk said something else: {text}"))
}

fn parse(text: &str) -> Option<Pressed> {
    let json = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_found_among_what_wrk_prints() {
        let text = "Running 5s test\n  Latency 1.00ms\nRESULT {\"requests\":100,\
                    \"micros\":2000000,\"not_2xx\":40,\"broken\":1,\"timeouts\":2,\"p50\":1500,\
                    \"p99\":9000,\"p999\":12000,\"max\":20000}\n";
        let pressed = parse(text).unwrap();
        assert_eq!((pressed.accepted(), pressed.broken, pressed.timeouts), (60, 1, 2));
        assert!((pressed.per_second() - 50.0).abs() < 1e-9);
        assert_eq!((pressed.p50, pressed.p999), (1500.0, 12000.0));
        assert_eq!(parse("Running 5s test\nRESULT {\"requests\":}\n"), None);
        assert_eq!(parse(""), None);
    }
}
