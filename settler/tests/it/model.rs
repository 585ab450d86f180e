//! The real scripts in a real Redis against the pure model: the same after every random step.
//!
//! `MODEL_SEED` repeats a run; `MODEL_STEPS` makes it longer.

mod operators;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::contract::keys;
use domain::model::{
    Asked, Begun, Decision, Effect, EffectKind, Loaded, Mark, Model, Opened, Opening, Vouch,
};
use domain::{Epoch, Holder, IdempotencyKey, Quantity, ReservationId, Seq};
use redis::{Cmd, Value};
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool, RedisPoolSettings};
use stack::{Server, Stack, StackOptions};

use crate::fixture::{DEADLINE, product};
use crate::reserve_reply::answers;

const HOUR_MS: i64 = 3_600_000;
const TOTAL: i64 = 60;
const ELSEWHERE: &str = "0000000000000000000000000000000000000000";

/// Numbers from a seed.
struct Dice(fastrand::Rng);

impl Dice {
    /// From 0 to `n` - 1.
    fn below(&mut self, n: i64) -> i64 {
        self.0.i64(0..n)
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}

/// Redis and the model side by side.
struct Pair {
    redis: RedisPool,
    scripts: BTreeMap<&'static str, LoadedScript>,
    replid: String,
    model: Model,
    dice: Dice,
    /// Reservation ids that were proposed, by user.
    proposed: BTreeMap<i64, ReservationId>,
    /// Answers that occurred, by name.
    seen: BTreeMap<String, u64>,
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn ints(value: &Value) -> Vec<i64> {
    let Value::Array(items) = value else {
        return vec![redis::from_redis_value_ref(value).unwrap()];
    };
    items.iter().filter_map(|item| redis::from_redis_value_ref(item).ok()).collect()
}

impl Pair {
    async fn call(&self, script: &str, more: impl FnOnce(&mut Cmd)) -> Value {
        let script = &self.scripts[script];
        let product = product();
        let names = [keys::sale(product), keys::buyers(product), keys::outbox(product)];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut command = script.command(&names);
        more(&mut command);
        self.redis.call(script, &command).await.unwrap()
    }

    fn note(&mut self, answer: &impl std::fmt::Debug) {
        *self.seen.entry(format!("{answer:?}")).or_default() += 1;
    }

    fn user(&mut self) -> i64 {
        1 + self.dice.below(120)
    }

    fn new_id(&mut self) -> ReservationId {
        ReservationId(uuid::Uuid::from_u128(self.dice.0.u128(..)))
    }

    /// Sometimes more than the limit.
    fn quantity(&mut self) -> Quantity {
        Quantity::new(1 + self.dice.below(3)).unwrap()
    }

    /// One of few, so that they meet again.
    fn key(&mut self) -> Option<IdempotencyKey> {
        let key = self.dice.below(4);
        (key > 0).then(|| IdempotencyKey::from_stored(-key))
    }

    fn holder(&mut self, user: i64) -> Holder {
        let present = self.model.buyers.get(&user).copied();
        match present {
            Some(present) if !self.dice.one_in(3) => present,
            _ => {
                let (id, quantity) = (self.new_id(), self.quantity());
                Holder { id, quantity, seq: Seq(1 + self.dice.below(50)), key: self.key() }
            }
        }
    }

    /// The epoch claimed, or now and then one that was outrun.
    fn claim(&mut self) -> Epoch {
        let claim = self.model.claim.unwrap_or(Epoch(0));
        if self.dice.one_in(5) { Epoch(claim.0 - 1) } else { claim }
    }

