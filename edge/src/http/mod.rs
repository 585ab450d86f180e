//! HTTP: every route, and what each answers.
//!
//! Owns paths, methods, statuses and words; names no store. Leaves bytes on the wire to `server`.
//! Invariant: every request gets an answer in the shape the API promises, whatever it asks for.

pub mod answer;
mod body;
pub mod buy;
pub mod checks;
mod holds;
mod reads;
pub mod trace;
mod upgrade;

use std::sync::Arc;

use books::holds::Resolution;
use bytes::Bytes;
use domain::contract::problem::{Code, Problem};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use prometheus_client::registry::Registry;
use service::readiness::Readiness;
use service::{probe, telemetry};
use tokio_util::task::TaskTracker;

use crate::feed::Feed;
use crate::holds::Holds;
use crate::metrics::Metrics;
use crate::reserve::Reserver;
use answer::{Answer, refuse, refuse_because, refuse_method};
use trace::Tracer;

/// What answering takes.
#[derive(Debug)]
pub struct Context {
    /// Reserves units.
    pub reserver: Reserver,
    /// Stock, products, orders.
    pub feed: Feed,
    /// Pays and cancels.
    pub holds: Holds,
    /// What is counted.
    pub metrics: Metrics,
    /// Every metric, for `/metrics`.
    pub registry: Registry,
    /// What is missing, for `/readyz`.
    pub readiness: Readiness,
    /// Origins whose pages may open a WebSocket besides this host's own.
    pub allowed_origins: Vec<String>,
    /// Chooses requests to follow.
    pub tracer: Tracer,
    /// WebSocket clients run here.
    pub clients: TaskTracker,
    /// The most frequent refusal, written once.
    pub sold_out: Bytes,
}

impl Context {
    /// The body of a sold-out answer.
    pub fn sold_out_body() -> Bytes {
        Bytes::from(Problem::new(Code::SoldOut).to_json())
    }
}

/// Answers one request.
pub async fn respond(context: Arc<Context>, request: Request<Incoming>) -> Answer {
    if let Err((code, why)) = checks::check_request(&request) {
        return refuse_because(code, why);
    }
    let get = request.method() == Method::GET;
    let post = request.method() == Method::POST;
    let path = request.uri().path();
    if let Some((id, asked)) = resolution(path) {
        return if post {
            let id = id.to_owned();
            holds::resolve(&context, &id, asked, request).await
        } else {
            refuse_method("POST")
        };
    }
    match path {
        "/api/buy" if post => buy::buy(&context, request).await,
        "/api/buy" => refuse_method("POST"),
        "/ws" if get => upgrade::upgrade(&context, request),
        _ if !get && is_known(path) => refuse_method("GET"),
        "/api/products" => reads::products(&context),
        "/livez" => plain("ok\n"),
        "/readyz" => probe::readyz(&context.readiness, request.uri().query()),
        "/metrics" => metrics(&context),
        _ => match (path.strip_prefix("/api/orders/"), path.strip_prefix("/api/products/")) {
            (Some(id), _) => reads::order(&context, id, request.uri().query()).await,
            (_, Some(id)) => reads::product(&context, id),
            (None, None) => refuse(Code::NotFound),
        },
    }
}

/// The order a path pays or cancels.
fn resolution(path: &str) -> Option<(&str, Resolution)> {
    let (id, segment) = path.strip_prefix("/api/orders/")?.split_once('/')?;
    Some((id, holds::resolution(segment)?))
}

/// Whether some method of this path is answered.
fn is_known(path: &str) -> bool {
    matches!(path, "/ws" | "/api/products" | "/livez" | "/readyz" | "/metrics")
        || path.starts_with("/api/orders/")
        || path.starts_with("/api/products/")
}

fn plain(text: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

fn metrics(context: &Context) -> Answer {
    let text = telemetry::encode_metrics(&context.registry);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let media_type = HeaderValue::from_static(telemetry::METRICS_MEDIA_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
