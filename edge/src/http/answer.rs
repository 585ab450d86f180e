//! Answers: JSON, problems, and the headers they share.
//!
//! Invariant: an error's status comes from its code alone, and its body is `problem+json`.

use bytes::Bytes;
use domain::contract::problem::{self, Code, Problem};
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

/// Every answer of the edge.
pub type Answer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static(problem::MEDIA_TYPE);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Whatever makes a 503 is looked at several times a second, so a second is soon enough.
pub const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

/// A JSON answer nobody may cache.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// An error with nothing but its code.
pub fn refuse(code: Code) -> Answer {
    refuse_with(code, &Problem::new(code))
}

/// An error with a sentence about this very request.
pub fn refuse_because(code: Code, detail: &str) -> Answer {
    refuse_with(code, &Problem { detail: Some(detail), ..Problem::new(code) })
}

/// An error with more to say.
pub fn refuse_with(code: Code, problem: &Problem<'_>) -> Answer {
    refuse_raw(code, Bytes::from(problem.to_json()))
}

/// An error whose body was written before.
pub fn refuse_raw(code: Code, body: Bytes) -> Answer {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, body);
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
    }
    response
}

/// 405, naming what the resource takes.
pub fn refuse_method(allow: &'static str) -> Answer {
    let mut response = refuse(Code::MethodNotAllowed);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 401, naming the scheme (RFC 6750).
pub fn refuse_token(why: &str) -> Answer {
    let mut response = refuse_because(Code::InvalidToken, why);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_answer_says_when_to_try_again() {
        let answer = refuse(Code::Unavailable);
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(refuse(Code::SoldOut).headers().get(RETRY_AFTER).is_none());
        assert_eq!(refuse_token("no").headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(refuse_method("POST").headers()[ALLOW], "POST");
        assert_eq!(refuse_token("no").headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
