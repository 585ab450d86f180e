//! Contributions: what every edge and settler says of itself once a second, over Pub/Sub.
//!
//! Counts are absolute since the process started, never deltas, so a lost contribution does no
//! harm: whoever shows a rate divides by the time between the two it has.
//! Invariant: what [`Contribution::parse`] takes is bounded, whatever was published.

use serde::{Deserialize, Serialize};

/// The version written and read.
pub const VERSION: u32 = 1;
/// The largest contribution read: 256 products are some 40 KB.
pub const BYTES_MAX: usize = 64 * 1024;
/// The longest name of a process, in characters: a host name and a port.
pub const NAME_CHARS_MAX: usize = 80;
/// Products one contribution describes at most: a wall shows no more, and every edge reads every
/// contribution each second.
pub const PRODUCTS_MAX: usize = 256;

/// Upper bounds of the latency buckets, in µs, from 0.25 ms to 8 s in two steps a doubling; one
/// more bucket takes what is slower.
pub const LATENCY_BOUNDS_US: [u64; 30] = [
    250, 375, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000,
    32_000, 48_000, 64_000, 96_000, 128_000, 192_000, 256_000, 384_000, 512_000, 768_000,
    1_000_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000, 8_000_000,
];
/// How many buckets there are.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;
/// Answers by how long they took; see [`LATENCY_BOUNDS_US`].
pub type LatencyCounts = [u64; LATENCY_BUCKETS];

/// What one process says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Always [`VERSION`].
    pub v: u32,
    /// The process, as people know it; unique among those of its role.
    pub name: String,
    /// When it started, ms since the Unix epoch by its own clock. Another one is another process.
    pub started_ms: i64,
    /// How long it had run when it counted, by a clock that never jumps: what rates divide by.
    pub uptime_ms: u64,
    /// Whether it can do its work.
    pub ready: bool,
    /// What it is, and what it counted.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What a process counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a few are moved a second")]
pub enum Figures {
    /// An edge.
    Edge(EdgeFigures),
    /// A settler.
    Settler(SettlerFigures),
}

/// What an edge counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeFigures {
    /// Connections open now that are no WebSockets.
    pub connections: u64,
    /// WebSockets open now.
    pub ws_clients: u64,
    /// Answers to a buy since the start.
    pub answers: Answers,
    /// The same answers by how long they took.
    pub latency: LatencyCounts,
}

/// Answers to a buy since the start, by what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// 202 with a new reservation.
    pub accepted: u64,
    /// 202 that repeats an earlier one.
    pub replayed: u64,
    /// 400 `SOLD_OUT`.
    pub sold_out: u64,
    /// Every other 4xx.
    pub refused: u64,
    /// 5xx.
    pub failed: u64,
}

/// What a settler counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlerFigures {
    /// Orders recorded with an outcome since the start: confirmed, held or rejected.
    pub settled: u64,
    /// Those of them that were rejected.
    pub rejected: u64,
    /// Held orders that expired since the start.
    pub expired: u64,
    /// What only the one that leads looks at; `None` when this one does not lead.
    pub leader: Option<LeaderFigures>,
}

/// What the settler that leads knows of the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderFigures {
    /// Messages that wait for a settler; `None` before the first look.
    pub queue_messages: Option<i64>,
    /// Messages no settler could read; `None` before the first look.
    pub dead_letters: Option<i64>,
    /// By id, at most [`PRODUCTS_MAX`] of them.
    pub products: Vec<ProductFigures>,
}

/// One product as the settler that leads sees it. Numbers are `None` while nobody looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductFigures {
    /// The product.
    pub product_id: i64,
    /// Whether the Redis node that holds it is vouched for.
    pub gate_open: bool,
    /// Micro-batches that wait for the broker's confirm.
    pub outbox_depth: Option<i64>,
    /// Age of the oldest of them; 0 without any.
    pub outbox_oldest_ms: Option<i64>,
    /// Units reserved in Redis and not settled yet.
    pub open_units: Option<i64>,
    /// Units owned by orders beyond the units there are.
    pub oversold_units: Option<i64>,
    /// Units that do not add up.
    pub drift_units: Option<i64>,
}

impl Contribution {
    /// Reads what Pub/Sub delivered; `None` for anything malformed, too large, or of another
    /// version.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() > BYTES_MAX {
            return None;
        }
        let read: Self = serde_json::from_slice(payload).ok()?;
        let products = match &read.figures {
            Figures::Settler(SettlerFigures { leader: Some(leader), .. }) => leader.products.len(),
            _ => 0,
        };
        let fits = read.v == VERSION && is_name(&read.name) && products <= PRODUCTS_MAX;
        fits.then_some(read)
    }

    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}

impl ProductFigures {
    /// Whether nobody needs to look at it.
    pub fn is_fine(&self) -> bool {
        let nothing = |units: Option<i64>| units.unwrap_or(0) == 0;
        self.gate_open && nothing(self.oversold_units) && nothing(self.drift_units)
    }
}

/// As many products as a contribution describes, by id; when there are more, those first that
/// somebody needs to look at.
pub fn choose_products(mut products: Vec<ProductFigures>) -> Vec<ProductFigures> {
    if products.len() > PRODUCTS_MAX {
        products.sort_by_key(|product| (product.is_fine(), product.product_id));
        products.truncate(PRODUCTS_MAX);
    }
    products.sort_by_key(|product| product.product_id);
    products
}

