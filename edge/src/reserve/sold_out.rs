//! Sold out, told from memory: a sale without units and everybody who owns an order of it.
//!
//! Owns the set of owners, how it is loaded and when it is dropped; `reserve.lua` stays the only
//! one that says "sold out" first.
//! Invariant: everybody is told what the script told them when Redis was asked last. The set is
//! used only while epoch, seq and last effect are those it was loaded at, not after a frame of
//! the feed that says otherwise, and never longer than [`STALE_MAX`] after Redis was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use domain::contract::keys;
use domain::{Epoch, Holder, ProductId, Reserved, Seq};
use redis::Value;
use service::redis_pool::{LoadedScript, RedisCallError, RedisCalls};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Proposal;
use super::clock::RedisClock;

const PROBE_SALE: &str = include_str!("../../../lua/probe_sale.lua");

/// How often Redis is asked whether the sale still is sold out: units that return are sold again
/// within this time and a round trip.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// An answer older than this is no answer: a probe was late, or Redis is away.
const STALE_MAX: Duration = Duration::from_millis(250);
/// Owners kept of one sale at most, 8 bytes each; of a larger one Redis answers.
const OWNERS_MAX: usize = 1_000_000;
/// Owners whose reservations are kept as well, 56 bytes each; of more Redis answers the owners.
const HOLDERS_MAX: usize = 65_536;
/// A sale nobody was refused for in so many probes is not watched any longer.
const IDLE_PROBES_MAX: u32 = 50;
/// Until a sale that was too large is tried again: reading it costs Redis as much as keeping it.
const TOO_LARGE_PAUSE: Duration = Duration::from_secs(60);
/// Owners one HSCAN returns, give or take: some 200 µs of Redis time.
const OWNERS_PER_SCAN: usize = 512;

/// The codes of `probe_sale.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeCode {
    SoldOut,
    Selling,
    Closed,
}

impl ProbeCode {
    const ALL: [(i64, &'static str, Self); 3] = [
        (0, "SOLD_OUT", Self::SoldOut),
        (1, "SELLING", Self::Selling),
        (2, "CLOSED", Self::Closed),
    ];
}

/// A sale without units, at one moment of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    epoch: Epoch,
    seq: Seq,
    applied: i64,
    limit: i64,
    closes_at_ms: i64,
}

/// A sold-out sale as one edge knows it.
#[derive(Debug)]
struct Owners {
    moment: Moment,
    /// Everybody who owns an order, sorted.
    users: Vec<i64>,
    /// What they own, sorted by user; left out is what no script of ours wrote.
    holders: Vec<(i64, Holder)>,
    loaded: Instant,
    /// When Redis was asked last that confirmed it, ms after `loaded`.
    confirmed_ms: AtomicU64,
    /// Somebody was answered since the last probe.
    used: AtomicBool,
}

impl Owners {
    /// What the script would say; `None` when only the script knows.
    fn answer(&self, proposal: &Proposal, redis_ms: i64, now: Instant) -> Option<Reserved> {
        let confirmed = Duration::from_millis(self.confirmed_ms.load(Ordering::Relaxed));
        if now.saturating_duration_since(self.loaded + confirmed) >= STALE_MAX {
            return None;
        }
        let user = proposal.user.get();
        if self.users.binary_search(&user).is_ok() {
            let at = self.holders.binary_search_by_key(&user, |(user, _)| *user).ok()?;
            let holder = self.holders[at].1;
            let is_replay = proposal.key.is_some() && proposal.key == holder.key;
            return Some(match is_replay {
                true => Reserved::Replayed(holder),
                false => Reserved::AlreadyPurchased(holder),
            });
        }
        let ended = self.moment.closes_at_ms > 0 && redis_ms >= self.moment.closes_at_ms;
        let sells = !ended && proposal.quantity.units() <= self.moment.limit;
        sells.then_some(Reserved::SoldOut)
    }

