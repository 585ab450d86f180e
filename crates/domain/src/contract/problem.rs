//! Errors as `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Owns the one table of code, HTTP status and title. Invariant: a body never carries an internal
//! message; those go to the log.

use serde::Serialize;

/// Media type of every error body.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong, as clients match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// HTTP status (RFC 9110).
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// One short sentence, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not one JSON object.
    InvalidJson = "INVALID_JSON", 400, "The body is not a JSON object";
    /// The request line or framing is malformed.
    BadRequest = "BAD_REQUEST", 400, "The request is malformed";
    /// Nothing is available.
    SoldOut = "SOLD_OUT", 400, "Sold out";
    /// Less than asked is available.
    NotEnough = "NOT_ENOUGH", 400, "Fewer units are available than asked for";
    /// The bearer token is missing, malformed, wrong or expired.
    InvalidToken = "INVALID_TOKEN", 401, "A valid token is needed";
    /// The buyer token is another user's.
    ForeignUser = "FOREIGN_USER", 403, "The token is another user's";
    /// The sale is not one that may be reset.
    ResetNotAllowed = "RESET_NOT_ALLOWED", 403, "This sale may not be reset";
    /// The WebSocket request comes from a page of another origin.
    ForeignOrigin = "FOREIGN_ORIGIN", 403, "This origin may not connect";
    /// No such product.
    UnknownProduct = "UNKNOWN_PRODUCT", 404, "No such product";
    /// No such order.
    UnknownOrder = "UNKNOWN_ORDER", 404, "No such order";
    /// No such path.
    NotFound = "NOT_FOUND", 404, "No such resource";
    /// The path does not take this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, "This resource does not take this method";
    /// The body did not arrive in time.
    RequestTimeout = "REQUEST_TIMEOUT", 408, "The body did not arrive in time";
    /// The user has an order already.
    AlreadyPurchased = "ALREADY_PURCHASED", 409, "This user already has an order";
    /// The sale opens later.
    SaleNotStarted = "SALE_NOT_STARTED", 409, "The sale has not started";
    /// The sale is paused.
    SalePaused = "SALE_PAUSED", 409, "The sale is paused";
    /// The sale is over.
    SaleEnded = "SALE_ENDED", 409, "The sale has ended";
    /// A product of this number exists.
    ProductExists = "PRODUCT_EXISTS", 409, "A product of this number exists";
    /// Fewer units are free than are to be taken out.
    NotEnoughFree = "NOT_ENOUGH_FREE", 409, "Fewer units are free than are to be taken out";
    /// Orders of the sale are still on their way.
    SaleBusy = "SALE_BUSY", 409, "Orders of this sale are still on their way";
    /// The order is not settled yet, so it cannot be paid.
    OrderQueued = "ORDER_QUEUED", 409, "The order is still being recorded";
    /// The sale has no holds: the order was confirmed at once.
    NoHold = "NO_HOLD", 409, "Orders of this sale are not held";
    /// The order is paid.
    OrderPaid = "ORDER_PAID", 409, "The order is paid";
    /// The order was cancelled.
    OrderCancelled = "ORDER_CANCELLED", 409, "The order was cancelled";
    /// Nobody paid the order in time.
    OrderExpired = "ORDER_EXPIRED", 409, "The order has expired";
    /// The order got no units.
    OrderRejected = "ORDER_REJECTED", 409, "The order was rejected";
    /// The body is too large.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413, "The body is too large";
    /// The URI is too long.
    UriTooLong = "URI_TOO_LONG", 414, "The URI is too long";
    /// The body is not `application/json` in UTF-8.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, "The body must be application/json";
    /// A field is missing, unknown, or has a value it cannot have.
    InvalidField = "INVALID_FIELD", 422, "A field is not valid";
    /// The idempotency key was sent before with another payload.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 422, "The key was used for another request";
    /// The resource speaks WebSocket only.
    UpgradeRequired = "UPGRADE_REQUIRED", 426, "This resource speaks WebSocket, version 13";
    /// Nothing was reserved; try again.
    Unavailable = "UNAVAILABLE", 503, "Temporarily unavailable; nothing was reserved";
    /// The reservation may stand; the same request again is safe and tells.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 503, "The outcome is not known yet; ask again";
}

/// The body of an error answer. Fields that do not apply are absent.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    /// Always `about:blank`: the code says what a page would.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// [`Code::title`]
    pub title: &'static str,
    /// [`Code::status`]
    pub status: u16,
    /// [`Code::as_str`]
    pub code: &'static str,
    /// What is wrong with this very request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// The field `INVALID_FIELD` is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    /// The order the user already has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<&'a str>,
    /// Where that order can be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_url: Option<&'a str>,
    /// When the sale opens, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<&'a str>,
    /// Units that could still be reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
}

impl Problem<'_> {
    /// A body with nothing but what the code itself says.
    pub const fn new(code: Code) -> Self {
        Self {
            kind: "about:blank",
            title: code.title(),
            status: code.status(),
            code: code.as_str(),
            detail: None,
            field: None,
            reservation_id: None,
            status_url: None,
            opens_at: None,
            available: None,
        }
    }

    /// The JSON bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and numbers always serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_status_and_unique() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..=503).contains(&code.status())));
    }

    #[test]
    fn absent_fields_are_left_out() {
        let json = String::from_utf8(Problem::new(Code::SoldOut).to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"type":"about:blank","title":"Sold out","status":400,"code":"SOLD_OUT"}"#
        );
    }
}
