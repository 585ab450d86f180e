//! The smallest HTTP client: one GET, for readiness.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A probe on loopback answers at once or is not ready.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Status and body of `GET http://127.0.0.1:port/path`.
pub(crate) async fn get(port: u16, path: &str) -> anyhow::Result<(u16, Bytes)> {
    tokio::time::timeout(ANSWER_MAX, ask(port, path)).await.context("no answer within 1 s")?
}

async fn ask(port: u16, path: &str) -> anyhow::Result<(u16, Bytes)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
