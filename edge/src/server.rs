//! Bytes on the wire: accepts connections, speaks HTTP/1.1 (RFC 9112), drains on shutdown.
//!
//! Owns connections and their limits; leaves requests to `http`.
//! Invariant: on shutdown no request that reached this host goes unanswered within the grace
//! period.

mod door;
mod stream;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::http::answer::Answer;
use crate::http::{Context, respond};
pub use door::{bind, listen};
use stream::PatientStream;

/// Bytes of one request's head: what nginx lets through (17 KiB) and what it adds. Behind it, it is
/// nginx that refuses more, with a body that says so.
const HEAD_BYTES_MAX: usize = 18 * 1024;
/// Headers of one request.
const HEADERS_MAX: usize = 100;
/// Pause after an accept failed: most likely out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time between the last connection that is taken and the end of those without a request: what a
/// proxy sent on them is on its way.
const LAST_REQUESTS: Duration = Duration::from_millis(100);

/// How an edge leaves. A proxy does not send a POST twice, so a connection must not be closed under
/// it: first every answer says that it is the connection's last, while new ones are taken.
#[derive(Debug, Clone)]
pub struct Leave {
    /// The edge was told to leave.
    pub asked: CancellationToken,
    /// Time in which connections end by being used.
    pub lame_duck: Duration,
    /// Nothing is taken any more; cancelled by [`run`].
    pub closed: CancellationToken,
}

impl Leave {
    /// Ends when no more connections are to be taken.
    async fn due(&self) {
        self.asked.cancelled().await;
        tokio::time::sleep(self.lame_duck).await;
    }
}

/// What clients may take of the edge.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// How long a connection may be idle, take for one head, or leave an answer unread. Longer than
    /// nginx keeps an idle upstream connection (20 s), as it does not repeat a POST whose
    /// connection the edge closed meanwhile.
    pub idle_max: Duration,
}

/// Serves `listener` until it is time to leave, then waits for the answers under way.
pub async fn run(listener: TcpListener, context: Arc<Context>, limits: Limits, leave: Leave) {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let connections = context.connections.clone();
    let take = |stream: TcpStream, permit: OwnedSemaphorePermit| {
        let (context, leave) = (context.clone(), leave.clone());
        connections.spawn(async move {
            serve(stream, context, limits.idle_max, leave).await;
            drop(permit);
        });
    };
    let mut due = pin!(leave.due());
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = due.as_mut() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = due.as_mut() => break,
        };
        match (accepted, permit) {
            (Ok((stream, _)), Ok(permit)) => take(stream, permit),
            (Ok(_), Err(_)) => break,
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    for stream in door::close(listener).await {
        let Ok(permit) = permits.clone().try_acquire_owned() else { break };
        take(stream, permit);
    }
    tokio::time::sleep(LAST_REQUESTS).await;
    leave.closed.cancel();
    connections.close();
    connections.wait().await;
}

/// Says that a connection ends with this answer, unless it becomes a WebSocket.
fn say_last(answer: &mut Answer) {
    if answer.status() != hyper::StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn serve(stream: TcpStream, context: Arc<Context>, idle_max: Duration, leave: Leave) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let (asked, closed) = (leave.asked, leave.closed);
    let service = service_fn(move |request| {
        let (context, asked) = (context.clone(), asked.clone());
        async move {
            let mut answer = respond(context, request).await;
            if asked.is_cancelled() {
                say_last(&mut answer);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(PatientStream::new(stream, idle_max)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // A client that breaks off, or speaks something else, is its own affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = closed.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
