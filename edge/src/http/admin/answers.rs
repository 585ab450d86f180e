//! What an operator is told.

use books::error::{BooksError, Refusal};
use books::orders::{OrderPage, RecordedOrder};
use domain::contract::admin_view::{AdjustmentView, OrderList, SaleView};
use domain::contract::order_view::OrderView;
use domain::contract::problem::{Code, Problem};
use domain::contract::rfc3339;
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};

use crate::http::answer::{Answer, json, refuse, refuse_because, refuse_with};
use crate::http::body::refuse_body;

pub(super) fn created(sale: &SaleView) -> Answer {
    let mut answer = json(StatusCode::CREATED, sale.to_json());
    let url = format!("/api/products/{}", sale.product_id);
    if let Ok(location) = HeaderValue::from_str(&url) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

pub(super) fn sale(sale: &SaleView) -> Answer {
    json(StatusCode::OK, sale.to_json())
}

pub(super) fn adjusted(adjusted: &AdjustmentView) -> Answer {
    let status = if adjusted.replayed { StatusCode::OK } else { StatusCode::CREATED };
    json(status, adjusted.to_json())
}

pub(super) fn report(report: Option<String>) -> Answer {
    match report {
        Some(report) => json(StatusCode::OK, report),
        None => refuse_because(Code::Unavailable, "no settler has looked at the books lately"),
    }
}

pub(super) fn orders(page: &OrderPage) -> Answer {
    let texts: Vec<Texts> = page.orders.iter().map(Texts::of).collect();
    let views = page.orders.iter().zip(&texts).map(|(order, texts)| view(order, texts));
    let next_cursor = page.next.map(|place| place.encode());
    json(StatusCode::OK, OrderList { orders: views.collect(), next_cursor }.to_json())
}

/// What of an order is written as text.
struct Texts {
    id: String,
    reserved_at: String,
    settled_at: String,
    expires_at: Option<String>,
}

impl Texts {
    fn of(order: &RecordedOrder) -> Self {
        Self {
            id: order.place.id.to_string(),
            reserved_at: rfc3339::from_ms(order.reserved_at_ms),
            settled_at: rfc3339::from_ms(order.settled_at_ms),
            expires_at: order.expires_at_ms.map(rfc3339::from_ms),
        }
    }
}

fn view<'a>(order: &'a RecordedOrder, texts: &'a Texts) -> OrderView<'a> {
    OrderView {
        reservation_id: &texts.id,
        product_id: order.product_id,
        user_id: order.user_id,
        quantity: order.quantity,
        status: order.status.as_str(),
        reason: order.reason.as_deref(),
        position: order.place.seq,
        reserved_at: Some(&texts.reserved_at),
        settled_at: Some(&texts.settled_at),
        expires_at: texts.expires_at.as_deref(),
    }
}

pub(super) fn refused(error: &BooksError) -> Answer {
    match error {
        BooksError::Refused(Refusal::Field(error)) => refuse_body(error).1,
        BooksError::Refused(refusal) => refuse_as(refusal),
        BooksError::Unavailable(why) => {
            tracing::warn!(error = why, "what an operator asked for was not done");
            refuse_because(Code::Unavailable, "nothing was changed; try again")
        }
        BooksError::OutcomeUnknown(why) => {
            tracing::warn!(error = why, "whether what an operator asked for was done is unknown");
            refuse(Code::OutcomeUnknown)
        }
    }
}

fn refuse_as(refusal: &Refusal) -> Answer {
    let (code, detail) = (refusal.code(), refusal.to_string());
    let available = refusal.available();
    refuse_with(code, &Problem { detail: Some(&detail), available, ..Problem::new(code) })
}
