//! Which requests are followed: those whose caller samples them, up to so many a second.
//!
//! Invariant: whoever sends a million sampled requests gets a bounded number of log lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderName};
use service::trace::{TraceParent, Traced, request_id};

/// Requests followed in one second: each costs a log line here and one in the settler.
const PER_SECOND_MAX: u32 = 50;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Chooses the requests to follow.
#[derive(Debug)]
pub struct Tracer {
    started: Instant,
    /// The current second since `started`, and in the lower half how many it has admitted.
    admitted: AtomicU64,
}

impl Tracer {
    /// Counts seconds from `now`.
    pub const fn new(now: Instant) -> Self {
        Self { started: now, admitted: AtomicU64::new(0) }
    }

    /// A span of this request in its caller's trace, if it is to be followed.
    pub fn begin(&self, headers: &HeaderMap, now: Instant, span_id: u64) -> Option<Arc<Traced>> {
        let parent = TraceParent::parse(headers.get(TRACEPARENT)?.to_str().ok()?)?;
        if !parent.is_sampled() || !self.admit(now) {
            return None;
        }
        let id = headers.get(REQUEST_ID).and_then(|id| request_id(id.to_str().ok()?));
        let request_id = id.unwrap_or_default().to_owned();
        Some(Arc::new(Traced { parent: parent.child(span_id.max(1)), request_id }))
    }

    fn admit(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.started).as_secs() << 32;
        let counted =
            self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |admitted| {
                match admitted.checked_sub(second) {
                    Some(count) if count >= u64::from(PER_SECOND_MAX) => None,
                    Some(_) => Some(admitted + 1),
                    None => Some(second + 1),
                }
            });
        counted.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(traceparent: &str, id: &str) -> HeaderMap {
        [(TRACEPARENT, traceparent), (REQUEST_ID, id)]
            .map(|(name, value)| (name, value.parse().unwrap()))
            .into_iter()
            .collect()
    }

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_what_its_caller_samples_is_followed() {
        let now = Instant::now();
        let tracer = Tracer::new(now);
        let traced = tracer.begin(&headers(SAMPLED, "abc"), now, 5).unwrap();
        assert_eq!(
            (traced.request_id.as_str(), traced.parent.span_id().as_str()),
            ("abc", "0000000000000005")
        );
        assert_eq!(tracer.begin(&headers(SAMPLED, "a b"), now, 5).unwrap().request_id, "");
        let unsampled = SAMPLED.replace("-01", "-00");
        for ignored in [headers(&unsampled, "abc"), headers("nonsense", "abc"), HeaderMap::new()] {
            assert_eq!(tracer.begin(&ignored, now, 5), None);
        }
    }

    #[test]
    fn so_many_are_followed_in_a_second() {
        let start = Instant::now();
        let tracer = Tracer::new(start);
        let admitted = |ms: u64| {
            let now = start + Duration::from_millis(ms);
            (0..200).filter(|_| tracer.begin(&headers(SAMPLED, "a"), now, 1).is_some()).count()
        };
        assert_eq!((admitted(0), admitted(999), admitted(1000), admitted(1500)), (50, 0, 50, 0));
    }
}
