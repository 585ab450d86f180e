//! `GET /ws` and `GET /ws/stats`, protocol 1: JSON text messages in both directions (RFC 6455).

use serde::{Deserialize, Serialize};

use super::product_view::ProductView;
use super::stats_frame::StatsFrame;

/// The protocol version `hello` names.
pub const PROTOCOL: u32 = 1;
/// The largest message a client may send, in bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 4096;

/// What the server sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// First message of a connection.
    Hello {
        /// Always [`PROTOCOL`].
        protocol: u32,
        /// RFC 3339.
        server_time: &'a str,
    },
    /// Second message: everything as it stands.
    Snapshot {
        /// Every product, by id.
        products: &'a [ProductView<'a>],
    },
    /// One sale changed. Absolute values; keep the one of the highest (epoch, rev).
    Stock {
        /// The product.
        product_id: i64,
        /// Units the database holds.
        stock: i64,
        /// Units that can still be reserved.
        available: i64,
        /// `scheduled`, `open`, `paused`, `sold_out`, `closed`.
        state: &'a str,
        /// Life of the sale's Redis state.
        epoch: i64,
        /// Revision within the epoch.
        rev: i64,
        /// RFC 3339; null is unbounded.
        opens_at: Option<&'a str>,
        /// RFC 3339; null is unbounded.
        closes_at: Option<&'a str>,
        /// When the frame was written, RFC 3339; the state is that of this moment.
        server_time: &'a str,
    },
    /// Sent every 15 s, so that silence means trouble.
    Heartbeat {
        /// RFC 3339.
        server_time: &'a str,
    },
    /// Once a second, on `/ws/stats` alone.
    Stats(&'a StatsFrame),
    /// A watched order has an outcome. One that is `held` has another when it is resolved.
    Order {
        /// The order.
        reservation_id: &'a str,
        /// Its status now.
        status: &'a str,
        /// Why it was rejected.
        reason: Option<&'a str>,
    },
    /// The client's message was not understood; the connection stays.
    Error {
        /// `INVALID_MESSAGE` or `TOO_MANY_WATCHES`.
        code: &'a str,
    },
}

impl ServerMessage<'_> {
    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}

/// What a client may send.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Tell me when this order has an outcome.
    Watch {
        /// The order.
        reservation_id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_documented_shape() {
        let stock = ServerMessage::Stock {
            product_id: 1,
            stock: 999,
            available: 998,
            state: "open",
            epoch: 1,
            rev: 2,
            opens_at: None,
            closes_at: Some("2026-01-31T12:00:00.000Z"),
            server_time: "2026-01-31T11:00:00.000Z",
        };
        assert_eq!(
            String::from_utf8(stock.to_json()).unwrap(),
            concat!(
                r#"{"type":"stock","product_id":1,"stock":999,"available":998,"state":"open","#,
                r#""epoch":1,"rev":2,"opens_at":null,"closes_at":"2026-01-31T12:00:00.000Z","#,
                r#""server_time":"2026-01-31T11:00:00.000Z"}"#
            )
        );
        let watch = r#"{"type":"watch","reservation_id":"x"}"#;
        assert!(matches!(serde_json::from_str(watch), Ok(ClientMessage::Watch { .. })));
    }
}
