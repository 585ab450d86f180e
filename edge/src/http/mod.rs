//! HTTP: what each route answers.
//!
//! Owns paths, methods, statuses and words; names no store. Leaves bytes on the wire to `server`.
//! Invariant: every request gets an answer in the shape the API promises, whatever it asks for.

pub mod admin;
pub mod answer;
pub mod body;
pub mod buy;
pub mod checks;
mod holds;
pub mod idempotency;
mod reads;
pub mod routes;
pub mod token;
pub mod trace;
mod upgrade;

use std::sync::Arc;

use books::holds::Resolution;
use bytes::Bytes;
use domain::ReservationId;
use domain::contract::problem::{Code, Problem};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use service::readiness::Readiness;
use service::{probe, telemetry};
use tokio_util::task::TaskTracker;

use crate::feed::{Feed, Scope};
use crate::holds::Holds;
use crate::metrics::Metrics;
use crate::reserve::Reserver;
use admin::Admin;
use answer::{Answer, json, refuse, refuse_because, refuse_method};
use routes::Resource;
use token::TokenKey;
use trace::Tracer;

/// This API as OpenAPI 3.1; a test sends what it describes.
const OPENAPI: &[u8] = include_bytes!("../../openapi.json");

/// What answering takes.
#[derive(Debug)]
pub struct Context {
    /// Reserves units.
    pub reserver: Reserver,
    /// Stock, products, orders.
    pub feed: Feed,
    /// What operators may do; `None` when no token is configured.
    pub admin: Option<Admin>,
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
    /// What buyers' tokens are signed with; without one nobody needs a token.
    pub buyer_token_key: Option<TokenKey>,
    /// Chooses requests to follow.
    pub tracer: Tracer,
    /// Connections that are no WebSockets run here.
    pub connections: TaskTracker,
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
    if admin::owns(request.uri().path()) {
        // Boxed, as all that is rare: every connection would reserve the room for it.
        return Box::pin(admin::respond(context, request)).await;
    }
    let Some((route, segment)) = routes::find(request.uri().path()) else {
        return refuse_elsewhere(request.method());
    };
    if !route.takes(request.method()) {
        return refuse_method(route.allow);
    }
    match route.resource {
        Resource::Buy => buy::buy(&context, request).await,
        Resource::Order => Box::pin(reads::order(&context, segment, request.uri().query())).await,
        Resource::Pay => {
            let id = ReservationId::parse(segment);
            Box::pin(holds::resolve(&context, id, Resolution::Pay, request)).await
        }
        Resource::Cancel => {
            let id = ReservationId::parse(segment);
            Box::pin(holds::resolve(&context, id, Resolution::Cancel, request)).await
        }
        Resource::Products => reads::products(&context),
        Resource::Product => reads::product(&context, segment),
        Resource::OpenApi => json(StatusCode::OK, Bytes::from_static(OPENAPI)),
        Resource::Feed => upgrade::upgrade(&context, request, Scope::Stock),
        Resource::StatsFeed => upgrade::upgrade(&context, request, Scope::Stats),
        Resource::Livez => plain("ok\n"),
        Resource::Readyz => probe::readyz(&context.readiness, request.uri().query()),
        Resource::Metrics => metrics(&context),
    }
}

/// What is no resource of ours. CONNECT names none, and nothing here takes TRACE.
fn refuse_elsewhere(method: &Method) -> Answer {
    match *method {
        Method::CONNECT | Method::TRACE => refuse_method("GET, HEAD, POST"),
        _ => refuse(Code::NotFound),
    }
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
#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what `answer` returns, in bytes.
    const fn size_of_future<A, B, F>(_answer: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn every_connection_reserves_little_for_its_answer() {
        assert!(size_of_future(respond) <= 2048, "{}", size_of_future(respond));
    }
}