    async fn reserve(&mut self) {
        let mut batch = Vec::new();
        for _ in 0..=self.dice.below(7) {
            let user = self.user();
            let again = self.proposed.get(&user).copied().filter(|_| self.dice.one_in(3));
            let candidate = again.unwrap_or_else(|| self.new_id());
            self.proposed.insert(user, candidate);
            batch.push(Asked { user, quantity: self.quantity(), candidate, key: self.key() });
        }
        let now = now_ms();
        let deadline = if self.dice.one_in(12) { now - HOUR_MS } else { now + HOUR_MS };
        let bound = if self.dice.one_in(10) { self.model.outbox } else { usize::MAX >> 12 };
        let reply = self.call("reserve", |command| {
            command.arg(deadline).arg(bound).arg(batch.len());
            batch.iter().for_each(|asked| _ = command.arg(asked.user));
            for asked in &batch {
                match asked.key {
                    Some(key) => command.arg(format!("{}|{key}", asked.candidate)),
                    None => command.arg(asked.candidate.to_string()),
                };
            }
            batch.iter().for_each(|asked| _ = command.arg(asked.quantity.units()));
        });
        let Value::Array(reply) = reply.await else { panic!("reserve.lua replied no array") };
        let answered = match ints(&reply[0])[0] {
            0 => Decision::Decided(answers(&reply, &batch)),
            1 => Decision::Closed,
            _ => Decision::Stale,
        };
        assert_eq!(answered, self.model.reserve(now, deadline, bound, &batch), "{batch:?}");
        match &answered {
            Decision::Decided(answers) => answers.iter().for_each(|(code, _)| self.note(code)),
            other => self.note(other),
        }
    }

    async fn begin(&mut self) {
        let claimed = self.model.claim.unwrap_or(Epoch(0));
        let epoch = Epoch((claimed.0 + 1 - i64::from(self.dice.one_in(4))).max(1));
        let reply = ints(&self.call("begin_vouch", |command| _ = command.arg(epoch.0)).await);
        let begun = match reply[0] {
            0 => Begun::Claimed(Epoch(reply[1]), reply[2], reply[3]),
            1 => Begun::Outrun,
            _ => Begun::Missing,
        };
        assert_eq!(begun, self.model.begin_vouch(epoch));
        self.note(&format!("{begun:?}").split('(').next().unwrap());
        if begun == Begun::Missing {
            // As a gatekeeper does: what is missing is loaded before anything else.
            let (units, applied) = (self.dice.below(TOTAL), self.dice.below(5));
            let load = self.call("load_sale", |command| {
                command.arg(epoch.0).arg(units).arg(applied);
            });
            assert_eq!(ints(&load.await), [0]);
            assert!(self.model.load_sale(epoch, units, applied));
        }
    }

    async fn adopt(&mut self) {
        let claim = self.claim();
        let users: Vec<i64> = (0..=self.dice.below(4)).map(|_| self.user()).collect();
        let mut holders: Vec<(i64, Holder)> =
            users.into_iter().map(|user| (user, self.holder(user))).collect();
        // PostgreSQL lists a user once.
        holders.sort_by_key(|(user, _)| *user);
        holders.dedup_by_key(|(user, _)| *user);
        let reply = self.call("adopt_buyers", |command| {
            command.arg(claim.0);
            for (user, holder) in &holders {
                command.arg(user).arg(holder.quantity.units()).arg(holder.encode());
            }
        });
        let reply = ints(&reply.await);
        let adopted = (reply[0] == 0).then(|| usize::try_from(reply[1]).unwrap());
        assert_eq!(adopted, self.model.adopt(claim, &holders), "{holders:?}");
        self.note(&if adopted.is_some() { "adopted" } else { "adopting outrun" });
    }

    async fn open(&mut self) {
        let (claim, here) = (self.claim(), !self.dice.one_in(8));
        let settings = self.settings();
        let (version, stock) = (self.dice.below(9), self.dice.below(60));
        let opened = Opened { epoch: claim, rev: 0, version, stock, settings };
        let seq = self.dice.below(40);
        let gone = self.dice.one_in(2).then(|| self.adjustment());
        let window = settings.window;
        let reply = self.call("open_sale", |command| {
            command.arg(claim.0).arg(if here { self.replid.as_str() } else { ELSEWHERE });
            command.arg(keys::FEED_CHANNEL).arg(product().get()).arg(opened.version);
            command.arg(opened.stock).arg(settings.total).arg(settings.limit);
            command.arg(window.opens_at_ms.unwrap_or(0)).arg(window.closes_at_ms.unwrap_or(0));
            command.arg(settings.state.as_str()).arg(seq).arg(settings.sale_version);
            command.arg(gone.map(|id| id.to_string()).unwrap_or_default());
        });
        let opening = match ints(&reply.await)[0] {
            0 => Opening::Opened,
            1 => Opening::Outrun,
            _ => Opening::Restarted,
        };
        assert_eq!(opening, self.model.open_sale(claim, here, seq, opened, gone));
        self.note(&opening);
    }

