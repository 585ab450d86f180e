//! The ground floor of the flash-sale engine: ids, sale, reservation, order, and the wire contract.
//!
//! Owns the vocabulary (one word an idea) and every shape that crosses a process boundary.
//! Leaves all I/O, clocks and randomness to its callers: time comes in as an argument.
//!
//! Invariant: only [`contract`] derives `Serialize`; nothing here performs I/O.

pub mod contract;
mod ids;
pub mod model;
mod order;
mod reservation;
mod sale;

pub use ids::{
    AdjustmentId, Epoch, IdError, IdempotencyKey, ProductId, Quantity, ReservationId, Rev, Seq,
    UserId,
};
pub use order::{OrderStatus, RejectReason};

pub use reservation::{BatchCode, Holder, RequestCode, Reserved};
pub use sale::{SaleState, SaleWindow, StoredState};
