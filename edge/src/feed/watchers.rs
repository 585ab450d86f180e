//! Who wants to hear of which order.
//!
//! Invariant: bounded by the clients and their watches; a client that is gone is forgotten with its
//! guard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ReservationId;
use domain::contract::feed::{SettledOrder, SettledOrders};
use tokio::sync::mpsc;

type Waiting = HashMap<ReservationId, Vec<(u64, mpsc::Sender<SettledOrder>)>>;

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watchers(Arc<Mutex<Waiting>>);

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a client until [`Watchers::remove`].
    pub fn add(&self, order: ReservationId, client: u64, news: mpsc::Sender<SettledOrder>) {
        self.lock().entry(order).or_default().push((client, news));
    }

    /// Removes a client.
    pub fn remove(&self, order: ReservationId, client: u64) {
        let mut waiting = self.lock();
        if let Some(clients) = waiting.get_mut(&order) {
            clients.retain(|(id, _)| *id != client);
            if clients.is_empty() {
                waiting.remove(&order);
            }
        }
    }

    /// Tells everyone who waits for these orders. A client too slow to take it asks again itself.
    pub fn tell(&self, settled: SettledOrders<'_>) {
        let waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        let Some(settled) = settled.read() else {
            tracing::error!("settled orders on the feed that no script of ours published");
            return;
        };
        for order in settled {
            for (_, news) in waiting.get(&order.id).into_iter().flatten() {
                let _ = news.try_send(order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::contract::feed::FeedFrame;

    use super::*;

    const FRAME: &str = r#"{"product_id":1,"stock":9,"available":8,"state":"open","opens_at":0,
        "closes_at":0,"epoch":1,"rev":1,
        "orders":[["00000000-0000-0000-0000-000000000001","confirmed"]]}"#;

    #[test]
    fn only_who_waits_is_told_and_only_until_removed() {
        let watchers = Watchers::default();
        let order = ReservationId(uuid::Uuid::from_u128(1));
        let (news, mut inbox) = mpsc::channel(4);
        watchers.add(order, 7, news);
        let (_, settled) = FeedFrame::parse(FRAME.as_bytes()).unwrap();
        watchers.tell(settled);
        assert_eq!(inbox.try_recv().unwrap().id, order);
        watchers.remove(order, 7);
        watchers.tell(settled);
        assert!(inbox.try_recv().is_err());
        assert!(watchers.lock().is_empty());
    }
}