    async fn report(&mut self) {
        let claim = if self.dice.one_in(3) { Some(self.claim()) } else { None };
        let applied = self.model.loaded.map_or(0, |loaded| loaded.applied);
        let first = applied + 1 - self.dice.below(2) + i64::from(self.dice.one_in(6));
        let mut effects = Vec::new();
        for n in first..first + self.dice.below(4) {
            let user = self.user();
            let holder = self.holder(user);
            let mark = Mark { id: self.adjustment(), units: 1 + self.dice.below(9) };
            let kind = match self.dice.below(6) {
                0..=1 => EffectKind::Adopt(user, holder),
                2..=3 => EffectKind::Void(user, holder),
                4 => EffectKind::Add(mark),
                _ => EffectKind::Withdraw(mark),
            };
            effects.push(Effect { n, kind });
        }
        let (version, stock) = (self.dice.below(15), self.dice.below(60));
        let claim = claim.filter(|claim| claim.0 > 0);
        let reply = self.call("report_stock", |command| {
            command.arg(claim.map_or(0, |claim| claim.0)).arg(keys::FEED_CHANNEL);
            command.arg(product().get()).arg(version).arg(stock).arg("[]");
            for effect in &effects {
                let (kind, order, mark) = match effect.kind {
                    EffectKind::Adopt(user, holder) => ("adopt", Some((user, holder)), None),
                    EffectKind::Void(user, holder) => ("void", Some((user, holder)), None),
                    EffectKind::Add(mark) => ("add", None, Some(mark)),
                    EffectKind::Withdraw(mark) => ("withdraw", None, Some(mark)),
                };
                command.arg(effect.n).arg(kind);
                if let Some((user, holder)) = order {
                    command.arg(user).arg(holder.quantity.units());
                    command.arg(holder.id.to_string()).arg(holder.encode_end());
                }
                if let Some(mark) = mark {
                    command.arg("").arg(mark.units).arg(mark.id.to_string()).arg("");
                }
            }
        });
        let reply = ints(&reply.await);
        let applied = (reply[0] == 0).then_some(reply[1]);
        self.note(&if applied.is_some() { "reported" } else { "reporting closed" });
        assert_eq!(applied, self.model.report(claim, version, stock, &effects), "{effects:?}");
    }

