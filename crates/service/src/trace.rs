//! Following one request through both programs: W3C trace context, a request id, AMQP headers.
//!
//! Source: W3C Trace Context, level 2, section 3.2. Invariant: what a client sent is either valid
//! throughout or ignored; it never reaches a log or a header as it came.

use std::fmt;

use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};

/// Traces one message carries at most; a batch that mixes more is followed by these.
pub const TRACES_PER_MESSAGE: usize = 16;
/// Bytes of a request id; nginx makes 32.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Bytes of `00-<32>-<16>-<2>`.
const TRACEPARENT_BYTES: usize = 55;
/// Context of the first traced request, under the name every tracing tool looks for.
const TRACEPARENT: &str = "traceparent";
/// Every traced request of a message, each as `traceparent` and request id with a space between.
const TRACES: &str = "traces";

/// A position in a trace: `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceParent {
    /// Reads the header's value; versions above 00 may carry more after what is known.
    pub fn parse(text: &str) -> Option<Self> {
        let known = text.get(..TRACEPARENT_BYTES)?;
        let mut parts = known.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace_id, span_id) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
        let flags = hex(parts.next()?, 2)?;
        let rest = text.get(TRACEPARENT_BYTES..)?;
        let ends = rest.is_empty() || (version > 0 && rest.starts_with('-'));
        let valid = version != 0xff && trace_id != 0 && span_id != 0 && ends;
        if !valid || parts.next().is_some() {
            return None;
        }
        let (span_id, flags) = (u64::try_from(span_id).ok()?, u8::try_from(flags).ok()?);
        Some(Self { trace_id, span_id, flags })
    }

    /// Whether the caller records this trace, and so wants us to.
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The same trace, in a span of our own.
    #[must_use]
    pub const fn child(&self, span_id: u64) -> Self {
        Self { span_id, ..*self }
    }

    /// The trace's id as logs show it.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id as logs show it.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// So many lowercase hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let valid = text.len() == digits && text.bytes().all(lower);
    valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A request id somebody in front of us chose, if it is one: no spaces, no control characters.
pub fn request_id(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let valid = !text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX && text.bytes().all(plain);
    valid.then_some(text)
}

/// A request that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Where in its trace.
    pub parent: TraceParent,
    /// `X-Request-Id`; empty when there is none.
    pub request_id: String,
}

impl Traced {
    fn parse(text: &str) -> Option<Self> {
        let (parent, id) = text.split_once(' ')?;
        let id = if id.is_empty() { id } else { request_id(id)? };
        Some(Self { parent: TraceParent::parse(parent)?, request_id: id.to_owned() })
    }
}

/// Headers of a message that carries these requests; none when nobody is followed.
pub fn to_headers<'a>(traced: impl IntoIterator<Item = &'a Traced>) -> Option<FieldTable> {
    let traced: Vec<&Traced> = traced.into_iter().take(TRACES_PER_MESSAGE).collect();
    let first = traced.first()?;
    let mut headers = FieldTable::default();
    headers.insert(ShortString::from(TRACEPARENT), text(first.parent.to_string()));
    let all: Vec<AMQPValue> =
        traced.iter().map(|t| text(format!("{} {}", t.parent, t.request_id))).collect();
    headers.insert(ShortString::from(TRACES), AMQPValue::FieldArray(FieldArray::from(all)));
    Some(headers)
}

/// The requests a message says it carries; whatever is malformed is left out.
pub fn from_headers(headers: Option<&FieldTable>) -> Vec<Traced> {
    let Some(AMQPValue::FieldArray(traces)) =
        headers.and_then(|headers| headers.inner().get(TRACES))
    else {
        return Vec::new();
    };
    let texts = traces.as_slice().iter().take(TRACES_PER_MESSAGE);
    texts
        .filter_map(|value| match value {
            AMQPValue::LongString(text) => {
                Traced::parse(std::str::from_utf8(text.as_bytes()).ok()?)
            }
            _ => None,
        })
        .collect()
}

fn text(text: String) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example.
    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_position_survives_the_round_trip() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!(parent.to_string(), EXAMPLE);
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(parent.is_sampled());
        let child = parent.child(7);
        assert_eq!(child.span_id(), "0000000000000007");
        assert_eq!(child.trace_id(), parent.trace_id());
        let newer = format!("cc{}-what-the-future-will-be-like", &EXAMPLE[2..]);
        assert_eq!(TraceParent::parse(&newer).unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn what_the_specification_calls_invalid_is_ignored() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c+b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-1",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_request_id_cannot_carry_anything_but_itself() {
        assert_eq!(request_id("8f14e45f-ceea_1.2"), Some("8f14e45f-ceea_1.2"));
        for bad in ["", "a b", "a\nb", "a\"b", "é", &"a".repeat(65)] {
            assert_eq!(request_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn headers_carry_every_trace_up_to_the_bound() {
        let traced = |n: u64| Traced {
            parent: TraceParent::parse(EXAMPLE).unwrap().child(n),
            request_id: if n == 1 { String::new() } else { format!("request-{n}") },
        };
        assert_eq!(to_headers([]), None);
        let many: Vec<Traced> = (1..=20).map(traced).collect();
        let headers = to_headers(&many).unwrap();
        let first = AMQPValue::LongString(many[0].parent.to_string().into());
        assert_eq!(headers.inner().get(TRACEPARENT), Some(&first));
        assert_eq!(from_headers(Some(&headers)), many[..TRACES_PER_MESSAGE]);
        assert_eq!(from_headers(None), []);
    }
}
