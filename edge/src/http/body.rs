//! Reading a body: so many bytes, in so much time; and what is said of one that cannot be read.
//!
//! Invariant: whatever a client sends or fails to send, reading ends and takes bounded memory.

use std::time::Duration;

use bytes::Bytes;
use domain::contract::problem::{Code, Problem};
use domain::contract::strict::{BODY_BYTES_MAX, BodyError};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

use super::answer::{Answer, refuse_because, refuse_with};

/// How long a body may take: it has a hundred bytes.
const BODY_MAX: Duration = Duration::from_secs(5);

/// Reads a body of at most 4 KiB, chunked or not, in bounded time.
pub(super) async fn read_body<B>(body: B) -> Result<Bytes, Code>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = std::pin::pin!(Limited::new(body, BODY_BYTES_MAX));
    match tokio::time::timeout(BODY_MAX, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::PayloadTooLarge),
        Ok(Err(_)) => Err(Code::BadRequest),
        Err(_) => Err(Code::RequestTimeout),
    }
}

/// The refusal of a body, or of a query, that is not what it should be.
pub fn refuse_body(error: &BodyError) -> (Code, Answer) {
    match error {
        BodyError::InvalidJson(detail) => {
            (Code::InvalidJson, refuse_because(Code::InvalidJson, detail))
        }
        BodyError::InvalidField { field, problem } => {
            let code = Code::InvalidField;
            let detail = format!("{field} {problem}");
            let problem =
                Problem { detail: Some(&detail), field: Some(field), ..Problem::new(code) };
            (code, refuse_with(code, &problem))
        }
    }
}
