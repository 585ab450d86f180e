//! Reading: what is on sale, and what became of an order. Changes nothing.

mod catalogue;
mod orders;

pub use catalogue::Catalogue;
pub use orders::{OrderReader, ReadError, StoredOrder};
