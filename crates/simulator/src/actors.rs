//! The processes: the programs' own steps, called in loops as short as the programs' are.
//!
//! Owns only what the programs do with sockets and timers. Everything that decides is the
//! programs' code: the edge's call and what follows from it, vouching, telling, settling,
//! relaying.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use books::effects::{Effects, EffectsError};
use books::report::Report;
use domain::contract::keys;
use domain::contract::order_message::{self, OrderBatch, QueuedOrder};
use domain::{Epoch, IdempotencyKey, ProductId, Quantity, ReservationId, Reserved, UserId};
use edge::reserve::call::{self, Next, Tries};
use edge::reserve::reply::{Decided, decode};
use edge::reserve::{Proposal, ReserveError, script};
use prometheus_client::registry::Registry;
use service::postgres::DatabaseError;
use service::redis_pool::{LoadedScript, RedisCalls};
use settler::consume::broker::Publish;
use settler::gatekeeper::compare::{Step, catch_up, compare_all};
use settler::gatekeeper::node::{judge_info, read_info};
use settler::gatekeeper::vouch::Voucher;
use settler::metrics::Metrics;
use settler::relay::Relay;
use settler::settle::decide::{SettleOrder, arrange};
use settler::settle::{Belief, Ledger, SettleError, Settled, record_batch};

use crate::executor::Process;
use crate::ledger::{Connection, Transaction};
use crate::mutant::Mutant;
use crate::port::{Port, World};

/// How long a call to Redis may take, in Redis time.
const DEADLINE_MS: i64 = 250;
/// Calls before an edge gives up on a batch.
const CALLS_MAX: u32 = 5;
/// An outbox of this many entries sheds.
const OUTBOX_MAX: u32 = 6;
/// Age of an outbox entry the relay takes for abandoned.
const RELAY_AGE: Duration = Duration::from_millis(150);
/// Buyers who press while things break; afterwards each is new.
pub(crate) const USERS: i64 = 16;

/// What all processes share that is not the world.
#[derive(Clone)]
pub(crate) struct Sale {
    pub(crate) product: ProductId,
    /// Whether anybody presses Buy.
    pub(crate) selling: Arc<std::sync::atomic::AtomicBool>,
}

type Waiting = Arc<Mutex<VecDeque<(OrderBatch, bool)>>>;

/// An edge that reserves.
pub(crate) async fn reserve(port: Port, sale: Sale, waiting: Waiting) {
    let script = script();
    loop {
        port.rest().await;
        if !sale.selling.load(std::sync::atomic::Ordering::Relaxed) {
            continue;
        }
        let mut proposals = port.world(|world| {
            let count = world.dice.usize(1..=3);
            (0..count).map(|_| press(world)).collect::<Vec<_>>()
        });
        match decide(&port, &sale, &script, &mut proposals).await {
            Ok(decided) => answer(&port, &sale, &waiting, decided, &proposals),
            Err(ReserveError::Unavailable) => port.world(|world| {
                proposals.iter().for_each(|proposal| world.told.refused(proposal.user.get()));
            }),
            Err(ReserveError::OutcomeUnknown) => {}
        }
    }
}

/// A UUIDv7, as an edge proposes it.
fn candidate(world: &mut World) -> ReservationId {
    let (ms, mut random) = (u64::try_from(world.now_ms).unwrap_or(0), [0; 10]);
    world.dice.fill(&mut random);
    ReservationId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
}

/// One press of Buy.
fn press(world: &mut World) -> Proposal {
    let user = if world.calm {
        USERS + 1 + i64::try_from(world.told.attempts).unwrap_or(0)
    } else {
        world.dice.i64(1..=USERS)
    };
    world.told.asked(user);
    let units = if world.calm { 1 } else { world.dice.i64(1..=2) };
    Proposal {
        user: UserId::new(user).expect("users count from 1"),
        quantity: Quantity::new(units).expect("one or two"),
        candidate: candidate(world),
        key: key_of(user),
        traced: None,
    }
}

