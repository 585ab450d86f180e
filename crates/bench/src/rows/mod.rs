//! The measurements, one file each; each returns its rows.

pub(crate) mod accepted;
pub(crate) mod edge_alone;
pub(crate) mod feed;
pub(crate) mod growth;
pub(crate) mod latency;
pub(crate) mod one_by_one;
pub(crate) mod overload;
pub(crate) mod script;
pub(crate) mod settler_alone;
pub(crate) mod slow;
pub(crate) mod sold_out;
