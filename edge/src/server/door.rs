//! How an edge begins and ceases to take connections.
//!
//! Invariant: no connection that was completed is reset, from the first to the last one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections the kernel completes ahead of `accept`: a proxy opens a thousand at once when a sale
/// begins, and one that is turned away there waits a second before it tries again. The kernel takes
/// the smaller of this and `net.core.somaxconn`.
const BACKLOG: u32 = 4096;
/// Bytes of answers the kernel keeps for a client that does not read, before `PatientStream` waits;
/// nearly every answer fits. Left to itself the kernel takes megabytes for each connection, and
/// what it takes is missing to everybody on the host.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;
/// Time for a handshake that began to end, several times that within a data centre.
const HANDSHAKE: Duration = Duration::from_millis(2);

/// Classic BPF over the TCP header: drops what has SYN among its flags (RFC 9293, 3.1; the opcodes
/// are those of linux/bpf_common.h).
const NO_SYN: [SockFilter; 4] = [
    SockFilter::new(0x30, 0, 0, 13),       // load the byte of the flags
    SockFilter::new(0x45, 0, 1, 0x02),     // without SYN, skip one
    SockFilter::new(0x06, 0, 0, 0),        // drop
    SockFilter::new(0x06, 0, 0, u32::MAX), // keep
];

/// Binds `address`, also when connections of an earlier edge linger on it. Connections are refused
/// until [`listen`].
///
/// # Errors
/// When the address is taken or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit it from the socket that listens.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Takes connections from now on.
///
/// # Errors
/// When another process that bound the address at the same time listens on it.
pub fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)
}

/// Takes no more connections; what the kernel has completed and nobody accepted yet.
///
/// The kernel resets what it completes between the last `accept` and the end of the socket, and a
/// proxy may have sent a request on it. So first nobody can begin: who tries now hears nothing, and
/// goes elsewhere, or tries again a second later and is refused.
pub(super) async fn close(listener: TcpListener) -> Vec<TcpStream> {
    if let Err(error) = begin_no_more(&listener) {
        tracing::debug!(%error, "connections that begin now may be reset");
    }
    tokio::time::sleep(HANDSHAKE).await;
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let mut streams = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        let _ = stream.set_nonblocking(true);
        streams.extend(TcpStream::from_std(stream));
    }
    streams
}

/// Lets every handshake that began end, and no other begin.
fn begin_no_more(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).attach_filter(&NO_SYN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_completed_is_kept_and_nothing_else_begins() {
        let listener = listen(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let _early = TcpStream::connect(address).await.unwrap();
        begin_no_more(&listener).unwrap();
        // Less than the second after which the kernel tries again.
        let late = tokio::time::timeout(50 * HANDSHAKE, TcpStream::connect(address)).await;
        assert!(late.is_err(), "neither completed nor refused: {late:?}");
        assert_eq!(close(listener).await.len(), 1);
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
