//! What operators do, through nginx and on the command line, and what buyers see of it.

mod command_line;
mod life;
mod listed;
mod race;
mod readme;
mod requests;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use stack::{Stack, StackOptions};

use crate::buyer::{Answer, send};

/// The token of every stack here.
pub(crate) const TOKEN: &str = "a-token-for-tests";

/// A stack whose edges let operators in.
pub(crate) async fn shop(options: StackOptions, more: &[(&str, &str)]) -> Stack {
    let mut env = options.env.clone();
    env.push(("ADMIN_TOKEN".to_owned(), TOKEN.to_owned()));
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Stack::start(StackOptions { env, ..options }).await.unwrap()
}

/// A request of an operator, as it is sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) body: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: &'a str, path: &'a str, body: &'a str) -> Self {
        Self { method, path, body, headers: vec![("authorization", BEARER)] }
    }

    pub(crate) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn without_token(mut self) -> Self {
        self.headers.clear();
        self
    }

    pub(crate) async fn send(self, base: &str) -> Option<Answer> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("/api/admin{}", self.path))
            .header("host", "localhost");
        if !self.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(self.body.to_owned()));
        send(base, request.body(body).unwrap()).await
    }
}

const BEARER: &str = "Bearer a-token-for-tests";

/// An adjustment under a key.
pub(crate) async fn adjust(base: &str, delta: i64, key: &str) -> Option<Answer> {
    let body = format!(r#"{{"delta":{delta},"reason":"a test"}}"#);
    let ask = Ask::new("POST", "/products/1/adjustments", &body);
    ask.with("idempotency-key", key).send(base).await
}

/// Something without a body.
pub(crate) async fn post(base: &str, path: &str) -> Answer {
    Ask::new("POST", path, "").send(base).await.unwrap()
}
