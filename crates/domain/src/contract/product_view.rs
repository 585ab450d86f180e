//! `GET /api/products` and `/api/products/{id}`, and the products of a WebSocket snapshot.

use serde::Serialize;

/// One product with its sale.
#[derive(Debug, Clone, Serialize)]
pub struct ProductView<'a> {
    /// The product.
    pub product_id: i64,
    /// What people call it.
    pub name: &'a str,
    /// Price in minor units of `currency`.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: &'a str,
    /// Units the database holds.
    pub stock: i64,
    /// Units that can still be reserved.
    pub available: i64,
    /// Units the sale began with, adjustments included.
    pub total: i64,
    /// Most units one buyer may have.
    pub limit: i64,
    /// How long an unpaid order is held; 0 confirms at once.
    pub hold_seconds: i32,
    /// `scheduled`, `open`, `paused`, `sold_out`, `closed`.
    pub state: &'a str,
    /// RFC 3339; null is unbounded.
    pub opens_at: Option<&'a str>,
    /// RFC 3339; null is unbounded.
    pub closes_at: Option<&'a str>,
    /// Life of the sale's Redis state; 0 before it was first loaded.
    pub epoch: i64,
    /// Revision within the epoch.
    pub rev: i64,
    /// When this was written, RFC 3339.
    pub server_time: &'a str,
}

/// The list answer.
#[derive(Debug, Serialize)]
pub struct ProductList<'a> {
    /// Every product, by id.
    pub products: Vec<ProductView<'a>>,
}

impl ProductView<'_> {
    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}

impl ProductList<'_> {
    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}
