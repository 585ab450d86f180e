//! What nginx and hyper could do at best: the same nginx in front of servers that read the body and
//! answer 202, in the edges' place.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use stack::{Stack, StackOptions};
use tokio::net::TcpListener;

/// As many as there are edges.
const SERVERS: usize = 3;

/// Starts nginx in front of the bare servers.
///
/// # Errors
/// When something does not start.
pub(crate) async fn start() -> anyhow::Result<Stack> {
    let program = (std::env::current_exe()?, vec!["bare".to_owned()]);
    let options =
        StackOptions { edges: SERVERS, edge_program: Some(program), ..StackOptions::servers(&[]) };
    Stack::start(options).await
}

/// Serves until it is killed: every `POST` is read and answered 202, everything else 200.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn serve_bare(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // As an edge does.
        let _ = stream.set_nodelay(true);
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match *request.method() {
        Method::POST => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    // Reading is the point; a client that breaks off is its own affair.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}
