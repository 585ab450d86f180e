//! One WebSocket client: the loop that writes, beside the task of `inbound` that reads (RFC 6455).
//!
//! Invariant: whatever a client sends or fails to read, it costs a bounded amount of memory and
//! nobody else notices.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::contract::feed::SettledOrder;
use domain::contract::rfc3339;
use domain::contract::socket::{CLIENT_MESSAGE_BYTES_MAX, ClientMessage, PROTOCOL, ServerMessage};
use domain::{OrderStatus, ReservationId};
use fastwebsockets::{Frame, OpCode, Payload, WebSocket, WebSocketWrite};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::WriteHalf;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::board::BoardReader;
use super::inbound::{INBOX_MAX, Inbound, read_all};
use super::masked::MaskedReader;
use super::view::with_views;
use super::watchers::Watchers;
use crate::metrics::Metrics;
use crate::read::{Catalogue, OrderReader};
use crate::reserve::RedisClock;
use crate::stats::Stats;

/// Silence for longer means trouble, so something is said this often; oftener only where a client
/// may be silent for less than three of them.
const HEARTBEAT_MAX: Duration = Duration::from_secs(15);
/// A client that reads nothing for this long is dropped.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// Orders one client may wait for at once.
const WATCHES_MAX: usize = 8;
/// How often a watched order without an outcome is looked for, should the feed have missed it. A
/// held one waits for a person, so it is looked for with the heartbeat only.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What every client needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Stock.
    pub board: BoardReader,
    /// Names and prices.
    pub catalogue: Catalogue,
    /// Orders.
    pub orders: OrderReader,
    /// Who waits for which order.
    pub watchers: Watchers,
    /// How everything is.
    pub stats: Stats,
    /// Redis time.
    pub clock: Arc<RedisClock>,
    /// What is counted.
    pub metrics: Metrics,
    /// A client that says nothing for so long, not even to pings, is gone.
    pub silence_max: Duration,
    /// Closes every client.
    pub stop: CancellationToken,
}

impl Feed {
    /// Redis time, or this machine's before Redis was ever heard of.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms(Instant::now())
    }
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Stock, and orders it asks for.
    Stock,
    /// That, and how everything is.
    Stats,
}

/// What a connection is once it is upgraded.
pub(super) type Stream = TokioIo<Upgraded>;

/// Serves one client until the connection ends.
pub async fn serve_client(feed: Feed, mut socket: WebSocket<Stream>, scope: Scope) {
    static CLIENTS: AtomicU64 = AtomicU64::new(0);
    socket.set_max_message_size(CLIENT_MESSAGE_BYTES_MAX);
    socket.set_auto_close(false);
    socket.set_auto_pong(false);
    let (reader, writer) = socket.split(|stream| {
        let (reader, writer) = tokio::io::split(stream);
        (MaskedReader::new(reader), writer)
    });
    let (inbound, inbox) = mpsc::channel(INBOX_MAX);
    let reading = tokio::spawn(read_all(reader, inbound));
    feed.metrics.ws_clients.inc();
    let frames = match scope {
        Scope::Stock => None,
        Scope::Stats => Some(feed.stats.view()),
    };
    let mut client = Client {
        id: CLIENTS.fetch_add(1, Ordering::Relaxed),
        feed,
        writer,
        seen: 0,
        listed: 0,
        watches: HashMap::new(),
        settled: None,
    };
    if let Ok(code) = client.converse(inbox, frames).await {
        let _ = client.write(Frame::close(code, b"")).await;
    }
    for order in client.watches.keys() {
        client.feed.watchers.remove(*order, client.id);
    }
    client.feed.metrics.ws_clients.dec();
    reading.abort();
}

