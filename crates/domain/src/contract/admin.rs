//! What an operator may ask, over `/api/admin` and on the command line: requests, read strictly.
//!
//! Owns the range of every field. Invariant: what is read here fits the schema; PostgreSQL's own
//! checks stand behind it.

use super::rfc3339;
use super::strict::{self, BodyError, Value};
use crate::ids::{ProductId, Quantity, ReservationId};
use crate::order::OrderStatus;

/// Units a product may have at most, as the schema has it.
pub const UNITS_MAX: i64 = 999_999_999_999;
/// Characters of a name or a reason.
const TEXT_CHARS_MAX: usize = 200;
/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 255;
/// Orders on one page at most.
pub const ORDERS_MAX: i64 = 1000;
/// Orders on one page unless asked otherwise.
pub const ORDERS_DEFAULT: i64 = 100;

/// Create a product with its sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateProduct {
    /// Its number; the next free one when absent.
    pub product: Option<ProductId>,
    /// What people call it.
    pub name: String,
    /// Price in minor units.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units.
    pub stock: i64,
    /// Most units of one buyer.
    pub limit: i64,
    /// How long an unpaid order is held; 0 confirms at once.
    pub hold_seconds: i32,
    /// First instant that sells, ms since the Unix epoch.
    pub opens_at_ms: Option<i64>,
    /// First instant that no longer sells.
    pub closes_at_ms: Option<i64>,
}

/// Change what is named of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSale {
    /// What people call it.
    pub name: Option<String>,
    /// Price in minor units.
    pub price_minor: Option<i64>,
    /// Most units of one buyer; what buyers have already is theirs.
    pub limit: Option<i64>,
    /// How long an order that is settled from now on is held.
    pub hold_seconds: Option<i32>,
    /// First instant that sells; `Some(None)` is unbounded.
    pub opens_at_ms: Option<Option<i64>>,
    /// First instant that no longer sells; `Some(None)` is unbounded.
    pub closes_at_ms: Option<Option<i64>>,
}

/// Add units, or take free ones out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustStock {
    /// Units; negative to take some out.
    pub delta: i64,
    /// Why, for the ledger.
    pub reason: String,
    /// Under which key it happens once.
    pub key: String,
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOrders {
    /// Of which product.
    pub product: ProductId,
    /// Of one status; every one when absent.
    pub status: Option<OrderStatus>,
    /// After this place in line.
    pub after: Option<Place>,
    /// Orders at most.
    pub limit: i64,
}

/// Where an order stands among those of its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Life of the sale it arrived in.
    pub epoch: i64,
    /// Arrival in it.
    pub seq: i64,
    /// The order.
    pub id: ReservationId,
}

impl Place {
    /// As a cursor, opaque to clients.
    pub fn encode(&self) -> String {
        format!("{}.{}.{}", self.epoch, self.seq, self.id)
    }

    /// Reads a cursor; `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let epoch = parts.next()?.parse().ok()?;
        let seq = parts.next()?.parse().ok()?;
        Some(Self { epoch, seq, id: ReservationId::parse(parts.next()?)? })
    }
}

impl CreateProduct {
    /// Reads a body.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let names = [
            "product_id",
            "name",
            "price_minor",
            "currency",
            "stock",
            "limit",
            "hold_seconds",
            "opens_at",
            "closes_at",
        ];
        let [product, name, price, currency, stock, limit, hold, opens_at, closes_at] =
            strict::read(body, &names)?;
        Ok(Self {
            product: number_or("product_id", product.as_ref(), None, |n| product_id(n).map(Some))?,
            name: words("name", name, name_text)?,
            price_minor: number("price_minor", price.as_ref(), price_minor)?,
            currency: words("currency", currency, currency_code)?,
            stock: number("stock", stock.as_ref(), units)?,
            limit: number_or("limit", limit.as_ref(), 1, buyer_limit)?,
            hold_seconds: number_or("hold_seconds", hold.as_ref(), 0, hold_seconds)?,
            opens_at_ms: time("opens_at", opens_at)?.flatten(),
            closes_at_ms: time("closes_at", closes_at)?.flatten(),
        })
    }
}

impl ChangeSale {
    /// Reads a body.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let names = ["name", "price_minor", "limit", "hold_seconds", "opens_at", "closes_at"];
        let [name, price, limit, hold, opens_at, closes_at] = strict::read(body, &names)?;
        let read = Self {
            name: match name {
                Some(name) => Some(words("name", Some(name), name_text)?),
                None => None,
            },
            price_minor: number_or("price_minor", price.as_ref(), None, |n| {
                price_minor(n).map(Some)
            })?,
            limit: number_or("limit", limit.as_ref(), None, |n| buyer_limit(n).map(Some))?,
            hold_seconds: number_or("hold_seconds", hold.as_ref(), None, |n| {
                hold_seconds(n).map(Some)
            })?,
            opens_at_ms: time("opens_at", opens_at)?,
            closes_at_ms: time("closes_at", closes_at)?,
        };
        if read == Self::default() {
            return Err(BodyError::field("name", "or another field must be there"));
        }
        Ok(read)
    }
}

impl AdjustStock {
    /// Reads a body, and the header `Idempotency-Key`.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn parse(body: &[u8], key: Option<&[u8]>) -> Result<Self, BodyError> {
        let [delta, reason] = strict::read(body, &["delta", "reason"])?;
        let field = "Idempotency-Key";
        let key = key.ok_or_else(|| BodyError::field(field, "is missing"))?;
        let key = String::from_utf8_lossy(key);
        Ok(Self {
            delta: number("delta", delta.as_ref(), unit_change)?,
            reason: words("reason", reason, name_text)?,
            key: idempotency_key(&key).map_err(|problem| BodyError::field(field, problem))?,
        })
    }
}

