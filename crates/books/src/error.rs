//! Why something an operator asked for was not done, by what the caller must do.
//!
//! Invariant: after [`BooksError::Refused`] and [`BooksError::Unavailable`] nothing was changed.

use deadpool_postgres::PoolError;
use domain::contract::problem::Code;
use domain::contract::strict::BodyError;
use service::postgres::DatabaseError;
use service::redis_reply::RedisStepError;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// It cannot be done as it was asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A server is away, or the sale is closed by its gate: nothing was changed, try again.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been done: the same again, under the same key, is safe and tells.
    #[error("the outcome is not known: {0}")]
    OutcomeUnknown(String),
}

/// What is wrong with what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such product.
    #[error("there is no such product")]
    UnknownProduct,
    /// The number is taken.
    #[error("a product of this number exists")]
    ProductExists,
    /// The sale was closed for good.
    #[error("the sale has ended")]
    SaleEnded,
    /// Orders are on their way.
    #[error("orders of this sale are still on their way")]
    SaleBusy,
    /// The key belongs to another request.
    #[error("this key was used for another request")]
    KeyReused,
    /// Fewer units are free than are to be taken out.
    #[error("only {available} units are free")]
    NotEnoughFree {
        /// Units that can be taken out.
        available: i64,
    },
    /// A field does not go with what is stored.
    #[error(transparent)]
    Field(BodyError),
}

impl BooksError {
    /// What a program is told.
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Unavailable(_) => Code::Unavailable,
            Self::OutcomeUnknown(_) => Code::OutcomeUnknown,
        }
    }
}

impl Refusal {
    /// What a program is told.
    pub const fn code(&self) -> Code {
        match self {
            Self::UnknownProduct => Code::UnknownProduct,
            Self::ProductExists => Code::ProductExists,
            Self::SaleEnded => Code::SaleEnded,
            Self::SaleBusy => Code::SaleBusy,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::NotEnoughFree { .. } => Code::NotEnoughFree,
            Self::Field(BodyError::InvalidJson(_)) => Code::InvalidJson,
            Self::Field(BodyError::InvalidField { .. }) => Code::InvalidField,
        }
    }

    /// Units that could be taken out, where that is the reason.
    pub const fn available(&self) -> Option<i64> {
        match self {
            Self::NotEnoughFree { available } => Some(*available),
            _ => None,
        }
    }
}

impl From<DatabaseError> for BooksError {
    fn from(error: DatabaseError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<tokio_postgres::Error> for BooksError {
    fn from(error: tokio_postgres::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl From<PoolError> for BooksError {
    fn from(error: PoolError) -> Self {
        DatabaseError::from(error).into()
    }
}

impl From<RedisStepError> for BooksError {
    fn from(error: RedisStepError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The answer to a COMMIT did not come.
pub(crate) fn unknown(error: &tokio_postgres::Error) -> BooksError {
    BooksError::OutcomeUnknown(service::postgres::explain(error))
}
