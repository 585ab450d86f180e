//! Bytes on the wire: accepts connections, speaks HTTP/1.1 (RFC 9112), drains on shutdown.
//!
//! Owns connections and their limits; leaves requests to `http`.
//! Invariant: on shutdown no request that was read goes unanswered within the grace period.

mod stream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{Context, respond};
use stream::PatientStream;

/// Bytes of one request's head: what nginx lets through (17 KiB) and what it adds. Behind it, it is
/// nginx that refuses more, with a body that says so.
const HEAD_BYTES_MAX: usize = 18 * 1024;
/// Headers of one request.
const HEADERS_MAX: usize = 100;
/// Connections the kernel completes ahead of `accept`: a proxy opens a thousand at once when a sale
/// begins, and one that is turned away there waits a second before it tries again. The kernel takes
/// the smaller of this and `net.core.somaxconn`.
const BACKLOG: u32 = 4096;
/// Pause after an accept failed: most likely out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

/// Binds `address`, also when connections of an earlier edge linger on it.
///
/// # Errors
/// When the address is taken or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `listener` until `stop`, then waits for the answers under way.
pub async fn run(
    listener: TcpListener,
    context: Arc<Context>,
    limits: Limits,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (context, stop) = (context.clone(), stop.clone());
                connections.spawn(async move {
                    serve(stream, context, limits.idle_max, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve(
    stream: TcpStream,
    context: Arc<Context>,
    idle_max: Duration,
    stop: CancellationToken,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(respond(context, request).await) }
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
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
