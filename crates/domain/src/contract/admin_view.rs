//! What an operator is told: a sale as it is stored, an adjustment, a page of orders, a preflight.

use serde::Serialize;

use super::order_view::OrderView;

/// A sale as PostgreSQL has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaleView {
    /// The product.
    pub product_id: i64,
    /// What people call it.
    pub name: String,
    /// Price in minor units of `currency`.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units not owned by an order.
    pub stock: i64,
    /// Units in all.
    pub total: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// How long an unpaid order is held; 0 confirms at once.
    pub hold_seconds: i32,
    /// `open`, `paused` or `closed`, as stored: the window and the stock are not looked at.
    pub state: &'static str,
    /// RFC 3339; null is unbounded.
    pub opens_at: Option<String>,
    /// RFC 3339; null is unbounded.
    pub closes_at: Option<String>,
    /// Number of this value.
    pub sale_version: i64,
    /// Whether Redis has it, so that buyers are answered by it.
    pub applied: bool,
}

/// `settler sale list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaleList {
    /// Every sale, by product id.
    pub sales: Vec<SaleView>,
}

/// An adjustment that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdjustmentView {
    /// Its id.
    pub adjustment_id: String,
    /// The product.
    pub product_id: i64,
    /// Units added, or, negative, taken out.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// Units not owned by an order, right after.
    pub stock: i64,
    /// Units in all, right after.
    pub total: i64,
    /// Whether this repeats an earlier answer.
    pub replayed: bool,
}

/// A page of orders.
#[derive(Debug, Serialize)]
pub struct OrderList<'a> {
    /// In order of arrival.
    pub orders: Vec<OrderView<'a>>,
    /// Where the next page begins; null after the last.
    pub next_cursor: Option<String>,
}

/// `settler sale check --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckView {
    /// The product.
    pub product_id: i64,
    /// Whether everything is as it should be.
    pub fit: bool,
    /// Each look, in order.
    pub checks: Vec<Check>,
}

/// One look of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

macro_rules! to_json {
    ($($name:ty),*) => {$(
        impl $name {
            /// As JSON.
            pub fn to_json(&self) -> String {
                serde_json::to_string(self).expect("strings and numbers always serialise")
            }
        }
    )*};
}

to_json!(SaleView, SaleList, AdjustmentView, OrderList<'_>, CheckView);
