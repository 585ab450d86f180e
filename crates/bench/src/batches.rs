//! The sizes batches really had, from the edges' own histogram.

use std::collections::BTreeMap;

use crate::http;
use crate::row::Row;
use crate::system::System;

/// Batches of each stage by size class: `(stage, upper bound)` to how many.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Batches {
    /// Cumulative, as the exposition format has them; the bound in whole orders.
    buckets: BTreeMap<(String, u64), u64>,
    /// Orders and batches of each stage.
    totals: BTreeMap<String, (f64, u64)>,
}

impl Batches {
    /// What all edges have counted until now.
    ///
    /// # Errors
    /// When an edge does not answer.
    pub(crate) async fn read(system: &System) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for edge in system.edges()? {
            let answer = http::get(edge, "/metrics").await?;
            all.add(&String::from_utf8_lossy(&answer.body));
        }
        Ok(all)
    }

    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("flashsale_batch_orders_") else { continue };
            let Some((name, value)) = rest.rsplit_once(' ') else { continue };
            let Some(stage) = label(name, "stage") else { continue };
            let total = self.totals.entry(stage.to_owned()).or_default();
            let count = value.parse::<f64>().unwrap_or(0.0);
            if name.starts_with("sum") {
                total.0 += count;
            } else if name.starts_with("count") {
                total.1 += whole(count);
            } else if let Some(bound) = label(name, "le") {
                let bound = bound.parse::<f64>().map_or(u64::MAX, whole);
                *self.buckets.entry((stage.to_owned(), bound)).or_default() += whole(count);
            }
        }
    }

    /// What was counted after `earlier`.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        for (key, count) in &mut self.buckets {
            *count -= earlier.buckets.get(key).copied().unwrap_or(0).min(*count);
        }
        for (stage, (orders, batches)) in &mut self.totals {
            let (orders_before, batches_before) =
                earlier.totals.get(stage).copied().unwrap_or_default();
            *orders -= orders_before;
            *batches -= batches_before.min(*batches);
        }
        self
    }

    /// Adds mean sizes, and the share of batches of each size, to the row's facts.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn add_to(&self, row: &mut Row) {
        for (stage, (orders, batches)) in &self.totals {
            row.fact(format!("{stage}: orders a batch"), orders / (*batches).max(1) as f64);
        }
        let mut below = 0;
        let reserve = self.buckets.iter().filter(|((stage, _), _)| stage == "reserve");
        for ((_, bound), cumulative) in reserve {
            let count = cumulative.saturating_sub(below);
            below = *cumulative;
            let all = self.totals.get("reserve").map_or(0, |(_, batches)| *batches);
            if count > 0 {
                let name = match *bound {
                    u64::MAX => "reserve: % of batches above".to_owned(),
                    bound => format!("reserve: % of batches <= {bound}"),
                };
                row.fact(name, 100.0 * count as f64 / all.max(1) as f64);
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and not negative; infinity becomes the largest number"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// The value of a label in `name{a="x",b="y"}`.
fn label<'a>(name: &'a str, wanted: &str) -> Option<&'a str> {
    let labels = name.split_once('{')?.1.trim_end_matches('}');
    labels.split(',').find_map(|label| {
        let (key, value) = label.split_once('=')?;
        (key == wanted).then(|| value.trim_matches('"'))
    })
}

/// Answers to buys by code, over all edges.
///
/// # Errors
/// When an edge does not answer.
pub(crate) async fn answers(system: &System) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for edge in system.edges()? {
        let answer = http::get(edge, "/metrics").await?;
        for line in String::from_utf8_lossy(&answer.body).lines() {
            let Some(rest) = line.strip_prefix("flashsale_buy_requests_total") else { continue };
            let Some((name, value)) = rest.rsplit_once(' ') else { continue };
            let Some(code) = label(name, "code") else { continue };
            *all.entry(code.to_owned()).or_default() += value.parse::<u64>().unwrap_or(0);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE flashsale_batch_orders histogram\n\
        flashsale_batch_orders_sum{stage=\"reserve\"} 70.0\n\
        flashsale_batch_orders_count{stage=\"reserve\"} 4\n\
        flashsale_batch_orders_bucket{le=\"1.0\",stage=\"reserve\"} 1\n\
        flashsale_batch_orders_bucket{le=\"64.0\",stage=\"reserve\"} 4\n\
        flashsale_batch_orders_bucket{le=\"+Inf\",stage=\"reserve\"} 4\n";

    #[test]
    fn the_histogram_of_a_stretch_is_the_difference_of_two() {
        let mut before = Batches::default();
        before.add(TEXT);
        let mut after = before.clone();
        after.add(&TEXT.replace("70.0", "250.0").replace("} 4", "} 5"));
        let mut row = Row::new("accepted", "");
        after.since(&before).add_to(&mut row);
        let facts: Vec<_> = row.facts.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(
            facts,
            [
                ("reserve: orders a batch", 50.0),
                ("reserve: % of batches <= 1", 20.0),
                ("reserve: % of batches <= 64", 80.0),
            ]
        );
    }
}