    async fn compare(&self) {
        let mut all = redis::pipe();
        all.cmd("HGETALL").arg(keys::sale(product()));
        all.cmd("HGETALL").arg(keys::buyers(product()));
        all.cmd("XLEN").arg(keys::outbox(product()));
        let replies = self.redis.query_pipeline(&all).await.unwrap();
        let sale: BTreeMap<String, String> = redis::from_redis_value_ref(&replies[0]).unwrap();
        let buyers: BTreeMap<i64, String> = redis::from_redis_value_ref(&replies[1]).unwrap();
        let model = &self.model;
        let held = model.buyers.iter().map(|(user, holder)| (*user, holder.encode())).collect();
        assert_eq!(buyers, held);
        assert_eq!(ints(&replies[2]), [i64::try_from(model.outbox).unwrap()]);
        let mut expected = BTreeMap::new();
        let mut put = |name: &str, value: String| drop(expected.insert(name.to_owned(), value));
        if let Some(claim) = model.claim {
            put("claim", claim.0.to_string());
        }
        if let Some(Loaded { available, seq, applied }) = model.loaded {
            put("available", available.to_string());
            put("seq", seq.to_string());
            put("applied", applied.to_string());
        }
        match model.vouch {
            Vouch::Nobody => {}
            Vouch::ThisNode => put("vouch", self.replid.clone()),
            Vouch::AnotherNode => put("vouch", ELSEWHERE.to_owned()),
        }
        if let Some(opened) = model.opened {
            put("epoch", opened.epoch.0.to_string());
            put("rev", opened.rev.to_string());
            put("version", opened.version.to_string());
            put("stock", opened.stock.to_string());
            let settings = opened.settings;
            put("sale_version", settings.sale_version.to_string());
            put("total", settings.total.to_string());
            put("limit", settings.limit.to_string());
            put("state", settings.state.as_str().to_owned());
            put("opens_at", settings.window.opens_at_ms.unwrap_or(0).to_string());
            put("closes_at", settings.window.closes_at_ms.unwrap_or(0).to_string());
        }
        if let Some(Mark { id, units }) = model.mark {
            put("withdrawing", format!("{id}|{units}"));
        }
        assert_eq!(sale, expected);
    }
}

async fn pair(stack: &Stack, seed: u64) -> Pair {
    let settings = RedisPoolSettings {
        url: stack.redis_url().to_owned(),
        connections_max: 1,
        response_timeout: DEADLINE,
    };
    let redis = RedisPool::connect(&settings, &[]).unwrap();
    let info = redis.query(redis::cmd("INFO").arg("replication")).await.unwrap();
    let info: String = redis::from_redis_value(info).unwrap();
    let replid = info.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap();
    let scripts = BTreeMap::from([
        ("reserve", include_str!("../../../lua/reserve.lua")),
        ("begin_vouch", include_str!("../../../lua/begin_vouch.lua")),
        ("load_sale", include_str!("../../../lua/load_sale.lua")),
        ("adopt_buyers", include_str!("../../../lua/adopt_buyers.lua")),
        ("open_sale", include_str!("../../../lua/open_sale.lua")),
        ("report_stock", include_str!("../../../lua/report_stock.lua")),
        ("update_sale", include_str!("../../../lua/update_sale.lua")),
        ("withdraw_units", include_str!("../../../lua/withdraw_units.lua")),
        ("release_units", include_str!("../../../lua/release_units.lua")),
        ("forget_sale", include_str!("../../../lua/forget_sale.lua")),
    ]);
    let scripts = scripts.into_iter().map(|(name, text)| (name, LoadedScript::new(text))).collect();
    Pair {
        redis,
        scripts,
        replid: replid.trim().to_owned(),
        model: Model::default(),
        dice: Dice(fastrand::Rng::with_seed(seed)),
        proposed: BTreeMap::new(),
        seen: BTreeMap::new(),
    }
}

/// Eleven codes of a request, two of a batch, three each of a claim, an opening, an update and a
/// release, five of a withdrawal, two each of the other scripts.
const OUTCOMES: usize = 11 + 2 + 4 * 3 + 5 + 3 * 2;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test]
async fn the_scripts_do_what_the_model_does() {
    let stack = Stack::start(StackOptions::servers(&[Server::Redis])).await.unwrap();
    let seed = number_from_env("MODEL_SEED", u64::try_from(now_ms()).unwrap());
    let steps = number_from_env("MODEL_STEPS", 10_000);
    eprintln!("MODEL_SEED={seed} MODEL_STEPS={steps}");
    let mut pair = pair(&stack, seed).await;
    let (mut decided, mut taken) = (0, 0);
    // The rarest outcome comes up some five times in so many steps, so it may be a little late.
    while taken < steps || (pair.seen.len() < OUTCOMES && taken < 4 * steps) {
        taken += 1;
        let loaded = pair.model.loaded.is_some();
        match pair.dice.below(100) {
            _ if !loaded => pair.begin().await,
            0..=44 => pair.reserve().await,
            45..=59 => pair.report().await,
            60..=67 => pair.adopt().await,
            68..=80 => pair.open().await,
            81..=84 => pair.update().await,
            85..=90 => pair.withdraw().await,
            91..=92 => pair.release().await,
            93 => pair.forget().await,
            94..=97 => pair.begin().await,
            _ => pair.befall().await,
        }
        decided += u64::from(pair.model.vouch == Vouch::ThisNode);
        pair.compare().await;
    }
    assert!(decided > taken / 5, "the sale was open for {decided} steps only: a weak run");
    eprintln!("{:?}", pair.seen);
    assert_eq!(pair.seen.len(), OUTCOMES, "{:?}", pair.seen);
    stack.shutdown().await;
}
