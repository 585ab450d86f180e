//! What a request must look like before anything is read of its body.
//!
//! hyper passes duplicate Content-Length, odd Transfer-Encoding and a missing Host on to the
//! service. Source: RFC 9112, sections 3.2 and 6. Pure functions of the headers.

use domain::contract::problem::Code;
use domain::contract::strict::BODY_BYTES_MAX;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, TRANSFER_ENCODING,
};
use hyper::{Request, Uri, Version};

/// The longest request target, in bytes.
const URI_BYTES_MAX: usize = 2048;

/// Why a request is refused: a code, and a sentence.
pub type Refusal = (Code, &'static str);

/// Checks framing, host and target of any request.
pub fn check_request<B>(request: &Request<B>) -> Result<(), Refusal> {
    check_target(request.uri())?;
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    if hosts.next().is_none() && request.version() != Version::HTTP_10 {
        return Err((Code::BadRequest, "the Host header is missing"));
    }
    if hosts.next().is_some() {
        return Err((Code::BadRequest, "there are two Host headers"));
    }
    check_framing(headers, request.version())
}

fn check_target(uri: &Uri) -> Result<(), Refusal> {
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > URI_BYTES_MAX { Err((Code::UriTooLong, "at most 2048 bytes")) } else { Ok(()) }
}

fn check_framing(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err((Code::BadRequest, "there are two Content-Length headers"));
    }
    if let Some(encoding) = encodings.next() {
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err((Code::BadRequest, "Transfer-Encoding must be chunked"));
        }
        if length.is_some() || version == Version::HTTP_10 {
            return Err((Code::BadRequest, "Transfer-Encoding does not go with this request"));
        }
    }
    let Some(length) = length else { return Ok(()) };
    let digits = length.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err((Code::BadRequest, "Content-Length is not a number"));
    }
    // Longer than any number of bytes that could be meant.
    let bytes = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match bytes {
        Some(bytes) if bytes <= BODY_BYTES_MAX as u64 => Ok(()),
        _ => Err((Code::PayloadTooLarge, "at most 4096 bytes")),
    }
}

/// Checks that a body is said to be JSON in UTF-8, as it is.
pub fn check_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let refusal = (Code::UnsupportedMediaType, "send Content-Type: application/json in UTF-8");
    if headers.contains_key(CONTENT_ENCODING) {
        return Err((Code::UnsupportedMediaType, "send the body without Content-Encoding"));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = media_type.ok_or(refusal)?.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(refusal);
    }
    let is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    if parts.all(is_utf8) { Ok(()) } else { Err(refusal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)], version: Version) -> Request<()> {
        let builder = Request::post("/api/buy").version(version);
        let add = |builder: hyper::http::request::Builder, (name, value): &(&'static str, &str)| {
            builder.header(*name, *value)
        };
        headers.iter().fold(builder, add).body(()).unwrap()
    }

    fn code(headers: &[(&'static str, &str)]) -> Option<Code> {
        let request = request(headers, Version::HTTP_11);
        check_request(&request).err().map(|(code, _)| code)
    }

    #[test]
    fn framing_and_host_are_checked() {
        let host = ("host", "a");
        assert_eq!(code(&[host]), None);
        assert_eq!(code(&[host, ("content-length", "40")]), None);
        assert_eq!(code(&[host, ("transfer-encoding", "Chunked")]), None);
        let bad: [&[(&str, &str)]; 9] = [
            &[],
            &[host, ("host", "b")],
            &[host, ("content-length", "1"), ("content-length", "1")],
            &[host, ("content-length", "+1")],
            &[host, ("content-length", "1e3")],
            &[host, ("content-length", "")],
            &[host, ("transfer-encoding", "gzip")],
            &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[host, ("transfer-encoding", "chunked"), ("content-length", "3")],
        ];
        for (number, headers) in bad.into_iter().enumerate() {
            assert_eq!(code(headers), Some(Code::BadRequest), "case {number}");
        }
        for large in ["4097", "1000000000000", "99999999999999999999999"] {
            assert_eq!(code(&[host, ("content-length", large)]), Some(Code::PayloadTooLarge));
        }
        let old = request(&[("transfer-encoding", "chunked")], Version::HTTP_10);
        assert!(check_request(&old).is_err());
    }

    #[test]
    fn a_long_target_is_refused() {
        let uri: Uri = format!("/{}", "a".repeat(URI_BYTES_MAX)).parse().unwrap();
        assert_eq!(check_target(&uri).unwrap_err().0, Code::UriTooLong);
    }

    #[test]
    fn only_json_in_utf8_is_taken() {
        let check = |headers: &[(&'static str, &str)]| {
            check_json(request(headers, Version::HTTP_11).headers()).is_ok()
        };
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert!(check(&[("content-type", good)]), "{good}");
        }
        for bad in ["text/plain", "application/json; charset=utf-16", "application/jsonp", ""] {
            assert!(!check(&[("content-type", bad)]), "{bad}");
        }
        assert!(!check(&[]));
        assert!(!check(&[("content-type", "application/json"), ("content-encoding", "gzip")]));
    }
}
