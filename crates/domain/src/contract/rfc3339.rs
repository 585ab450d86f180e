//! RFC 3339 texts from and to milliseconds since the Unix epoch; written in UTC.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
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

/// Reads a date with time and offset; `None` for anything else, and for what lies before 1970.
pub fn parse(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().filter(|ms| *ms > 0)
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

    #[test]
    fn a_time_is_read_back_whatever_its_offset() {
        assert_eq!(parse("2026-01-31T12:00:00.042Z"), Some(1_769_860_800_042));
        assert_eq!(parse("2026-01-31T19:00:00.042+07:00"), Some(1_769_860_800_042));
        for bad in ["", "2026-01-31", "2026-01-31T12:00:00", "1950-01-31T12:00:00Z", "noon"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