/// Every other user sends an idempotency key, always the same one.
fn key_of(user: i64) -> Option<IdempotencyKey> {
    (user % 2 == 0).then(|| IdempotencyKey::from_stored(user))
}

async fn decide(
    port: &Port,
    sale: &Sale,
    script: &LoadedScript,
    proposals: &mut [Proposal],
) -> Result<Decided, ReserveError> {
    let mut tries = Tries::default();
    for n in 1.. {
        let deadline = port.world(|world| world.now_ms) + DEADLINE_MS;
        if port.is(Mutant::NewCandidates) {
            for proposal in &mut *proposals {
                proposal.candidate = port.world(candidate);
            }
        }
        let command = call::command(script, sale.product, deadline, OUTBOX_MAX, proposals.iter());
        let reply = port.call(script, &command).await;
        let outcome = reply.map(|value| decode(&value, proposals.iter()));
        match tries.after(outcome, n < CALLS_MAX) {
            Next::Answer(decided) => return Ok(decided),
            Next::Again => port.rest().await,
            Next::Fail(error) => return Err(error),
        }
    }
    Err(ReserveError::OutcomeUnknown)
}

fn answer(port: &Port, sale: &Sale, waiting: &Waiting, decided: Decided, proposals: &[Proposal]) {
    let mut orders = Vec::new();
    port.world(|world| {
        for (proposal, reserved) in proposals.iter().zip(decided.answers) {
            let user = proposal.user;
            match reserved {
                Reserved::Accepted(holder) => orders.push(QueuedOrder::of(user, &holder)),
                Reserved::AlreadyPurchased(holder) => {
                    // Whoever sends a key always sends the same one.
                    world.told.key_forgotten |= proposal.key.is_some();
                    world.told.owns(user.get(), holder.id);
                }
                Reserved::Replayed(holder) => world.told.owns(user.get(), holder.id),
                other => {
                    world.told.sold_out_in_a_row += u32::from(other == Reserved::SoldOut);
                    world.told.refused(user.get());
                }
            }
        }
        if orders.is_empty() {
            return;
        }
        // Now and then the confirm is late and buyers are told on the strength of the outbox.
        let told = world.dice.u8(..4) == 0;
        if told {
            orders.iter().for_each(|order| world.told.accepted(order.user.get(), order.id));
        }
        *world.told.unconfirmed.entry(port.process).or_default() += 1;
        let batch = OrderBatch {
            outbox_id: decided.outbox_id,
            product: sale.product,
            epoch: decided.epoch,
            reserved_at_ms: decided.redis_ms,
            orders,
        };
        waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((batch, told));
    });
}

/// An edge that publishes: a batch is kept until it is confirmed.
pub(crate) async fn publish(mut port: Port, waiting: Waiting) {
    let lock =
        |waiting: &Waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner).front().cloned();
    loop {
        port.rest().await;
        let Some((batch, told)) = lock(&waiting) else { continue };
        let confirmed = port.publish_confirmed(&order_message::encode([&batch])).await.is_ok();
        if !confirmed && !port.is(Mutant::NoRepublish) {
            continue;
        }
        port.world(|world| {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            *world.told.unconfirmed.entry(port.process).or_default() -= 1;
            if !told {
                let orders = batch.orders.iter();
                orders.for_each(|order| world.told.accepted(order.user.get(), order.id));
            }
        });
        if !batch.outbox_id.is_empty() {
            let mut delete = redis::cmd("XDEL");
            delete.arg(keys::outbox(batch.product)).arg(&batch.outbox_id);
            // What stays is the relay's.
            let _ = port.query(&delete).await;
        }
    }
}

