//! RFC 3339 UTC texts from milliseconds since the Unix epoch.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// `2026-01-31T12:00:00.000Z`; an instant outside years 0 to 9999 is clamped to the nearest one.
pub fn from_ms(ms: i64) -> String {
    const YEAR_0: i128 = -62_167_219_200_000;
    const YEAR_9999_END: i128 = 253_402_300_799_999;
    let nanos = i128::from(ms).clamp(YEAR_0, YEAR_9999_END) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|at| at.format(FORMAT).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_kept_and_extremes_are_clamped() {
        assert_eq!(from_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(from_ms(1_769_860_800_042), "2026-01-31T12:00:00.042Z");
        assert_eq!(from_ms(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(from_ms(i64::MIN), "0000-01-01T00:00:00.000Z");
    }
}