impl ListOrders {
    /// Reads a query string.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn parse(query: &str) -> Result<Self, BodyError> {
        let (mut product, mut status, mut after, mut limit) = (None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "product_id" => &mut product,
                "status" => &mut status,
                "cursor" => &mut after,
                "limit" => &mut limit,
                other => {
                    let name: String = other.chars().take(64).collect();
                    return Err(BodyError::field(name, "is not a parameter of this request"));
                }
            };
            if slot.replace(value).is_some() {
                return Err(BodyError::field(name, "is there twice"));
            }
        }
        let whole = |field: &str, text: &str| {
            text.parse().map_err(|_| BodyError::field(field, "must be a whole number"))
        };
        let named = product.ok_or_else(|| BodyError::field("product_id", "is missing"))?;
        let fail = |field: &'static str| move |problem: String| BodyError::field(field, problem);
        let product = product_id(whole("product_id", named)?).map_err(fail("product_id"))?;
        let limit = limit.map_or(Ok(ORDERS_DEFAULT), |text| whole("limit", text))?;
        Ok(Self {
            product,
            status: status.map(order_status).transpose().map_err(fail("status"))?,
            after: match after {
                Some(text) => Some(
                    Place::parse(text)
                        .ok_or_else(|| BodyError::field("cursor", "is not one of ours"))?,
                ),
                None => None,
            },
            limit: within(limit, 1, ORDERS_MAX).map_err(fail("limit"))?,
        })
    }
}

fn number<T>(
    field: &str,
    value: Option<&Value>,
    read: impl Fn(i64) -> Result<T, String>,
) -> Result<T, BodyError> {
    let number = strict::integer(field, value)?;
    read(number).map_err(|problem| BodyError::field(field, problem))
}

fn number_or<T>(
    field: &str,
    value: Option<&Value>,
    absent: T,
    read: impl Fn(i64) -> Result<T, String>,
) -> Result<T, BodyError> {
    if value.is_none() { Ok(absent) } else { number(field, value, read) }
}

fn words(
    field: &str,
    value: Option<Value>,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<String, BodyError> {
    let text = strict::text(field, value)?;
    read(&text).map_err(|problem| BodyError::field(field, problem))
}

/// Absent, cleared by `null`, or an instant.
fn time(field: &str, value: Option<Value>) -> Result<Option<Option<i64>>, BodyError> {
    match value {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::Text(text)) => match instant(&text) {
            Ok(ms) => Ok(Some(Some(ms))),
            Err(problem) => Err(BodyError::field(field, problem)),
        },
        Some(_) => Err(BodyError::field(field, "must be a string or null")),
    }
}

fn within(number: i64, min: i64, max: i64) -> Result<i64, String> {
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be a whole number from {min} to {max}"))
    }
}

fn product_id(number: i64) -> Result<ProductId, String> {
    ProductId::new(number).map_err(|error| error.to_string())
}

/// Units of a product.
///
/// # Errors
/// Says the range; so do those below.
pub fn units(number: i64) -> Result<i64, String> {
    within(number, 0, UNITS_MAX)
}

/// Units to add, or, negative, to take out.
///
/// # Errors
/// See [`units`].
pub fn unit_change(number: i64) -> Result<i64, String> {
    if number == 0 {
        Err("must not be 0".to_owned())
    } else {
        within(number, -UNITS_MAX, UNITS_MAX)
    }
}

/// A price in minor units.
///
/// # Errors
/// See [`units`].
pub fn price_minor(number: i64) -> Result<i64, String> {
    within(number, 0, i64::MAX)
}

/// Units one buyer may have.
///
/// # Errors
/// See [`units`].
pub fn buyer_limit(number: i64) -> Result<i64, String> {
    within(number, 1, Quantity::MAX)
}

/// Seconds an unpaid order is held.
///
/// # Errors
/// See [`units`].
pub fn hold_seconds(number: i64) -> Result<i32, String> {
    let seconds = within(number, 0, i64::from(i32::MAX))?;
    i32::try_from(seconds).map_err(|error| error.to_string())
}

/// A name, or a reason.
///
/// # Errors
/// When it is empty, too long, or has characters that are not to be seen.
pub fn name_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=TEXT_CHARS_MAX).contains(&text.chars().count());
    if fits && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {TEXT_CHARS_MAX} characters, none of them a control character"))
    }
}

/// A currency of ISO 4217.
///
/// # Errors
/// When it is not three capital letters.
pub fn currency_code(text: &str) -> Result<String, String> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err("must be three capital letters (ISO 4217)".to_owned())
    }
}

/// An instant, in ms since the Unix epoch.
///
/// # Errors
/// When it is not RFC 3339.
pub fn instant(text: &str) -> Result<i64, String> {
    rfc3339::parse(text)
        .ok_or_else(|| "must be a time with its offset, as in 2026-12-01T12:00:00+07:00".to_owned())
}

/// The status of an order PostgreSQL knows.
///
/// # Errors
/// When it is none.
pub fn order_status(text: &str) -> Result<OrderStatus, String> {
    OrderStatus::parse(text)
        .filter(|status| *status != OrderStatus::Queued)
        .ok_or_else(|| "must be the status of a settled order".to_owned())
}

/// A key under which something happens once.
///
/// # Errors
/// When it is not 1 to 255 visible ASCII characters.
pub fn idempotency_key(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=KEY_CHARS_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {KEY_CHARS_MAX} visible ASCII characters"))
    }
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
