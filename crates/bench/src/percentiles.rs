//! Exact percentiles of latencies: every one is kept, four bytes each.

use std::time::Duration;

/// Latencies in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that at least this share did not exceed (nearest rank), in ms; `None`
    /// of nothing.
    pub(crate) fn quantile_ms(&mut self, share: f64) -> Option<f64> {
        if self.0.is_empty() {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a length far below 2^53"
        )]
        let rank = (share * self.0.len() as f64).ceil() as usize;
        let index = rank.clamp(1, self.0.len()) - 1;
        let (_, micros, _) = self.0.select_nth_unstable(index);
        Some(f64::from(*micros) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_ms(0.5), None);
        for ms in (1..=1000).rev() {
            latencies.record(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0), (0.0, 1.0)]
        {
            assert_eq!(latencies.quantile_ms(share), Some(ms), "{share}");
        }
    }
}
