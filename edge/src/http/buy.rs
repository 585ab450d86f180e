//! `POST /api/buy`: from a body to an answer.
//!
//! Owns the words a buyer is told; leaves the decision to `reserve`.
//! Invariant: an answer below 500 other than 202 means that this request reserved nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::contract::buy::{BuyRequest, Queued};
use domain::contract::order_view::status_url;
use domain::contract::problem::{Code, Problem};
use domain::contract::rfc3339;
use domain::{Holder, ReservationId, Reserved};
use hyper::body::Body;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use service::trace::Traced;
use uuid::Uuid;

use super::Context;
use super::answer::{Answer, json, refuse, refuse_because, refuse_raw, refuse_with};
use super::body::{read_body, refuse_body};
use super::checks::check_json;
use super::idempotency::{self, KeyError};
use super::token::{self, TokenRefusal};
use crate::reserve::{self, Proposal, ReserveError};

/// What a buyer is told, as it is counted.
enum Told {
    Queued(Answer),
    Replayed(Answer),
    Refused(Code, Answer),
}

/// Answers one press of Buy.
pub(super) async fn buy<B>(context: &Context, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let started = Instant::now();
    // Apart: what is kept while the body is read is kept for every connection.
    let (head, body) = request.into_parts();
    let candidate = Uuid::now_v7();
    // The lower half of a UUIDv7 is random.
    let span_id = candidate.as_u64_pair().1;
    let traced = context.tracer.begin(&head.headers, started, span_id);
    let candidate = ReservationId(candidate);
    let told = match decide(context, &head.headers, body, candidate, traced.clone()).await {
        Ok(told) => told,
        Err((code, answer)) => Told::Refused(code, answer),
    };
    context.metrics.observe_buy(started.elapsed());
    if let Some(traced) = traced {
        log(&traced, &told, started.elapsed());
    }
    match told {
        Told::Queued(answer) => {
            context.metrics.count_accepted();
            answer
        }
        Told::Replayed(answer) => {
            context.metrics.count_replayed();
            answer
        }
        Told::Refused(code, answer) => {
            context.metrics.count_refused(code);
            answer
        }
    }
}

/// The one line about a request that is followed.
fn log(traced: &Traced, told: &Told, elapsed: Duration) {
    let (code, answer) = match told {
        Told::Queued(answer) => ("ACCEPTED", answer),
        Told::Replayed(answer) => ("REPLAYED", answer),
        Told::Refused(code, answer) => (code.as_str(), answer),
    };
    let location = answer.headers().get(LOCATION).and_then(|url| url.to_str().ok());
    tracing::info!(
        trace_id = traced.parent.trace_id(),
        span_id = traced.parent.span_id(),
        request_id = traced.request_id,
        code,
        location,
        elapsed_ms = elapsed.as_millis(),
        "buy"
    );
}

async fn decide<B>(
    context: &Context,
    headers: &HeaderMap,
    body: B,
    candidate: ReservationId,
    traced: Option<Arc<Traced>>,
) -> Result<Told, (Code, Answer)>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let plain = |code: Code| (code, refuse(code));
    let bearer = token::bearer(context, headers).map_err(TokenRefusal::refuse)?;
    check_json(headers).map_err(|(code, why)| (code, refuse_because(code, why)))?;
    let key = idempotency::read_key(headers).map_err(KeyError::refuse)?;
    let body = read_body(body).await.map_err(plain)?;
    let order = BuyRequest::parse(&body).map_err(|error| refuse_body(&error))?;
    bearer.check(order.user).map_err(TokenRefusal::refuse)?;
    match context.feed.catalogue.lists(order.product) {
        None => return Err(plain(Code::Unavailable)),
        Some(false) => return Err(plain(Code::UnknownProduct)),
        Some(true) => {}
    }
    let (user, quantity) = (order.user, order.quantity);
    let proposal = Proposal { user, quantity, candidate, key, traced };
    match context.reserver.reserve(order.product, proposal).await {
        Ok(answer) => Ok(tell(context, &order, answer)),
        Err(ReserveError::Unavailable) => Err(plain(Code::Unavailable)),
        Err(ReserveError::OutcomeUnknown) => Err(plain(Code::OutcomeUnknown)),
    }
}

fn tell(context: &Context, order: &BuyRequest, answer: reserve::Answer) -> Told {
    let refused = |code: Code| Told::Refused(code, refuse(code));
    match answer.reserved {
        Reserved::Accepted(holder) => {
            Told::Queued(queued(order, &holder, answer.available, Asked::Now))
        }
        Reserved::Replayed(holder) if holder.quantity == order.quantity => {
            Told::Replayed(queued(order, &holder, answer.available, Asked::Before))
        }
        Reserved::Replayed(holder) => refuse_with_order(Code::IdempotencyKeyReused, order, &holder),
        Reserved::AlreadyPurchased(holder) => {
            refuse_with_order(Code::AlreadyPurchased, order, &holder)
        }
        Reserved::SoldOut => {
            Told::Refused(Code::SoldOut, refuse_raw(Code::SoldOut, context.sold_out.clone()))
        }
        Reserved::NotEnough { available } => {
            let code = Code::NotEnough;
            let problem = Problem { available: Some(available), ..Problem::new(code) };
            Told::Refused(code, refuse_with(code, &problem))
        }
        Reserved::NotStarted => not_started(context, order),
        Reserved::Paused => refused(Code::SalePaused),
        Reserved::Ended => refused(Code::SaleEnded),
        Reserved::OverLimit => {
            let code = Code::InvalidField;
            let detail = Some("quantity is more than one buyer may have");
            let problem = Problem { detail, field: Some("quantity"), ..Problem::new(code) };
            Told::Refused(code, refuse_with(code, &problem))
        }
        Reserved::Overloaded => refused(Code::Unavailable),
    }
}

/// When a reservation was asked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By this request.
    Now,
    /// By an earlier one with the same idempotency key.
    Before,
}

/// The `202` of a reservation.
pub fn queued(order: &BuyRequest, holder: &Holder, available: i64, asked: Asked) -> Answer {
    let mut text = Uuid::encode_buffer();
    let url = status_url(holder.id, order.product, order.user);
    let body = Queued {
        reservation_id: holder.id.0.hyphenated().encode_lower(&mut text),
        product_id: order.product.get(),
        quantity: holder.quantity.units(),
        position: holder.seq.0,
        available,
        status_url: &url,
        replayed: asked == Asked::Before,
    };
    let mut answer = json(StatusCode::ACCEPTED, body.to_json());
    if let Ok(location) = HeaderValue::try_from(url) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// A refusal that names the order the user has.
fn refuse_with_order(code: Code, order: &BuyRequest, holder: &Holder) -> Told {
    let id = holder.id.to_string();
    let url = status_url(holder.id, order.product, order.user);
    let problem =
        Problem { reservation_id: Some(&id), status_url: Some(&url), ..Problem::new(code) };
    Told::Refused(code, refuse_with(code, &problem))
}

fn not_started(context: &Context, order: &BuyRequest) -> Told {
    let code = Code::SaleNotStarted;
    let published = context.feed.board.load();
    let opens_at = published.slots.get(&order.product).and_then(|s| s.frame.window.opens_at_ms);
    let opens_at = opens_at.map(rfc3339::from_ms);
    let problem = Problem { opens_at: opens_at.as_deref(), ..Problem::new(code) };
    Told::Refused(code, refuse_with(code, &problem))
}
