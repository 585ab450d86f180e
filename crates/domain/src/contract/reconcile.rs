//! What `settler reconcile --json` prints: every product with its figures, and what is wrong.

use serde::Serialize;

/// One look at everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReconcileView {
    /// When, RFC 3339.
    pub checked_at: String,
    /// Whether every invariant that could be checked holds.
    pub holds: bool,
    /// Messages no settler has taken; `null` when the broker is away.
    pub queue: Option<u32>,
    /// Dead letters; `null` when the broker is away.
    pub dead_letters: Option<u32>,
    /// Every product, by id.
    pub products: Vec<ProductBooks>,
}

/// The books of one product. Units throughout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProductBooks {
    /// Product.
    pub product_id: i64,
    /// Units in all.
    pub total: i64,
    /// Units PostgreSQL still has.
    pub stock: i64,
    /// Units that belong to orders.
    pub holding: i64,
    /// Units Redis can still reserve; `null` when Redis cannot be compared now.
    pub available: Option<i64>,
    /// Units reserved and not settled yet; `null` when Redis cannot be compared now.
    pub open: Option<i64>,
    /// Micro-batches waiting for the broker's confirm; `null` when Redis is away.
    pub outbox: Option<i64>,
    /// Nothing waits anywhere and nothing changed since the look before.
    pub quiet: bool,
    /// What does not hold; empty when all is well.
    pub findings: Vec<Finding>,
}

/// One broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `I1`, `I2`, `I4`, `I5`, as ARCHITECTURE.md lists them.
    pub invariant: &'static str,
    /// By how many units, or buyers for I5.
    pub amount: i64,
    /// In a sentence.
    pub detail: &'static str,
}

impl ReconcileView {
    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }
}