    fn confirm(&self, asked: Instant) {
        let ms = asked.saturating_duration_since(self.loaded).as_millis();
        self.confirmed_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Why a sale is watched no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is not sold out, or not as it was.
    Changed,
    /// It has more owners than are kept.
    TooLarge,
    /// Nobody asks for it.
    Idle,
}

/// What is known of one product. Empty while units may be had.
#[derive(Debug, Default)]
pub(super) struct SoldOut {
    owners: ArcSwapOption<Owners>,
    watched: AtomicBool,
}

impl SoldOut {
    /// What this buyer is told without asking Redis, if nothing is left and that is known.
    pub(super) fn answer(
        &self,
        proposal: &Proposal,
        clock: &RedisClock,
        now: Instant,
    ) -> Option<Reserved> {
        let owners = self.owners.load();
        let owners = owners.as_ref()?;
        // Without Redis's time nothing is known of the window.
        let answer = owners.answer(proposal, clock.at(now)?, now)?;
        owners.used.store(true, Ordering::Relaxed);
        Some(answer)
    }

    /// Forgets what a frame of the feed contradicts: units are back, or the sale begins anew.
    pub(super) fn note_frame(&self, epoch: Epoch, available: i64) {
        let contradicts = |owners: &Arc<Owners>| epoch > owners.moment.epoch || available > 0;
        if self.owners.load().as_ref().is_some_and(contradicts) {
            self.owners.store(None);
        }
    }

    /// Whether the caller is the one to start a [`Watcher`].
    pub(super) fn begin_watching(&self) -> bool {
        !self.watched.swap(true, Ordering::Relaxed)
    }
}

/// Loads who owns what, and watches the sale until it is not sold out any more.
pub(super) struct Watcher<R> {
    pub(super) product: ProductId,
    pub(super) redis: R,
    pub(super) sold_out: Arc<SoldOut>,
    pub(super) stop: CancellationToken,
}

impl<R: RedisCalls> Watcher<R> {
    /// Runs until units may be had, Redis does not answer, or `stop`.
    pub(super) async fn run(self) {
        let script = LoadedScript::new(PROBE_SALE);
        let watch = async {
            let ended = self.watch(&script).await;
            self.sold_out.owners.store(None);
            let pause = if ended == Ok(Ended::TooLarge) { TOO_LARGE_PAUSE } else { PROBE_EVERY };
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            () = watch => {}
            () = self.stop.cancelled() => {}
        }
        self.sold_out.owners.store(None);
        self.sold_out.watched.store(false, Ordering::Relaxed);
    }

    /// Errors carry nothing: a Redis that does not answer ends what is known of it.
    async fn watch(&self, script: &LoadedScript) -> Result<Ended, ()> {
        let owners = match self.load(script).await.map_err(|_| ())? {
            Ok(owners) => Arc::new(owners),
            Err(ended) => return Ok(ended),
        };
        self.sold_out.owners.store(Some(owners.clone()));
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle = 0;
        while idle < IDLE_PROBES_MAX {
            ticks.tick().await;
            idle = if owners.used.swap(false, Ordering::Relaxed) { 0 } else { idle + 1 };
            let asked = Instant::now();
            if self.probe(script).await.map_err(|_| ())? != Some(owners.moment) {
                return Ok(Ended::Changed);
            }
            owners.confirm(asked);
        }
        Ok(Ended::Idle)
    }

