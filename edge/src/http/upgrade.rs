//! `GET /ws` and `GET /ws/stats`: the handshake (RFC 6455, section 4.2), and who may shake hands.
//!
//! The library checks key and version only; origin, Upgrade and Connection are checked here.

use bytes::Bytes;
use domain::contract::problem::Code;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, ORIGIN, UPGRADE};
use hyper::{Request, Response};

use super::Context;
use super::answer::{Answer, refuse, refuse_because};
use crate::feed::{Scope, serve_client};

/// Upgrades the connection, or says why not.
pub(super) fn upgrade(context: &Context, mut request: Request<Incoming>, scope: Scope) -> Answer {
    match check(request.headers(), &context.allowed_origins) {
        Ok(()) => {}
        Err((Code::UpgradeRequired, _)) => return upgrade_required(),
        Err((code, why)) => return refuse_because(code, why),
    }
    let Ok((response, upgrading)) = fastwebsockets::upgrade::upgrade(&mut request) else {
        return upgrade_required();
    };
    let feed = context.feed.clone();
    context.clients.spawn(async move {
        // A client that breaks off during the handshake is of no interest.
        if let Ok(socket) = upgrading.await {
            serve_client(feed, socket, scope).await;
        }
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Full::new(Bytes::new()))
}

fn upgrade_required() -> Answer {
    let mut answer = refuse(Code::UpgradeRequired);
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    answer
}

fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), (Code, &'static str)> {
    let names = |name: hyper::header::HeaderName, token: &str| {
        headers.get_all(name).iter().any(|value| {
            let mut tokens = value.to_str().unwrap_or_default().split(',');
            tokens.any(|t| t.trim().eq_ignore_ascii_case(token))
        })
    };
    let version = headers.get("sec-websocket-version").map(HeaderValue::as_bytes);
    if !names(UPGRADE, "websocket") || !names(CONNECTION, "upgrade") || version != Some(b"13") {
        return Err((Code::UpgradeRequired, ""));
    }
    // 16 random bytes in base64 (RFC 6455, section 4.1).
    let key = headers.get("sec-websocket-key").map_or(0, HeaderValue::len);
    if key != 24 {
        return Err((Code::BadRequest, "Sec-WebSocket-Key is missing or malformed"));
    }
    if origin_is_allowed(headers, allowed) {
        Ok(())
    } else {
        Err((Code::ForeignOrigin, "add the origin to ALLOWED_ORIGINS to let its pages connect"))
    }
}

/// Programs send no Origin; a page sends its own, which must be this host's or a listed one.
fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    authority.zip(host).is_some_and(|(authority, host)| same(authority, host))
        || allowed.iter().any(|listed| same(listed.trim(), origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let good = [
            ("host", "shop.example:8080"),
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in good {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            match value {
                Some(value) => headers.insert(*name, HeaderValue::from_static(value)),
                None => headers.remove(*name),
            };
        }
        headers
    }

    fn code(changes: &[(&'static str, Option<&'static str>)]) -> Option<Code> {
        let allowed = ["https://other.example".to_owned()];
        check(&headers(changes), &allowed).err().map(|(code, _)| code)
    }

    #[test]
    fn a_handshake_is_checked_part_by_part() {
        assert_eq!(code(&[]), None);
        assert_eq!(code(&[("upgrade", None)]), Some(Code::UpgradeRequired));
        assert_eq!(code(&[("connection", Some("close"))]), Some(Code::UpgradeRequired));
        assert_eq!(code(&[("sec-websocket-version", Some("8"))]), Some(Code::UpgradeRequired));
        assert_eq!(code(&[("sec-websocket-key", None)]), Some(Code::BadRequest));
    }

    #[test]
    fn only_this_hosts_pages_and_listed_ones_may_connect() {
        assert_eq!(code(&[("origin", Some("http://shop.example:8080"))]), None);
        assert_eq!(code(&[("origin", Some("https://other.example"))]), None);
        for foreign in ["http://evil.example", "http://shop.example", "null"] {
            let foreign: &'static str = foreign;
            assert_eq!(code(&[("origin", Some(foreign))]), Some(Code::ForeignOrigin), "{foreign}");
        }
    }
}
