//! The newest frame of every sale, as latest-value slots.
//!
//! Each published change has a number; a client remembers the last it has sent and takes only the
//! slots above it, so a slow client skips frames and costs no memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use domain::contract::feed::FeedFrame;
use domain::contract::rfc3339;
use domain::contract::socket::ServerMessage;
use domain::{ProductId, SaleState, SaleWindow};
use tokio::sync::watch;

/// One sale's newest published frame.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Absolute values.
    pub frame: FeedFrame,
    /// The state when it was published.
    pub state: SaleState,
    /// Number of the change.
    pub change: u64,
    /// The WebSocket text message, encoded once.
    pub message: Bytes,
}

/// What clients see.
#[derive(Debug, Default)]
pub struct Published {
    /// Number of the newest change.
    pub change: u64,
    /// By product.
    pub slots: BTreeMap<ProductId, Slot>,
}

/// Written by the subscriber.
#[derive(Debug)]
pub struct Board {
    newest: BTreeMap<ProductId, FeedFrame>,
    /// When a window opens or closes next, ms since the Unix epoch.
    turn_ms: Option<i64>,
    dirty: bool,
    reader: BoardReader,
    changed: watch::Sender<u64>,
}

/// Read by everyone else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BoardReader {
    published: Arc<ArcSwap<Published>>,
    changed: watch::Receiver<u64>,
}

