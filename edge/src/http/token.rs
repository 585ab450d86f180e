//! Buyer tokens: a shop's proof that a request comes from the user it names.
//!
//! `<user_id>.<expires>.<signature>`: the expiry is in Unix seconds, the signature is HMAC-SHA256
//! (RFC 2104) of `<user_id>.<expires>` in hex. Pure but for `bearer`, which asks the clock.
//! Invariant: signatures are compared in constant time, before anything the token says is believed.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::UserId;
use domain::contract::problem::Code;
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::Sha256;

use super::Context;
use super::answer::{Answer, refuse, refuse_token};

/// Shorter keys could be guessed.
pub const KEY_BYTES_MIN: usize = 16;
/// Bytes of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;

/// What the shop signs tokens with.
#[derive(Debug, Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// A key of these bytes; `None` when there are fewer than [`KEY_BYTES_MIN`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < KEY_BYTES_MIN {
            return None;
        }
        Hmac::new_from_slice(bytes).ok().map(Self)
    }

    fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        self.0.clone().chain_update(text.as_bytes()).verify_slice(signature).is_ok()
    }
}

/// Why a token is worth nothing. One sentence, without what only the shop should know.
pub type TokenError = &'static str;

/// Whose token an `Authorization` header carries, at this Unix time.
///
/// # Errors
/// See [`TokenError`].
pub fn read_user(header: Option<&str>, key: &TokenKey, now_s: i64) -> Result<UserId, TokenError> {
    const MALFORMED: TokenError = "the token is not <user_id>.<expires>.<signature>";
    let header = header.ok_or("send Authorization: Bearer with a buyer token, once")?;
    let (scheme, token) = header.split_once(' ').ok_or(MALFORMED)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(MALFORMED);
    }
    let (signed, signature) = token.trim_start().rsplit_once('.').ok_or(MALFORMED)?;
    let signature = read_hex(signature).ok_or(MALFORMED)?;
    if !key.has_signed(signed, &signature) {
        return Err("the token's signature is wrong");
    }
    let (user, expires) = signed.split_once('.').ok_or(MALFORMED)?;
    let user = read_digits(user).and_then(|id| UserId::new(id).ok()).ok_or(MALFORMED)?;
    let expires = read_digits(expires).ok_or(MALFORMED)?;
    if now_s >= expires { Err("the token has expired") } else { Ok(user) }
}

fn read_digits(text: &str) -> Option<i64> {
    // parse() would take a sign, too.
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

fn read_hex(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let (mut bytes, digits) = ([0; SIGNATURE_BYTES], text.as_bytes());
    if digits.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// Why a request may not act for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It has no valid token.
    Invalid(TokenError),
    /// Its token is another user's.
    Foreign,
}

impl TokenRefusal {
    /// The answer that says so.
    pub fn refuse(self) -> (Code, Answer) {
        match self {
            Self::Invalid(why) => (Code::InvalidToken, refuse_token(why)),
            Self::Foreign => (Code::ForeignUser, refuse(Code::ForeignUser)),
        }
    }
}

/// For whom a request may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "whoever is not asked may act for everyone"]
pub enum Bearer {
    /// Nobody configured a key: the shop vouches for its buyers by other means.
    Anyone,
    /// The user of a valid token.
    User(UserId),
}

impl Bearer {
    /// Whether this request may act for `user`.
    ///
    /// # Errors
    /// When its token is another user's.
    pub fn check(self, user: UserId) -> Result<(), TokenRefusal> {
        match self {
            Self::User(bearer) if bearer != user => Err(TokenRefusal::Foreign),
            Self::Anyone | Self::User(_) => Ok(()),
        }
    }
}

/// Reads a request's token, when this edge asks for one. Its expiry is judged by this host's clock.
///
/// # Errors
/// When it has no valid one.
pub(super) fn bearer(context: &Context, headers: &HeaderMap) -> Result<Bearer, TokenRefusal> {
    let Some(key) = &context.buyer_token_key else { return Ok(Bearer::Anyone) };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next().filter(|_| values.next().is_none());
    let header = header.and_then(|value| value.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let user = read_user(header, key, i64::try_from(now).unwrap_or(i64::MAX));
    user.map(Bearer::User).map_err(TokenRefusal::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// printf 1.2000000000 | openssl dgst -sha256 -hmac "a shop's key of 24 bytes"
    const SIGNED: &str = "Bearer 1.2000000000.\
                          ca54f1e6ae71130fb02c92399ca4afa4c5b586a818230ac83b58baa51da058b5";

    fn key() -> TokenKey {
        TokenKey::new(b"a shop's key of 24 bytes").unwrap()
    }

    fn read(header: &str) -> Result<UserId, TokenError> {
        read_user(Some(header), &key(), 1_999_999_999)
    }

    #[test]
    fn a_token_names_its_user_until_it_expires() {
        let user = UserId::new(1).unwrap();
        assert_eq!(read(SIGNED), Ok(user));
        assert_eq!(read(&SIGNED.replace("Bearer", "bearer")), Ok(user));
        assert_eq!(read_user(Some(SIGNED), &key(), 2_000_000_000), Err("the token has expired"));
        assert!(read_user(None, &key(), 0).is_err());
        let other = TokenKey::new(b"another shop's key of 30 bytes").unwrap();
        assert_eq!(read_user(Some(SIGNED), &other, 0), Err("the token's signature is wrong"));
    }

    #[test]
    fn every_character_counts() {
        for at in "Bearer ".len()..SIGNED.len() {
            let mut bytes = SIGNED.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(read(&changed).is_err(), "{changed}");
        }
        let cut = &SIGNED[..SIGNED.len() - 1];
        let bad = [cut, "", "Bearer", "Bearer ", "Bearer 1.2", "Bearer ..", "Basic MTox"];
        assert!(bad.into_iter().all(|header| read(header).is_err()));
        assert!(read(&SIGNED.replace("Bearer 1.", "Bearer 2.")).is_err());
    }

    #[test]
    fn a_signature_alone_makes_no_user() {
        for text in ["0.2000000000", "+1.2000000000", "1.+2000000000", "1", "1.2.3", ".1", "1."] {
            let signature = key().0.chain_update(text.as_bytes()).finalize().into_bytes();
            let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(read(&format!("Bearer {text}.{hex}")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_short_key_is_none_and_nobody_acts_for_another() {
        assert!(TokenKey::new(&[7; KEY_BYTES_MIN - 1]).is_none());
        let (one, two) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        assert!(Bearer::Anyone.check(two).is_ok() && Bearer::User(one).check(one).is_ok());
        assert_eq!(Bearer::User(one).check(two).unwrap_err().refuse().1.status(), 403);
    }
}
