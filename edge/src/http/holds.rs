//! `POST /api/orders/{reservation_id}/pay` and `/cancel`.
//!
//! Owns the words a buyer is told; leaves the decision to `holds`. Invariant: both may be asked any
//! number of times; 200 means that the order is what was asked.

use books::holds::{Refusal, Resolution};
use bytes::Bytes;
use domain::contract::order_view::parse_locator;
use domain::contract::problem::Code;
use domain::contract::strict;
use domain::{ReservationId, UserId};
use hyper::body::Body;
use hyper::header::RETRY_AFTER;
use hyper::{Request, StatusCode};

use super::Context;
use super::answer::{Answer, RETRY_SOON, json, refuse, refuse_because};
use super::body::{read_body, refuse_body};
use super::checks::check_json;
use super::reads::{locator, view};
use super::token::{self, Bearer};
use crate::holds::{HoldError, Outcome};

/// Pays or cancels an order; an id that is none is nobody's.
pub(super) async fn resolve<B>(
    context: &Context,
    id: Option<ReservationId>,
    asked: Resolution,
    request: Request<B>,
) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(id) = id else { return refuse(Code::UnknownOrder) };
    let at = locator(request.uri().query()).map(str::to_owned);
    let bearer = match token::bearer(context, request.headers()) {
        Ok(bearer) => bearer,
        Err(refusal) => return refusal.refuse().1,
    };
    if let Err(answer) = check_empty(request).await {
        return answer;
    }
    let located = at.as_deref().and_then(parse_locator);
    if let Err(answer) = check_owner(context, id, at.as_deref(), bearer).await {
        return answer;
    }
    match context.holds.resolve(id, asked, located).await {
        Ok(Outcome::Done(order)) => json(StatusCode::OK, view(id, &order)),
        Ok(Outcome::Refused(refusal)) => refuse(code(refusal)),
        Ok(Outcome::Queued) => {
            let mut answer = refuse(Code::OrderQueued);
            answer.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
            answer
        }
        Ok(Outcome::Unknown) => refuse_unknown(at.as_deref()),
        Err(error) => {
            tracing::debug!(%error, "an order could not be resolved");
            refuse(match error {
                HoldError::Unavailable(_) => Code::Unavailable,
                HoldError::OutcomeUnknown(_) => Code::OutcomeUnknown,
            })
        }
    }
}

/// Whether a request may act for whoever the order belongs to; one nobody knows is no one's.
async fn check_owner(
    context: &Context,
    id: ReservationId,
    at: Option<&str>,
    bearer: Bearer,
) -> Result<(), Answer> {
    if bearer == Bearer::Anyone {
        return Ok(());
    }
    let order =
        context.feed.orders.find(id, at.and_then(parse_locator)).await.map_err(|error| {
            tracing::debug!(%error, "an order cannot be read");
            refuse(Code::Unavailable)
        })?;
    match order.and_then(|order| UserId::new(order.user_id).ok()) {
        Some(user) => bearer.check(user).map_err(|refusal| refusal.refuse().1),
        None => Err(refuse_unknown(at)),
    }
}

/// No store knows the order, as far as it was looked for.
fn refuse_unknown(at: Option<&str>) -> Answer {
    match at {
        Some(_) => refuse(Code::UnknownOrder),
        None => refuse_because(
            Code::UnknownOrder,
            "not settled yet or unknown: add the query of the status_url to tell them apart",
        ),
    }
}

const fn code(refusal: Refusal) -> Code {
    match refusal {
        Refusal::NoHold => Code::NoHold,
        Refusal::Paid => Code::OrderPaid,
        Refusal::Cancelled => Code::OrderCancelled,
        Refusal::Expired => Code::OrderExpired,
        Refusal::Rejected => Code::OrderRejected,
    }
}

/// There is nothing to say in a body; one that says something is refused, not ignored.
async fn check_empty<B>(request: Request<B>) -> Result<(), Answer>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_json = check_json(request.headers());
    let body = read_body(request.into_body()).await.map_err(refuse)?;
    if !body.is_empty() {
        is_json.map_err(|(code, why)| refuse_because(code, why))?;
    }
    strict::check_empty(&body).map_err(|error| refuse_body(&error).1)
}