impl BoardReader {
    /// What is published now.
    pub fn load(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Wakes at every publication.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

impl Default for Board {
    fn default() -> Self {
        let (changed, receiver) = watch::channel(0);
        let reader = BoardReader { published: Arc::default(), changed: receiver };
        Self { newest: BTreeMap::new(), turn_ms: None, dirty: false, reader, changed }
    }
}

impl Board {
    /// For everyone who reads.
    pub fn reader(&self) -> BoardReader {
        self.reader.clone()
    }

    /// Takes a frame unless a newer one is known. True when the state people see changes, which
    /// should be published at once.
    pub fn take(&mut self, frame: FeedFrame, now_ms: i64) -> bool {
        match self.newest.get(&frame.product) {
            Some(known) if known.version() >= frame.version() => return false,
            _ => {}
        }
        let before = self.newest.insert(frame.product, frame);
        if before.map_or(SaleWindow::default(), |before| before.window) != frame.window {
            self.turn_ms = self.next_turn(now_ms);
        }
        self.dirty = true;
        let published = self.reader.published.load();
        let before = published.slots.get(&frame.product).map(|slot| slot.state);
        before != Some(frame.state_at(now_ms))
    }

    /// When the clock alone changes what people see, and somebody must publish.
    pub const fn turn_ms(&self) -> Option<i64> {
        self.turn_ms
    }

    fn next_turn(&self, now_ms: i64) -> Option<i64> {
        let windows = self.newest.values().map(|frame| frame.window);
        let instants = windows.flat_map(|window| [window.opens_at_ms, window.closes_at_ms]);
        instants.flatten().filter(|at| *at > now_ms).min()
    }

    /// Whether something waits to be published.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Publishes every frame, or state, that differs from what clients have.
    pub fn publish(&mut self, now_ms: i64) {
        self.dirty = false;
        if self.turn_ms.is_some_and(|at| at <= now_ms) {
            self.turn_ms = self.next_turn(now_ms);
        }
        let before = self.reader.published.load();
        let change = before.change + 1;
        let mut slots = before.slots.clone();
        let mut any = false;
        for (product, frame) in &self.newest {
            let state = frame.state_at(now_ms);
            let same = |slot: &Slot| slot.frame == *frame && slot.state == state;
            if slots.get(product).is_some_and(same) {
                continue;
            }
            any = true;
            let message = encode(frame, state, now_ms);
            slots.insert(*product, Slot { frame: *frame, state, change, message });
        }
        if any {
            self.reader.published.store(Arc::new(Published { change, slots }));
            self.changed.send_replace(change);
        }
    }
}

fn encode(frame: &FeedFrame, state: SaleState, now_ms: i64) -> Bytes {
    let text = |at: Option<i64>| at.map(rfc3339::from_ms);
    let (opens_at, closes_at) = (text(frame.window.opens_at_ms), text(frame.window.closes_at_ms));
    let message = ServerMessage::Stock {
        product_id: frame.product.get(),
        stock: frame.stock,
        available: frame.available,
        state: state.as_str(),
        epoch: frame.epoch.0,
        rev: frame.rev.0,
        opens_at: opens_at.as_deref(),
        closes_at: closes_at.as_deref(),
        server_time: &rfc3339::from_ms(now_ms),
    };
    Bytes::from(message.to_json())
}

#[cfg(test)]
mod tests {
    use domain::{Epoch, Rev, StoredState};

    use super::*;

    fn frame(epoch: i64, rev: i64, available: i64) -> FeedFrame {
        FeedFrame {
            product: ProductId::new(1).unwrap(),
            stock: available,
            available,
            stored_state: StoredState::Open,
            window: SaleWindow { opens_at_ms: None, closes_at_ms: Some(1_000) },
            epoch: Epoch(epoch),
            rev: Rev(rev),
        }
    }

    fn published(board: &Board) -> (i64, SaleState, u64) {
        let published = board.reader.load();
        let slot = &published.slots[&ProductId::new(1).unwrap()];
        (slot.frame.available, slot.state, slot.change)
    }

    #[test]
    fn an_older_frame_never_replaces_a_newer_one() {
        let mut board = Board::default();
        board.take(frame(2, 1, 50), 0);
        board.publish(0);
        for older in [frame(1, 9, 99), frame(2, 0, 99), frame(2, 1, 99)] {
            assert!(!board.take(older, 0));
        }
        assert!(!board.is_dirty());
        assert_eq!(published(&board).0, 50);
    }

    #[test]
    fn a_burst_becomes_one_change_and_a_new_state_asks_for_publication() {
        let mut board = Board::default();
        assert!(board.take(frame(1, 1, 3), 0), "a sale nobody knew is news");
        board.publish(0);
        assert!(!board.take(frame(1, 2, 2), 0));
        assert!(!board.take(frame(1, 3, 1), 0));
        assert!(board.take(frame(1, 4, 0), 0), "sold out");
        board.publish(0);
        assert_eq!(published(&board), (0, SaleState::SoldOut, 2));
        board.publish(0);
        assert_eq!(published(&board).2, 2, "nothing new, no change");
    }

    #[test]
    fn a_window_that_closes_is_a_change_without_a_frame() {
        let mut board = Board::default();
        board.take(frame(1, 1, 3), 0);
        board.publish(999);
        assert_eq!(published(&board).1, SaleState::Open);
        board.publish(1_000);
        assert_eq!(published(&board), (3, SaleState::Closed, 2));
    }

    #[test]
    fn the_board_knows_when_the_clock_alone_changes_what_people_see() {
        let mut board = Board::default();
        assert_eq!(board.turn_ms(), None);
        let window = SaleWindow { opens_at_ms: Some(500), closes_at_ms: Some(1_000) };
        board.take(FeedFrame { window, ..frame(1, 1, 3) }, 0);
        board.publish(0);
        assert_eq!((published(&board).1, board.turn_ms()), (SaleState::Scheduled, Some(500)));
        board.publish(500);
        assert_eq!((published(&board).1, board.turn_ms()), (SaleState::Open, Some(1_000)));
        board.take(frame(1, 2, 3), 600);
        board.publish(1_000);
        assert_eq!((published(&board).1, board.turn_ms()), (SaleState::Closed, None));
        let later = SaleWindow { closes_at_ms: Some(9_000), ..window };
        board.take(FeedFrame { window: later, ..frame(1, 3, 3) }, 1_001);
        assert_eq!(board.turn_ms(), Some(9_000), "an operator moved the window");
    }
}
