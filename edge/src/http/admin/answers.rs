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
    let texts: Vec<[String; 3]> = page
        .orders
        .iter()
        .map(|order| {
            let at = |ms| rfc3339::from_ms(ms);
            [order.place.id.to_string(), at(order.reserved_at_ms), at(order.settled_at_ms)]
        })
        .collect();
    let views = page.orders.iter().zip(&texts).map(|(order, texts)| view(order, texts));
    let next_cursor = page.next.map(|place| place.encode());
    json(StatusCode::OK, OrderList { orders: views.collect(), next_cursor }.to_json())
}

fn view<'a>(
    order: &'a RecordedOrder,
    [id, reserved_at, settled_at]: &'a [String; 3],
) -> OrderView<'a> {
    OrderView {
        reservation_id: id,
        product_id: order.product_id,
        user_id: order.user_id,
        quantity: order.quantity,
        status: order.status.as_str(),
        reason: order.reason.as_deref(),
        position: order.place.seq,
        reserved_at: Some(reserved_at),
        settled_at: Some(settled_at),
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
