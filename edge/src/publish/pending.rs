//! Messages that are not confirmed yet, oldest first.
//!
//! Invariant: bounded; a message keeps everything needed to publish it again.

use std::collections::VecDeque;

use domain::ProductId;
use domain::contract::order_message::{self, OrderBatch};
use lapin::types::FieldTable;
use service::trace;
use tokio::sync::oneshot;

use super::Submission;

/// Unconfirmed messages at most: what saturates a quorum queue, with room to spare.
pub(super) const MESSAGES_MAX: usize = 512;
/// Orders after which a message takes no further micro-batch, some 100 kB.
pub(super) const ORDERS_PER_MESSAGE: usize = 1024;

/// One message with what must happen once it is confirmed.
#[derive(Debug)]
pub(super) struct Message {
    /// AMQP body.
    pub(super) body: Vec<u8>,
    /// Names the requests in it that are followed; `None` when there are none.
    pub(super) headers: Option<FieldTable>,
    /// Orders in it.
    pub(super) orders: usize,
    /// Outbox entries to delete.
    pub(super) entries: Vec<(ProductId, String)>,
    /// Who waits.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

impl Message {
    /// One message of these submissions.
    pub(super) fn of(submissions: Vec<Submission>) -> Self {
        let traced = submissions.iter().flat_map(|s| s.traced.iter().map(AsRef::as_ref));
        let headers = trace::to_headers(traced);
        let (batches, waiters): (Vec<OrderBatch>, Vec<_>) =
            submissions.into_iter().map(|s| (s.batch, s.confirmed)).unzip();
        Self {
            headers,
            body: order_message::encode(&batches),
            orders: batches.iter().map(|batch| batch.orders.len()).sum(),
            entries: batches
                .into_iter()
                // The id of an entry whose reply was lost is unknown; the relay deletes that one.
                .filter(|batch| !batch.outbox_id.is_empty())
                .map(|batch| (batch.product, batch.outbox_id))
                .collect(),
            waiters,
        }
    }
}

/// The unconfirmed messages.
#[derive(Debug, Default)]
pub(super) struct Pending {
    messages: VecDeque<Message>,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether another message may be published.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < MESSAGES_MAX
    }

    pub(super) fn push(&mut self, message: Message) -> &Message {
        self.messages.push_back(message);
        &self.messages[self.messages.len() - 1]
    }

    /// The oldest, now that its fate is known.
    pub(super) fn pop(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }
}

/// Whether a message that carries so much takes one more micro-batch, of `batches_max` at most.
pub(super) fn takes_more(batches: usize, batches_max: usize, orders: usize) -> bool {
    batches < batches_max && orders < ORDERS_PER_MESSAGE
}

#[cfg(test)]
mod tests {
    use domain::{Epoch, Quantity, ReservationId, Seq, UserId};

    use super::*;

    fn submission(outbox_id: &str) -> Submission {
        let order = order_message::QueuedOrder {
            id: ReservationId(uuid::Uuid::from_u128(1)),
            user: UserId::new(1).unwrap(),
            quantity: Quantity::ONE,
            seq: Seq(1),
            key: None,
        };
        let batch = OrderBatch {
            outbox_id: outbox_id.to_owned(),
            product: ProductId::new(1).unwrap(),
            epoch: Epoch(1),
            reserved_at_ms: 1,
            orders: vec![order],
        };
        Submission { batch, traced: Vec::new(), confirmed: oneshot::channel().0 }
    }

    #[test]
    fn a_message_carries_every_batch_and_deletes_the_entries_it_knows() {
        let message = Message::of(vec![submission("1-0"), submission(""), submission("3-0")]);
        assert_eq!((message.orders, message.waiters.len()), (3, 3));
        let ids: Vec<_> = message.entries.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(ids, ["1-0", "3-0"]);
        assert_eq!(order_message::decode(&message.body).unwrap().len(), 3);
    }

    #[test]
    fn messages_and_what_waits_for_a_confirm_are_bounded() {
        assert!(takes_more(1, 2, 1) && !takes_more(1, 1, 1));
        assert!(!takes_more(2, 2, 1) && !takes_more(1, 2, ORDERS_PER_MESSAGE));
        let mut pending = Pending::default();
        for _ in 0..MESSAGES_MAX {
            assert!(pending.has_room());
            pending.push(Message::of(vec![submission("1-0")]));
        }
        assert!(!pending.has_room());
    }
}