/// A settler that consumes.
pub(crate) async fn consume(port: Port) {
    let effects = Effects::new(port.clone());
    loop {
        port.rest().await;
        let deliveries = port.world(|world| {
            let count = world.dice.usize(1..=3);
            let dice = &mut world.dice;
            (0..count).filter_map(|_| world.queue.deliver(port.process, dice)).collect::<Vec<_>>()
        });
        let tags: Vec<u64> = deliveries.iter().map(|(tag, _)| *tag).collect();
        let mut batches: Vec<OrderBatch> = deliveries
            .iter()
            .flat_map(|(_, body)| order_message::decode(body).expect("an edge wrote it"))
            .collect();
        if batches.is_empty() {
            continue;
        }
        if port.is(Mutant::AckBeforeCommit) {
            port.world(|world| world.queue.ack(port.process, &tags));
        }
        let reports = settle(&port, &mut batches).await;
        port.pause().await;
        port.world(|world| world.queue.ack(port.process, &tags));
        port.pause().await;
        for report in reports {
            // What Redis is not told the leader makes up for.
            let _ = report.tell(&effects, &port).await;
        }
    }
}

async fn settle(port: &Port, batches: &mut [OrderBatch]) -> Vec<Report> {
    loop {
        if port.is(Mutant::NoLateOrders) {
            let epoch = port.world(|world| world.database.committed.sale.epoch);
            batches.iter_mut().for_each(|batch| batch.epoch = Epoch(epoch.0));
        }
        let orders = arrange(&*batches);
        let settled = match settle_in_one(port, &orders, Belief::AllNew).await {
            Ok(None) => settle_in_one(port, &orders, Belief::Mixed).await,
            settled => settled,
        };
        match settled {
            Ok(Some(settled)) => return settled.reports,
            Ok(None) => port.rest().await,
            Err(SettleError::Database(DatabaseError::Transient(_))) => port.rest().await,
            Err(error) => port.world(|world| {
                world.redis.violation = Some(format!("settling stops for ever: {error}"));
            }),
        }
    }
}

/// One transaction; `None` when it has to begin again.
async fn settle_in_one(
    port: &Port,
    orders: &[SettleOrder],
    belief: Belief,
) -> Result<Option<Settled>, SettleError> {
    let transaction = Transaction::begin(port);
    let products = transaction.lock_products(orders).await?;
    let settled = record_batch(&transaction, orders, &products, belief).await?;
    if settled.is_some() {
        transaction.commit().await?;
    }
    Ok(settled)
}

/// A settler that vouches and tells, when it leads or believes so.
pub(crate) async fn keep_the_gate(port: Port, sale: Sale) {
    let effects = Effects::new(port.clone());
    let voucher = Voucher::new(port.clone());
    let mut connection = Connection::new(port.clone());
    loop {
        port.rest().await;
        let leads = port.world(|world| {
            let believes = !world.calm && world.dice.u8(..8) == 0;
            port.process == Process::Settler(0) || believes
        });
        if leads {
            // What fails is tried again with the next look.
            let _ = look(&port, &sale, &effects, &voucher, &mut connection).await;
        }
    }
}

async fn look(
    port: &Port,
    sale: &Sale,
    effects: &Effects<Port>,
    voucher: &Voucher<Port>,
    connection: &mut Connection,
) -> Result<(), EffectsError> {
    let Ok(node) = judge_info(&read_info(port, &keys::sale(sale.product)).await?) else {
        return Ok(());
    };
    let known = port.world(|world| world.database.committed.sale.clone());
    let known = std::slice::from_ref(&known);
    for step in compare_all(port, known, &node).await? {
        match step {
            // Nobody changes the sale here.
            Step::Nothing | Step::Update => {}
            Step::Tell { applied } => catch_up(effects, port, &known[0], applied).await?,
            Step::Vouch { .. } => {
                voucher.vouch(connection, effects, sale.product, &node).await?;
            }
        }
    }
    Ok(())
}

/// A settler that relays.
pub(crate) async fn relay(port: Port, sale: Sale) {
    let mut relay = Relay {
        redis: port.clone(),
        publisher: port.clone(),
        age: RELAY_AGE,
        metrics: Metrics::register(&mut Registry::default()),
    };
    loop {
        port.rest().await;
        if !port.is(Mutant::NoRelay) {
            // What is not confirmed stays in the outbox.
            let _ = relay.round(&[sale.product]).await;
        }
    }
}
