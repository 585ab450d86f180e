//! A TCP proxy that misbehaves on request: slow, deaf in one direction, cut off, or closed.
//!
//! Owns the bytes between a client and one server; knows no protocol. Tests put it between our
//! programs and a server.
//! Invariant: what was swallowed is never followed by later bytes of the same direction: such a
//! connection is reset instead, as no protocol survives a gap.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes of one direction of one connection on their way.
const BUFFER_BYTES: usize = 16 * 1024;
/// Pause after an accept failed: most likely out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to server.
    ToServer,
    /// From server to client.
    ToClient,
}

/// What is wrong with one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    delay: Duration,
    swallow: bool,
    bytes_left: Option<u64>,
}

#[derive(Debug)]
struct Plan {
    target: SocketAddr,
    refuse: bool,
    to_server: Trouble,
    to_client: Trouble,
}

impl Plan {
    fn trouble(&mut self, direction: Direction) -> &mut Trouble {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

#[derive(Debug)]
struct Shared {
    plan: Mutex<Plan>,
    /// Changes whenever every open connection is to be reset.
    cuts: watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy. Dropping it ends every connection through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Aborted when dropped, and with it every connection.
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `target`, faithfully at first.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (to_server, to_client) = (Trouble::default(), Trouble::default());
        let plan = Mutex::new(Plan { target, refuse: false, to_server, to_client });
        let shared = Arc::new(Shared { plan, cuts: watch::Sender::new(()) });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, _accepting: accepting })
    }

    /// A proxy in front of the server a URL names, and the same URL through it.
    ///
    /// # Errors
    /// When the URL names no socket address, or no port can be bound.
    pub async fn in_front_of(url: &str) -> anyhow::Result<(Self, String)> {
        let (start, rest) = url.split_once("://").context("a URL has a scheme")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let proxy = Self::start(host.parse().with_context(|| format!("{host} is no address"))?);
        let proxy = proxy.await?;
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let through = format!("{start}://{user}{}/{path}", proxy.address);
        Ok((proxy, through))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every piece of this direction arrives so much later.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.lock().trouble(direction).delay = delay;
    }

    /// Swallows the bytes of this direction; connections stay open.
    pub fn black_hole(&self, direction: Direction) {
        self.shared.lock().trouble(direction).swallow = true;
    }

    /// Lets so many more bytes of this direction through, then resets whoever sends the next.
    pub fn reset_after(&self, direction: Direction, bytes: u64) {
        self.shared.lock().trouble(direction).bytes_left = Some(bytes);
    }

    /// Resets new connections at once; open ones go on.
    pub fn refuse(&self) {
        self.shared.lock().refuse = true;
    }

    /// Resets every open connection.
    pub fn cut(&self) {
        self.shared.cuts.send_replace(());
    }

    /// New connections go there from now on; open ones are reset.
    pub fn aim(&self, target: SocketAddr) {
        self.shared.lock().target = target;
        self.cut();
    }

    /// Nothing is wrong any more.
    pub fn heal(&self) {
        let mut plan = self.shared.lock();
        plan.refuse = false;
        (plan.to_server, plan.to_client) = (Trouble::default(), Trouble::default());
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((client, _)) => {
                connections.spawn(serve(client, shared.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let (target, refuse) = {
        let plan = shared.lock();
        (plan.target, plan.refuse)
    };
    if refuse {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    // Small messages are not to wait for company here, too.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let both = async {
        tokio::try_join!(
            pump(client_read, server_write, Direction::ToServer, &shared),
            pump(server_read, client_write, Direction::ToClient, &shared),
        )
    };
    let ended_well = tokio::select! {
        ended = both => ended.is_ok(),
        _ = cuts.changed() => false,
    };
    if !ended_well {
        reset(&client);
        reset(&server);
    }
}

/// What is closed after this is reset instead.
fn reset(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

/// Forwards one direction until its sender closes it. An error resets the connection.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    shared: &Shared,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut has_gap = false;
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let delay = shared.lock().trouble(direction).delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let (swallow, through) = take(shared.lock().trouble(direction), length);
        if swallow {
            has_gap = true;
            continue;
        }
        if has_gap {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        to.write_all(&buffer[..through]).await?;
        if through < length {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

/// Whether the bytes are swallowed, and else how many of them get through.
fn take(trouble: &mut Trouble, length: usize) -> (bool, usize) {
    if trouble.swallow {
        return (true, 0);
    }
    let Some(left) = &mut trouble.bytes_left else { return (false, length) };
    let through = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
    *left -= through as u64;
    (false, through)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A proxy in front of a server that sends everything back.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Proxy::start(target).await.unwrap()
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    /// Sends `text` and returns as many bytes as come back within the time; an error as none.
    async fn ask(stream: &mut TcpStream, text: &[u8], within: Duration) -> io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        match tokio::time::timeout(within, stream.read_exact(&mut answer)).await {
            Ok(read) => read.map(|_| answer),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn bytes_pass_unchanged_and_late_when_told_to() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        assert_eq!(ask(&mut stream, b"hello", LONG).await.unwrap(), b"hello");
        proxy.delay(Direction::ToServer, SHORT);
        proxy.delay(Direction::ToClient, SHORT);
        let started = Instant::now();
        assert_eq!(ask(&mut stream, b"slow", LONG).await.unwrap(), b"slow");
        assert!(started.elapsed() >= 2 * SHORT);
        proxy.heal();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "an end is passed on, too");
    }

    #[tokio::test]
    async fn a_swallowed_direction_leaves_the_connection_open_and_resets_it_at_the_next_byte() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        proxy.black_hole(Direction::ToClient);
        let nothing = ask(&mut stream, b"lost", SHORT).await.unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::TimedOut);
        proxy.heal();
        let gap = ask(&mut stream, b"more", LONG).await.unwrap_err();
        assert_eq!(gap.kind(), io::ErrorKind::ConnectionReset, "never the later bytes alone");
        assert_eq!(ask(&mut connect(&proxy).await, b"new", LONG).await.unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_connection_is_reset_after_so_many_bytes() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        proxy.reset_after(Direction::ToClient, 3);
        stream.write_all(b"hello").await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await.map_err(|error| error.kind());
        assert!(answer.len() <= 3, "{answer:?}");
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn new_connections_are_refused_while_open_ones_go_on_until_they_are_cut() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        assert_eq!(ask(&mut stream, b"first", LONG).await.unwrap(), b"first");
        proxy.refuse();
        assert!(ask(&mut connect(&proxy).await, b"no", LONG).await.is_err());
        assert_eq!(ask(&mut stream, b"still", LONG).await.unwrap(), b"still");
        proxy.cut();
        assert!(ask(&mut stream, b"gone", LONG).await.is_err());
        proxy.heal();
        assert_eq!(ask(&mut connect(&proxy).await, b"back", LONG).await.unwrap(), b"back");
    }

    #[tokio::test]
    async fn another_target_takes_over_and_a_dropped_proxy_ends_its_connections() {
        let (proxy, other) = (echo().await, echo().await);
        let mut stream = connect(&proxy).await;
        assert_eq!(ask(&mut stream, b"first", LONG).await.unwrap(), b"first");
        proxy.aim(other.address());
        assert!(ask(&mut stream, b"old", LONG).await.is_err());
        let mut stream = connect(&proxy).await;
        assert_eq!(ask(&mut stream, b"new", LONG).await.unwrap(), b"new");
        drop(proxy);
        assert!(ask(&mut stream, b"gone", LONG).await.is_err());
    }

    #[tokio::test]
    async fn a_url_goes_through_it_with_everything_else_as_it_was() {
        let url = "amqp://user:secret@127.0.0.1:5672/%2f";
        let (proxy, through) = Proxy::in_front_of(url).await.unwrap();
        assert_eq!(through, format!("amqp://user:secret@{}/%2f", proxy.address()));
        assert!(Proxy::in_front_of("redis://nowhere/").await.is_err());
    }
}
