//! Buyers as the system meets them: over HTTP through nginx, over WebSocket, and what PostgreSQL
//! says of them afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use stack::Stack;
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use crate::wait::{DEADLINE, LOOK_EVERY};

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    /// JSON; a string when it is something else.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
}

/// Sends one request to `http://host:port`; `None` when no answer comes back.
pub(crate) async fn send(base: &str, request: Request<Full<Bytes>>) -> Option<Answer> {
    let authority = base.strip_prefix("http://")?;
    let stream = TcpStream::connect(authority).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.ok()?;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.ok()?.to_bytes();
    connection.abort();
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
    Some(Answer { status: parts.status, headers: parts.headers, body })
}

/// `GET path`.
pub(crate) async fn get(base: &str, path: &str) -> Option<Answer> {
    send(base, Request::get(path).header("host", "localhost").body(Full::default()).unwrap()).await
}

/// `POST /api/buy` with any body.
pub(crate) async fn post_buy(base: &str, body: String) -> Option<Answer> {
    let request = Request::post("/api/buy")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(body))
        .unwrap();
    send(base, request).await
}

/// `POST path` with an empty body, as an order is paid or cancelled.
pub(crate) async fn post(base: &str, path: &str) -> Option<Answer> {
    send(base, Request::post(path).header("host", "localhost").body(Full::default()).unwrap()).await
}

/// Pays (`pay`) or cancels (`cancel`) the order of a 202.
pub(crate) async fn resolve(base: &str, status_url: &str, how: &str) -> Option<Answer> {
    let (path, query) = status_url.split_once('?').unwrap();
    post(base, &format!("{path}/{how}?{query}")).await
}

/// One press of Buy for one unit of product 1.
pub(crate) async fn buy(base: &str, user: u64) -> Option<Answer> {
    post_buy(base, format!(r#"{{"user_id":{user},"product_id":1}}"#)).await
}

/// What PostgreSQL says.
pub(crate) struct Ledger(tokio_postgres::Client);

impl Ledger {
    /// Connects, as soon as PostgreSQL takes connections.
    pub(crate) async fn open(stack: &Stack) -> Self {
        let started = Instant::now();
        loop {
            match tokio_postgres::connect(stack.database_url(), NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return Self(client);
                }
                // Recovering from a crash takes it a moment.
                Err(error) => assert!(started.elapsed() < DEADLINE, "PostgreSQL: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.0.query_one(query, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn text(&self, query: &str) -> String {
        self.0.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Four numbers of one row.
    pub(crate) async fn four(&self, query: &str) -> [i64; 4] {
        let row = self.0.query_one(query, &[]).await.unwrap();
        std::array::from_fn(|column| row.get(column))
    }

    pub(crate) async fn execute(&self, statement: &str) {
        self.0.batch_execute(statement).await.unwrap();
    }

    /// How many rows a query finds.
    pub(crate) async fn count(&self, query: &str) -> usize {
        self.0.query(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error}")).len()
    }

    /// Status by reservation id, as text.
    pub(crate) async fn orders(&self) -> BTreeMap<String, String> {
        let query = "SELECT id::text, status FROM orders";
        let rows = self.0.query(query, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// From now on orders of product 1 are held for so long.
    pub(crate) async fn hold(&self, seconds: u32) {
        self.execute(&format!("UPDATE products SET hold_seconds = {seconds} WHERE id = 1")).await;
    }

    /// Users with a confirmed order.
    pub(crate) async fn owners(&self) -> BTreeSet<u64> {
        let query = "SELECT user_id FROM orders WHERE status = 'confirmed'";
        let rows = self.0.query(query, &[]).await.unwrap();
        rows.iter().map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap()).collect()
    }

    /// I1, I2 and I5: units add up, stock is not negative, nobody holds two orders.
    pub(crate) async fn assert_adds_up(&self) {
        let drift = "SELECT max(abs(total - stock - (SELECT coalesce(sum(quantity), 0)::bigint \
                     FROM orders WHERE product_id = products.id \
                     AND status IN ('confirmed', 'held', 'paid')))) FROM products";
        assert_eq!(self.number(drift).await, 0, "I1: units appeared or vanished");
        assert!(self.number("SELECT min(stock) FROM products").await >= 0, "I2");
        let twice = "SELECT count(*) FROM (SELECT user_id FROM orders \
                     WHERE status IN ('confirmed', 'held', 'paid') \
                     GROUP BY product_id, user_id HAVING count(*) > 1) AS d";
        assert_eq!(self.number(twice).await, 0, "I5: somebody holds two orders");
    }
}
