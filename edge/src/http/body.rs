//! Reading a body: so many bytes, in so much time.
//!
//! Invariant: whatever a client sends or fails to send, reading ends and takes bounded memory.

use std::time::Duration;

use bytes::Bytes;
use domain::contract::buy::BODY_BYTES_MAX;
use domain::contract::problem::Code;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Body;

/// How long a body may take: it has a hundred bytes.
const BODY_MAX: Duration = Duration::from_secs(5);

/// Reads a body of at most 4 KiB, chunked or not, in bounded time.
pub(super) async fn read_body<B>(request: Request<B>) -> Result<Bytes, Code>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = std::pin::pin!(Limited::new(request.into_body(), BODY_BYTES_MAX));
    match tokio::time::timeout(BODY_MAX, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::PayloadTooLarge),
        Ok(Err(_)) => Err(Code::BadRequest),
        Err(_) => Err(Code::RequestTimeout),
    }
}