struct Client {
    id: u64,
    feed: Feed,
    writer: WebSocketWrite<WriteHalf<Stream>>,
    /// Number of the last change of stock sent.
    seen: u64,
    /// Number of the last change of the list sent.
    listed: u64,
    /// Orders it waits for, each with what it was told last.
    watches: HashMap<ReservationId, Option<OrderStatus>>,
    /// Tells of those; most clients wait for none, so it is made for the first.
    settled: Option<Settled>,
}

/// Outcomes of the orders one client waits for.
struct Settled {
    news: mpsc::Sender<SettledOrder>,
    inbox: mpsc::Receiver<SettledOrder>,
}

/// The next outcome; for ever pending for who waits for none.
async fn next_settled(settled: &mut Option<Settled>) -> Option<SettledOrder> {
    match settled {
        Some(settled) => settled.inbox.recv().await,
        None => std::future::pending().await,
    }
}

/// The connection cannot be written to.
struct Gone;

/// The newest frame that was not seen yet; for ever pending for who views none.
async fn next_frame(frames: &mut Option<watch::Receiver<Bytes>>) -> Bytes {
    if let Some(frames) = frames
        && frames.changed().await.is_ok()
    {
        return frames.borrow_and_update().clone();
    }
    std::future::pending().await
}

impl Client {
    /// Runs to the end; the close code to send, unless nobody listens any more.
    async fn converse(
        &mut self,
        mut inbox: mpsc::Receiver<Inbound>,
        mut frames: Option<watch::Receiver<Bytes>>,
    ) -> Result<u16, Gone> {
        let stop = self.feed.stop.clone();
        let mut changes = self.feed.board.changes();
        let mut listed = self.feed.catalogue.changes();
        self.greet().await?;
        let silence_max = self.feed.silence_max;
        let mut heartbeat = tokio::time::interval(HEARTBEAT_MAX.min(silence_max / 3));
        heartbeat.reset();
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                event = inbox.recv() => {
                    heard = Instant::now();
                    match event {
                        None => return Err(Gone),
                        Some(Inbound::Close(code)) => return Ok(code),
                        Some(Inbound::Pong) => {}
                        Some(Inbound::Ping(data)) => {
                            self.write(Frame::pong(Payload::Owned(data))).await?;
                        }
                        Some(Inbound::Message(text)) => self.hear(&text).await?,
                    }
                }
                changed = changes.changed() => {
                    if changed.is_err() { return Ok(1001) }
                    self.send_changes().await?;
                }
                // The sender lives as long as the catalogue this client holds.
                _ = listed.changed() => self.send_listed().await?,
                frame = next_frame(&mut frames) => {
                    self.write(Frame::text(Payload::Borrowed(&frame))).await?;
                }
                Some(order) = next_settled(&mut self.settled) => self.look_up(order.id).await?,
                _ = look_again.tick(), if !self.watches.is_empty() => {
                    self.look_up_all(|told| told.is_none()).await?;
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > silence_max { return Ok(1001) }
                    self.look_up_all(|told| told.is_some()).await?;
                    let server_time = rfc3339::from_ms(self.feed.now_ms());
                    self.send(&ServerMessage::Heartbeat { server_time: &server_time }).await?;
                    self.write(Frame::new(true, OpCode::Ping, None, Payload::Borrowed(b""))).await?;
                }
                () = stop.cancelled() => return Ok(1001),
            }
        }
    }

    /// Says hello and everything as it stands.
    async fn greet(&mut self) -> Result<(), Gone> {
        let now_ms = self.feed.now_ms();
        let server_time = rfc3339::from_ms(now_ms);
        self.send(&ServerMessage::Hello { protocol: PROTOCOL, server_time: &server_time }).await?;
        let published = self.feed.board.load();
        self.seen = published.change;
        let listing = self.feed.catalogue.load().unwrap_or_default();
        self.listed = listing.change;
        let snapshot = with_views(listing.sales(), &published, now_ms, |views| {
            ServerMessage::Snapshot { products: &views }.to_json()
        });
        self.write(Frame::text(Payload::Owned(snapshot))).await
    }

    /// Sends what changed since the last time, one frame a product.
    async fn send_changes(&mut self) -> Result<(), Gone> {
        let published = self.feed.board.load();
        let missed = published.change.saturating_sub(self.seen).saturating_sub(1);
        self.feed.metrics.ws_frames_skipped.inc_by(missed);
        let seen = std::mem::replace(&mut self.seen, published.change);
        for slot in published.slots.values().filter(|slot| slot.change > seen) {
            let message: Bytes = slot.message.clone();
            self.write(Frame::text(Payload::Borrowed(&message))).await?;
        }
        Ok(())
    }

    /// Sends the products that were listed, or are told of otherwise, since the last time.
    async fn send_listed(&mut self) -> Result<(), Gone> {
        let listing = self.feed.catalogue.load().unwrap_or_default();
        let since = std::mem::replace(&mut self.listed, listing.change);
        let published = self.feed.board.load();
        let messages = with_views(listing.since(since), &published, self.feed.now_ms(), |views| {
            let message = |product| ServerMessage::Product { product }.to_json();
            views.iter().map(message).collect::<Vec<_>>()
        });
        for message in messages {
            self.write(Frame::text(Payload::Owned(message))).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, text: &[u8]) -> Result<(), Gone> {
        let order = match serde_json::from_slice(text) {
            Ok(ClientMessage::Watch { reservation_id }) => ReservationId::parse(&reservation_id),
            Err(_) => None,
        };
        let Some(order) = order else {
            return self.send(&ServerMessage::Error { code: "INVALID_MESSAGE" }).await;
        };
        if self.watches.len() >= WATCHES_MAX && !self.watches.contains_key(&order) {
            return self.send(&ServerMessage::Error { code: "TOO_MANY_WATCHES" }).await;
        }
        // Registered before it is looked up, so that an outcome in between is not missed.
        // Whoever asks again is told again.
        if self.watches.insert(order, None).is_none() {
            let settled = self.settled.get_or_insert_with(|| {
                let (news, inbox) = mpsc::channel(WATCHES_MAX);
                Settled { news, inbox }
            });
            self.feed.watchers.add(order, self.id, settled.news.clone());
        }
        self.look_up(order).await
    }

    /// Looks for the watched orders `which` chooses by what was told of them.
    async fn look_up_all(&mut self, which: fn(&Option<OrderStatus>) -> bool) -> Result<(), Gone> {
        let chosen = self.watches.iter().filter(|(_, told)| which(told));
        for order in chosen.map(|(order, _)| *order).collect::<Vec<_>>() {
            self.look_up(order).await?;
        }
        Ok(())
    }

    /// Tells the client what became of an order, if that is news. A held order stays watched until
    /// it is resolved.
    async fn look_up(&mut self, order: ReservationId) -> Result<(), Gone> {
        // A database that is away is asked again.
        // Boxed: a question to a database takes memory while it is asked, not of every client.
        let asked = Box::pin(self.feed.orders.find_settled(order));
        let Ok(Some(stored)) = asked.await else { return Ok(()) };
        let Some(told) = self.watches.get_mut(&order) else { return Ok(()) };
        if told.replace(stored.status) == Some(stored.status) {
            return Ok(());
        }
        if stored.status != OrderStatus::Held {
            self.watches.remove(&order);
            self.feed.watchers.remove(order, self.id);
        }
        let id = order.to_string();
        self.send(&ServerMessage::Order {
            reservation_id: &id,
            status: stored.status.as_str(),
            reason: stored.reason.as_deref(),
        })
        .await
    }

    async fn send(&mut self, message: &ServerMessage<'_>) -> Result<(), Gone> {
        self.write(Frame::text(Payload::Owned(message.to_json()))).await
    }

    async fn write(&mut self, frame: Frame<'_>) -> Result<(), Gone> {
        match tokio::time::timeout(WRITE_MAX, self.writer.write_frame(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}