    /// Everybody who owns an order, if nothing changed while they were read.
    async fn load(&self, script: &LoadedScript) -> Result<Result<Owners, Ended>, RedisCallError> {
        let Some(moment) = self.probe(script).await? else { return Ok(Err(Ended::Changed)) };
        let (mut users, mut holders) = (Vec::new(), Vec::new());
        let mut cursor = 0;
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(keys::buyers(self.product)).arg(cursor).arg("COUNT").arg(OWNERS_PER_SCAN);
            let reply = self.redis.query(&scan).await?;
            let Some((next, found)) = read_scan(&reply) else { return Ok(Err(Ended::Changed)) };
            users.extend(found.iter().map(|(user, _)| *user));
            if users.len() > OWNERS_MAX {
                return Ok(Err(Ended::TooLarge));
            }
            match users.len() <= HOLDERS_MAX {
                true => holders.extend(found.iter().filter_map(parse_holder)),
                false => holders = Vec::new(),
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        // A scan may name somebody twice.
        users.sort_unstable();
        users.dedup();
        holders.sort_unstable_by_key(|(user, _)| *user);
        holders.dedup_by_key(|(user, _)| *user);
        let loaded = Instant::now();
        if self.probe(script).await? != Some(moment) {
            return Ok(Err(Ended::Changed));
        }
        let (confirmed_ms, used) = (AtomicU64::new(0), AtomicBool::new(true));
        Ok(Ok(Owners { moment, users, holders, loaded, confirmed_ms, used }))
    }

    /// The moment a sold-out sale is in; `None` when it is not sold out, or closed.
    async fn probe(&self, script: &LoadedScript) -> Result<Option<Moment>, RedisCallError> {
        let command = script.command(&[&keys::sale(self.product)]);
        Ok(read_probe(&self.redis.call(script, &command).await?))
    }
}

fn read_probe(reply: &Value) -> Option<Moment> {
    let numbers: [i64; 7] = redis::from_redis_value_ref::<Vec<i64>>(reply).ok()?.try_into().ok()?;
    let [code, _, epoch, seq, applied, limit, closes_at_ms] = numbers;
    let (.., code) = ProbeCode::ALL.into_iter().find(|(number, ..)| *number == code)?;
    match code {
        ProbeCode::SoldOut => {
            Some(Moment { epoch: Epoch(epoch), seq: Seq(seq), applied, limit, closes_at_ms })
        }
        ProbeCode::Selling | ProbeCode::Closed => None,
    }
}

/// Reads one HSCAN reply: the next cursor, and users with the texts of what they own; `None` when
/// it has another shape.
fn read_scan(reply: &Value) -> Option<(u64, Vec<(i64, String)>)> {
    redis::from_redis_value_ref(reply).ok()
}

fn parse_holder((user, text): &(i64, String)) -> Option<(i64, Holder)> {
    Some((*user, Holder::parse(text)?))
}

#[cfg(test)]
mod tests {
    use domain::{IdempotencyKey, Quantity, ReservationId, UserId};
    use uuid::Uuid;

    use super::*;

    fn owners(loaded: Instant) -> Owners {
        let moment =
            Moment { epoch: Epoch(1), seq: Seq(9), applied: 0, limit: 2, closes_at_ms: 5_000 };
        let (confirmed_ms, used) = (AtomicU64::new(0), AtomicBool::new(false));
        let holders = vec![(3, holder(3, None)), (7, holder(7, Some(70)))];
        Owners { moment, users: vec![3, 7, 9], holders, loaded, confirmed_ms, used }
    }

    fn holder(seq: i64, key: Option<i64>) -> Holder {
        let key = key.map(IdempotencyKey::from_stored);
        Holder { id: ReservationId(Uuid::nil()), quantity: Quantity::ONE, seq: Seq(seq), key }
    }

    fn proposal(user: i64, units: i64, key: Option<i64>) -> Proposal {
        Proposal {
            user: UserId::new(user).unwrap(),
            quantity: Quantity::new(units).unwrap(),
            candidate: ReservationId(Uuid::max()),
            key: key.map(IdempotencyKey::from_stored),
            traced: None,
        }
    }

    fn refuses(owners: &Owners, user: i64, units: i64, redis_ms: i64, now: Instant) -> bool {
        owners.answer(&proposal(user, units, None), redis_ms, now) == Some(Reserved::SoldOut)
    }

