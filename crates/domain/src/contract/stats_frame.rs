//! The stats frame of `GET /ws/stats`: every edge and settler as one edge sees them, once a second.
//!
//! Owns the shape; `edge::stats` computes it from the newest contributions of [`super::stats`].

use serde::Serialize;

use super::stats::ProductFigures;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatsFrame {
    /// When it was written, RFC 3339.
    pub server_time: String,
    /// Answers to a buy over the last second, of every edge that was heard.
    pub answers_per_second: AnswerRates,
    /// How long answers took over the last five seconds; null without any.
    pub latency_ms: Option<Latency>,
    /// Orders recorded with an outcome over the last second.
    pub settled_per_second: f64,
    /// Messages that wait for a settler; null when nobody that leads said.
    pub queue_messages: Option<i64>,
    /// Messages no settler could read; null when nobody that leads said.
    pub dead_letters: Option<i64>,
    /// Every edge heard in the last minute, by name.
    pub edges: Vec<EdgeTile>,
    /// Every settler heard in the last minute, by name.
    pub settlers: Vec<SettlerTile>,
    /// What the settler that leads says of products, by id; empty when none does.
    pub products: Vec<ProductFigures>,
}

/// Answers a second, by what became of the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AnswerRates {
    /// 202 with a new reservation.
    pub accepted: f64,
    /// 202 that repeats an earlier one.
    pub replayed: f64,
    /// 400 `SOLD_OUT`.
    pub sold_out: f64,
    /// Every other 4xx.
    pub refused: f64,
    /// 5xx.
    pub failed: f64,
}

/// How long answers took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeTile {
    /// Its name.
    pub name: String,
    /// Whether it said that it can serve, less than three seconds ago.
    pub ready: bool,
    /// Its answers to a buy over the last second; 0 when it is silent.
    pub requests_per_second: f64,
    /// Connections that are no WebSockets, when it was heard last.
    pub connections: u64,
    /// WebSockets, when it was heard last.
    pub ws_clients: u64,
    /// How long ago it was heard last.
    pub age_ms: u64,
}

/// One settler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettlerTile {
    /// Its name.
    pub name: String,
    /// Whether it said that it can work, less than three seconds ago.
    pub ready: bool,
    /// Whether it is the one that vouches, relays and reconciles; one at most is.
    pub leads: bool,
    /// Orders it recorded with an outcome over the last second; 0 when it is silent.
    pub settled_per_second: f64,
    /// How long ago it was heard last.
    pub age_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::super::socket::ServerMessage;
    use super::*;

    #[test]
    fn the_frame_has_the_documented_shape() {
        let frame = StatsFrame {
            server_time: "2026-01-31T12:00:00.000Z".to_owned(),
            answers_per_second: AnswerRates { accepted: 1.0, ..AnswerRates::default() },
            latency_ms: Some(Latency { p50: 1.9, p99: 8.0 }),
            settled_per_second: 12.0,
            queue_messages: Some(0),
            dead_letters: None,
            edges: vec![EdgeTile {
                name: "edge-1".to_owned(),
                ready: true,
                requests_per_second: 3.0,
                connections: 12,
                ws_clients: 4,
                age_ms: 312,
            }],
            settlers: vec![SettlerTile {
                name: "settler-1".to_owned(),
                ready: true,
                leads: true,
                settled_per_second: 12.0,
                age_ms: 200,
            }],
            products: vec![ProductFigures {
                product_id: 1,
                gate_open: true,
                outbox_depth: Some(0),
                outbox_oldest_ms: Some(0),
                open_units: Some(3),
                oversold_units: Some(0),
                drift_units: None,
            }],
        };
        assert_eq!(
            String::from_utf8(ServerMessage::Stats(&frame).to_json()).unwrap(),
            concat!(
                r#"{"type":"stats","server_time":"2026-01-31T12:00:00.000Z","#,
                r#""answers_per_second":{"accepted":1.0,"replayed":0.0,"sold_out":0.0,"#,
                r#""refused":0.0,"failed":0.0},"latency_ms":{"p50":1.9,"p99":8.0},"#,
                r#""settled_per_second":12.0,"queue_messages":0,"dead_letters":null,"#,
                r#""edges":[{"name":"edge-1","ready":true,"requests_per_second":3.0,"#,
                r#""connections":12,"ws_clients":4,"age_ms":312}],"#,
                r#""settlers":[{"name":"settler-1","ready":true,"leads":true,"#,
                r#""settled_per_second":12.0,"age_ms":200}],"#,
                r#""products":[{"product_id":1,"gate_open":true,"outbox_depth":0,"#,
                r#""outbox_oldest_ms":0,"open_units":3,"oversold_units":0,"drift_units":null}]}"#
            )
        );
    }
}