/// Whether a text can name a process: short, and nothing in it that a terminal would obey.
pub fn is_name(text: &str) -> bool {
    let characters = text.chars().count();
    (1..=NAME_CHARS_MAX).contains(&characters) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settler(leader: Option<LeaderFigures>) -> Contribution {
        Contribution {
            v: VERSION,
            name: "settler-1".to_owned(),
            started_ms: 1_000,
            uptime_ms: 2_000,
            ready: true,
            figures: Figures::Settler(SettlerFigures {
                settled: 5,
                rejected: 1,
                expired: 0,
                leader,
            }),
        }
    }

    fn product(product_id: i64) -> ProductFigures {
        ProductFigures { product_id, gate_open: true, ..ProductFigures::default() }
    }

    #[test]
    fn an_edge_is_written_in_the_documented_shape_and_reads_back() {
        let mut latency = [0; LATENCY_BUCKETS];
        latency[2] = 7;
        let answers = Answers { accepted: 4, replayed: 0, sold_out: 2, refused: 1, failed: 0 };
        let figures =
            Figures::Edge(EdgeFigures { connections: 12, ws_clients: 3, answers, latency });
        let edge = Contribution { name: "edge-1".to_owned(), figures, ..settler(None) };
        let json = String::from_utf8(edge.to_json()).unwrap();
        let begin = concat!(
            r#"{"v":1,"name":"edge-1","started_ms":1000,"uptime_ms":2000,"ready":true,"#,
            r#""role":"edge","connections":12,"ws_clients":3,"answers":{"accepted":4,"#,
            r#""replayed":0,"sold_out":2,"refused":1,"failed":0},"latency":[0,0,7,0,"#
        );
        assert!(json.starts_with(begin), "{json}");
        assert_eq!(Contribution::parse(json.as_bytes()), Some(edge));
    }

    #[test]
    fn a_settler_is_written_in_the_documented_shape_and_reads_back() {
        let open_units = Some(3);
        let leader = LeaderFigures {
            queue_messages: Some(0),
            dead_letters: None,
            products: vec![ProductFigures { open_units, ..product(1) }],
        };
        let leading = settler(Some(leader));
        let json = String::from_utf8(leading.to_json()).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"v":1,"name":"settler-1","started_ms":1000,"uptime_ms":2000,"ready":true,"#,
                r#""role":"settler","settled":5,"rejected":1,"expired":0,"#,
                r#""leader":{"queue_messages":0,"dead_letters":null,"products":[{"product_id":1,"#,
                r#""gate_open":true,"outbox_depth":null,"outbox_oldest_ms":null,"open_units":3,"#,
                r#""oversold_units":null,"drift_units":null}]}}"#
            )
        );
        assert_eq!(Contribution::parse(json.as_bytes()), Some(leading));
    }

    #[test]
    fn what_nobody_of_ours_would_publish_is_not_taken() {
        let good = String::from_utf8(settler(None).to_json()).unwrap();
        let parse = |text: &str| Contribution::parse(text.as_bytes());
        assert!(parse(&good).is_some());
        assert!(parse(&good.replace(r#""v":1"#, r#""later":[],"v":1"#)).is_some(), "a new field");
        for (from, to) in [
            (r#""v":1"#, r#""v":2"#),
            ("settler-1", ""),
            ("settler-1", "\\u001b[31m"),
            (r#""role":"settler""#, r#""role":"nginx""#),
            (r#""settled":5"#, r#""settled":-5"#),
            ("}", ""),
        ] {
            assert_ne!(good.replace(from, to), good);
            assert_eq!(parse(&good.replace(from, to)), None, "{to}");
        }
        assert_eq!(parse(&good.replace("settler-1", &"x".repeat(NAME_CHARS_MAX + 1))), None);
        assert_eq!(parse(&format!("{good}{}", " ".repeat(BYTES_MAX))), None);
        let products = (0..=PRODUCTS_MAX as i64).map(product).collect();
        let crowded = settler(Some(LeaderFigures { products, ..LeaderFigures::default() }));
        assert_eq!(Contribution::parse(&crowded.to_json()), None);
    }

    #[test]
    fn the_largest_contribution_is_read() {
        let most = Some(i64::MIN);
        let crowd = (0..PRODUCTS_MAX as i64).map(|n| ProductFigures {
            product_id: i64::MAX - n,
            gate_open: false,
            outbox_depth: most,
            outbox_oldest_ms: most,
            open_units: most,
            oversold_units: most,
            drift_units: most,
        });
        let leader = LeaderFigures { products: crowd.collect(), ..LeaderFigures::default() };
        assert!(Contribution::parse(&settler(Some(leader)).to_json()).is_some());
    }

    #[test]
    fn of_too_many_products_those_in_trouble_are_described() {
        let last = PRODUCTS_MAX as i64 + 10;
        let mut all: Vec<_> = (1..=last).map(product).collect();
        all.last_mut().unwrap().oversold_units = Some(1);
        let chosen = choose_products(all);
        assert_eq!(chosen.len(), PRODUCTS_MAX);
        assert_eq!(chosen.last().unwrap().product_id, last);
        assert!(chosen.is_sorted_by_key(|product| product.product_id));
    }

    #[test]
    fn bounds_ascend() {
        assert!(LATENCY_BOUNDS_US.is_sorted());
    }
}
