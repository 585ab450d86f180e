//! `GET /api/products`, `/api/products/{id}` and `/api/orders/{reservation_id}`.

use domain::contract::order_view::{OrderView, parse_locator};
use domain::contract::problem::Code;
use domain::contract::product_view::ProductList;
use domain::contract::rfc3339;
use domain::{OrderStatus, ProductId, ReservationId};
use hyper::StatusCode;

use super::Context;
use super::answer::{Answer, json, refuse, refuse_because};
use crate::feed::with_views;
use crate::read::StoredOrder;

/// Every product, from memory.
pub(super) fn products(context: &Context) -> Answer {
    let Some(listing) = context.feed.catalogue.load() else { return refuse(Code::Unavailable) };
    let published = context.feed.board.load();
    let body = with_views(listing.sales(), &published, context.feed.now_ms(), |products| {
        ProductList { products }.to_json()
    });
    json(StatusCode::OK, body)
}

/// One product, from memory.
pub(super) fn product(context: &Context, id: &str) -> Answer {
    let Some(listing) = context.feed.catalogue.load() else { return refuse(Code::Unavailable) };
    let id = id.parse().ok().and_then(|id| ProductId::new(id).ok());
    let Some((_, sale)) = id.and_then(|id| listing.products.get(&id)) else {
        return refuse(Code::UnknownProduct);
    };
    let published = context.feed.board.load();
    let now_ms = context.feed.now_ms();
    let body = with_views(std::iter::once(sale), &published, now_ms, |views| {
        views.first().map(|view| view.to_json())
    });
    json(StatusCode::OK, body.unwrap_or_default())
}

/// The text behind `at=`.
pub(super) fn locator(query: Option<&str>) -> Option<&str> {
    query.into_iter().flat_map(|q| q.split('&')).find_map(|pair| pair.strip_prefix("at="))
}

/// What became of an order.
pub(super) async fn order(context: &Context, id: &str, query: Option<&str>) -> Answer {
    let Some(id) = ReservationId::parse(id) else { return refuse(Code::UnknownOrder) };
    let at = locator(query);
    match context.feed.orders.find(id, at.and_then(parse_locator)).await {
        Ok(Some(order)) => json(StatusCode::OK, view(id, &order)),
        Ok(None) if at.is_none() => refuse_because(
            Code::UnknownOrder,
            "not settled yet or unknown: ask with the whole status_url to tell them apart",
        ),
        Ok(None) => refuse(Code::UnknownOrder),
        Err(error) => {
            tracing::debug!(%error, "an order could not be looked up");
            refuse(Code::Unavailable)
        }
    }
}

/// An order as the API shows it.
pub(super) fn view(id: ReservationId, order: &StoredOrder) -> Vec<u8> {
    let reserved_at = order.reserved_at_ms.map(rfc3339::from_ms);
    let settled_at = order.settled_at_ms.map(rfc3339::from_ms);
    let held = order.status == OrderStatus::Held;
    let expires_at = order.expires_at_ms.filter(|_| held).map(rfc3339::from_ms);
    let id = id.to_string();
    OrderView {
        reservation_id: &id,
        product_id: order.product_id,
        user_id: order.user_id,
        quantity: order.quantity,
        status: order.status.as_str(),
        reason: order.reason.as_deref(),
        position: order.position,
        reserved_at: reserved_at.as_deref(),
        settled_at: settled_at.as_deref(),
        expires_at: expires_at.as_deref(),
    }
    .to_json()
}