    #[test]
    fn owners_hear_of_their_own_reservation_while_it_is_known() {
        let now = Instant::now();
        let owners = owners(now);
        let told = |user, key, redis_ms, now| owners.answer(&proposal(user, 9, key), redis_ms, now);
        let (three, seven) = (holder(3, None), holder(7, Some(70)));
        assert_eq!(told(3, None, 4_999, now), Some(Reserved::AlreadyPurchased(three)));
        let ended = told(3, Some(70), 5_000, now);
        assert_eq!(ended, Some(Reserved::AlreadyPurchased(three)), "whether it sells or not");
        assert_eq!(told(7, Some(70), 4_999, now), Some(Reserved::Replayed(seven)));
        assert_eq!(told(7, Some(71), 4_999, now), Some(Reserved::AlreadyPurchased(seven)));
        assert_eq!(told(7, None, 4_999, now), Some(Reserved::AlreadyPurchased(seven)));
        assert_eq!(told(9, None, 4_999, now), None, "only Redis knows what this one owns");
        assert_eq!(told(3, None, 4_999, now + STALE_MAX), None);
    }

    #[test]
    fn only_strangers_of_a_running_sale_are_refused_and_not_for_long() {
        let now = Instant::now();
        let owners = owners(now);
        assert!(refuses(&owners, 4, 1, 4_999, now));
        assert!(!refuses(&owners, 4, 3, 4_999, now), "over the limit comes first");
        assert!(!refuses(&owners, 4, 1, 5_000, now), "the sale has ended");
        let later = now + STALE_MAX;
        assert!(!refuses(&owners, 4, 1, 4_999, later), "nobody confirmed it since");
        owners.confirm(later);
        assert!(refuses(&owners, 4, 1, 4_999, later));
    }

    #[test]
    fn a_frame_with_units_or_of_a_later_life_is_believed_at_once() {
        let now = Instant::now();
        let known = |epoch, available| {
            let sold_out = SoldOut::default();
            sold_out.owners.store(Some(Arc::new(owners(now))));
            sold_out.note_frame(Epoch(epoch), available);
            sold_out.owners.load().is_some()
        };
        assert!(known(1, 0) && known(0, 0));
        assert!(!known(1, 1) && !known(2, 0));
    }

    #[test]
    fn a_probe_tells_the_moment_of_a_sold_out_sale_and_nothing_else() {
        let reply = |numbers: [i64; 7]| Value::Array(numbers.map(Value::Int).to_vec());
        let moment = read_probe(&reply([0, 1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((moment.epoch, moment.seq, moment.applied), (Epoch(2), Seq(3), 4));
        assert_eq!((moment.limit, moment.closes_at_ms), (5, 6));
        assert_eq!(read_probe(&reply([1, 1, 0, 0, 0, 0, 0])), None);
        assert_eq!(read_probe(&reply([2, 1, 0, 0, 0, 0, 0])), None);
        assert_eq!(read_probe(&Value::Nil), None);
    }

    #[test]
    fn a_scan_names_users_and_where_to_go_on() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = Value::Array(vec![bulk("12"), bulk("id|1|1"), bulk("11"), bulk("id|1|2")]);
        let (next, found) = read_scan(&Value::Array(vec![bulk("7"), fields])).unwrap();
        assert_eq!((next, found[0].0, found[1].0, found.len()), (7, 12, 11, 2));
        assert_eq!(found.iter().filter_map(parse_holder).count(), 0, "no script wrote these");
        assert_eq!(read_scan(&Value::Okay), None);
    }

    #[test]
    fn the_script_header_lists_exactly_these_codes_and_its_body_uses_them() {
        for (number, name, _) in ProbeCode::ALL {
            assert!(PROBE_SALE.contains(&format!("--   {number} {name} ")), "{name}");
            assert!(PROBE_SALE.contains(&format!("local {name} = {number}\n")), "{name}");
            assert!(PROBE_SALE.contains(&format!("return {{ {name},")), "{name}");
        }
        let listed = PROBE_SALE
            .lines()
            .filter(|line| line.starts_with("--   "))
            .filter(|line| line.as_bytes().get(5).is_some_and(u8::is_ascii_digit));
        assert_eq!(listed.count(), ProbeCode::ALL.len());
    }
}
