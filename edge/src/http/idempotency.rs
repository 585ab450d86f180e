//! The header `Idempotency-Key`: from what a buyer sends to what is kept beside a reservation.
//!
//! Pure. Invariant: every edge derives the same [`IdempotencyKey`] from the same text.

use domain::IdempotencyKey;
use domain::contract::problem::{Code, Problem};
use hyper::header::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::answer::{Answer, refuse_because, refuse_with};

/// The header's name, as problems spell it.
pub const NAME: &str = "Idempotency-Key";
/// The longest text a buyer may send.
const BYTES_MAX: usize = 255;

/// Why a request's key is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The header stands there twice.
    Twice,
    /// Empty, too long, or with characters that are not visible ASCII.
    Malformed,
}

impl KeyError {
    /// The answer that says so.
    pub fn refuse(self) -> (Code, Answer) {
        match self {
            Self::Twice => {
                let code = Code::BadRequest;
                (code, refuse_because(code, "there are two Idempotency-Key headers"))
            }
            Self::Malformed => {
                let code = Code::InvalidField;
                let detail = Some("Idempotency-Key must be 1 to 255 visible ASCII characters");
                let problem = Problem { detail, field: Some(NAME), ..Problem::new(code) };
                (code, refuse_with(code, &problem))
            }
        }
    }
}

/// The text of a request's key, if it has one.
///
/// # Errors
/// See [`KeyError`].
pub fn read_text(headers: &HeaderMap) -> Result<Option<&HeaderValue>, KeyError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(text) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(KeyError::Twice);
    }
    let is_visible = text.as_bytes().iter().all(u8::is_ascii_graphic);
    if text.is_empty() || text.len() > BYTES_MAX || !is_visible {
        return Err(KeyError::Malformed);
    }
    Ok(Some(text))
}

/// The key of a request, if it has one.
///
/// # Errors
/// See [`KeyError`].
pub fn read_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, KeyError> {
    Ok(read_text(headers)?.map(|text| hash(text.as_bytes())))
}

fn hash(text: &[u8]) -> IdempotencyKey {
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(text).into();
    IdempotencyKey::from_hash([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, KeyError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
        }
        read_key(&headers).map(|key| key.map(|key| key.to_string()))
    }

    #[test]
    fn a_key_is_the_beginning_of_its_hash() {
        // SHA-256("abc"), FIPS 180-4.
        assert_eq!(read(&[b"abc"]), Ok(Some("ba7816bf8f01cfea".to_owned())));
        assert_eq!(read(&[]), Ok(None));
        assert_ne!(read(&[b"abd"]), read(&[b"abc"]));
        assert!(read(&[&[b'x'; 255]]).is_ok_and(|key| key.is_some()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let bad: [&[u8]; 5] = [b"", b"a b", b"a\tb", "ü".as_bytes(), &[b'x'; 256]];
        for text in bad {
            assert_eq!(read(&[text]), Err(KeyError::Malformed), "{text:?}");
        }
        assert_eq!(read(&[b"abc", b"abc"]), Err(KeyError::Twice));
        assert_eq!(KeyError::Malformed.refuse().1.status(), 422);
        assert_eq!(KeyError::Twice.refuse().1.status(), 400);
    }
}
