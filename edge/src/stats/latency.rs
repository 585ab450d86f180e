//! Percentiles out of bucket counts.

use domain::contract::stats::{LATENCY_BOUNDS_US, LatencyCounts};
use domain::contract::stats_frame::Latency;

/// Half and all but one in a hundred; `None` without a single answer.
pub(super) fn of(counts: &LatencyCounts) -> Option<Latency> {
    Some(Latency { p50: quantile_ms(counts, 0.5)?, p99: quantile_ms(counts, 0.99)? })
}

/// So many of the answers took no longer, taking those of a bucket to be spread over it evenly.
/// What is slower than the last bound is told as that bound.
fn quantile_ms(counts: &LatencyCounts, quantile: f64) -> Option<f64> {
    let total: u64 = counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let wanted = total as f64 * quantile;
    let (mut below, mut from_us) = (0.0, 0.0);
    for (count, bound) in counts.iter().zip(LATENCY_BOUNDS_US) {
        let (count, to_us) = (*count as f64, bound as f64);
        if count > 0.0 && below + count >= wanted {
            return Some(millis(from_us + (to_us - from_us) * (wanted - below) / count));
        }
        (below, from_us) = (below + count, to_us);
    }
    (total > 0).then(|| millis(from_us))
}

/// µs as ms, to a hundredth.
fn millis(us: f64) -> f64 {
    (us / 10.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use domain::contract::stats::LATENCY_BUCKETS;

    use super::*;

    #[test]
    fn percentiles_lie_inside_their_buckets() {
        let mut counts = [0; LATENCY_BUCKETS];
        assert_eq!(of(&counts), None);
        // 1 to 1.5 ms: ninety; 6 to 8 ms: ten.
        (counts[5], counts[10]) = (90, 10);
        assert_eq!(of(&counts), Some(Latency { p50: 1.28, p99: 7.8 }));
    }

    #[test]
    fn what_is_slower_than_every_bound_is_told_as_the_last() {
        let mut counts = [0; LATENCY_BUCKETS];
        counts[LATENCY_BUCKETS - 1] = 1;
        assert_eq!(of(&counts), Some(Latency { p50: 8000.0, p99: 8000.0 }));
        counts[0] = u64::MAX;
        assert!(of(&counts).is_some());
    }
}
