//! `/livez`, `/readyz[?verbose]` and `/metrics` for a program that serves nothing else.
//!
//! Invariant: `/livez` depends on nothing but the process itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::readiness::Readiness;
use crate::telemetry;

/// Monitoring needs a handful of connections; more are left in the listen backlog.
const CONNECTIONS_MAX: usize = 64;
/// A prober that sends nothing for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What the probe reports.
#[derive(Debug)]
pub struct Probe {
    /// What is missing.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Registry,
}

/// Serves until `stop` is cancelled.
pub async fn serve(listener: TcpListener, probe: Arc<Probe>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = permits.clone().acquire_owned().await;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors: wait for some to be closed instead of spinning.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let probe = probe.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&probe, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // A prober that breaks off is of no interest.
            let _ = connection.await;
            drop(permit);
        });
    }
}

fn respond<B>(probe: &Probe, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/livez" => plain(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => readyz(&probe.readiness, request.uri().query()),
        "/metrics" => {
            let text = telemetry::encode_metrics(&probe.metrics);
            let mut response = plain(StatusCode::OK, text);
            let media_type = HeaderValue::from_static(telemetry::METRICS_MEDIA_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "not found\n".to_owned()),
    }
}

/// The answer to `/readyz`; with `?verbose` a line for each part.
pub fn readyz(readiness: &Readiness, query: Option<&str>) -> Response<Full<Bytes>> {
    let ready = readiness.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = match (query, ready) {
        (Some("verbose"), _) => readiness.report(),
        (_, true) => "ready\n".to_owned(),
        (_, false) => "not ready\n".to_owned(),
    };
    plain(status, text)
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
