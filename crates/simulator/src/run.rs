//! One run: processes and servers under a seeded schedule of faults, then quiet, then judgement.
//!
//! Invariant: a seed and a mutant always make the same run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::ProductId;
use fastrand::Rng;
use settler::reconcile::Stranded;
use settler::sweeper::sweep;

use crate::actors::{self, Sale};
use crate::executor::{Executor, Process};
use crate::holds;
use crate::ledger::{Database, Transaction};
use crate::mutant::Mutant;
use crate::port::{Port, Weather, World};
use crate::redis_nodes::RedisNodes;
use crate::scripts::Scripts;
use crate::tables::Tables;
use crate::told::balance;

/// Units on sale: few, so that they run short while things break.
const UNITS: i64 = 10;
/// Units one order may have.
const LIMIT: i64 = 2;
/// Steps during which things break.
const BREAKING_STEPS: u32 = 6_000;
/// Steps until everything must be quiet: several times what a sound run needs.
const QUIET_STEPS_MAX: u32 = 40_000;
/// One fault in so many steps.
const FAULT_EVERY: u32 = 150;
/// Refusals in a row that mean sold out.
const SOLD_OUT: u32 = 5;
/// How long orders are held in every other run. No clock runs: any held order may expire.
const HOLD_SECONDS: i32 = 60;
const EDGES: usize = 2;
const SETTLERS: usize = 2;

/// What a sound run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps of all processes.
    pub steps: u64,
    /// Faults injected.
    pub faults: u64,
    /// Presses of Buy.
    pub attempts: u64,
    /// 202s.
    pub accepted: u64,
    /// Reservations Redis lost.
    pub lost_by_redis: u64,
    /// Orders that were cancelled or expired.
    pub given_up: u64,
}

/// A run in which an invariant broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Makes the run again.
    pub seed: u64,
    /// Which invariant, and how.
    pub what: String,
}

/// Compiled scripts, reused by every run of one mutant.
pub struct Simulation {
    scripts: Arc<Scripts>,
    mutant: Option<Mutant>,
}

impl Simulation {
    /// The protocol as it is, or with a step taken out.
    ///
    /// # Errors
    /// When a script does not compile, or a mutant changes nothing.
    pub fn new(mutant: Option<Mutant>) -> anyhow::Result<Self> {
        let edits = mutant.map(Mutant::edits).unwrap_or_default();
        for (from, _) in &edits {
            anyhow::ensure!(Scripts::occurs(from), "no script contains {from:?}");
        }
        Ok(Self { scripts: Arc::new(Scripts::compile(&edits)?), mutant })
    }

    /// Runs one schedule.
    ///
    /// # Errors
    /// The invariant that broke.
    pub fn run(&self, seed: u64) -> Result<Tally, Broken> {
        let mut run = Run::new(self, seed);
        run.all().map_err(|what| Broken { seed, what })?;
        Ok(run.world(|world| Tally {
            attempts: world.told.attempts,
            accepted: world.told.accepted,
            lost_by_redis: world.redis.lost.len() as u64,
            given_up: world.database.committed.given_up().count() as u64,
            ..run.tally
        }))
    }
}

struct Run {
    world: Arc<Mutex<World>>,
    executor: Executor,
    dice: Rng,
    sale: Sale,
    /// Processes that are down or frozen, until this step.
    down: BTreeMap<Process, u64>,
    frozen: BTreeMap<Process, u64>,
    broker_away_until: u64,
    sweeping: Arc<AtomicBool>,
    tally: Tally,
}

impl Run {
    fn new(simulation: &Simulation, seed: u64) -> Self {
        let product = ProductId::new(1).expect("one is an id");
        let mut dice = Rng::with_seed(seed);
        let redis = RedisNodes::new(simulation.scripts.clone(), product, UNITS);
        let hold_seconds = if dice.bool() { HOLD_SECONDS } else { 0 };
        let database = Database::new(Tables::new(product, UNITS, LIMIT, hold_seconds));
        let world = World::new(dice.fork(), redis, database, simulation.mutant);
        let mut run = Self {
            world: Arc::new(Mutex::new(world)),
            executor: Executor::default(),
            dice,
            sale: Sale { product, selling: Arc::new(AtomicBool::new(true)) },
            down: BTreeMap::new(),
            frozen: BTreeMap::new(),
            broker_away_until: 0,
            sweeping: Arc::default(),
            tally: Tally::default(),
        };
        run.processes().for_each(|process| run.start(process));
        run
    }

    fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn processes(&self) -> impl Iterator<Item = Process> + use<> {
        (0..EDGES).map(Process::Edge).chain((0..SETTLERS).map(Process::Settler))
    }

    fn start(&mut self, process: Process) {
        let port = Port::new(self.world.clone(), process);
        let sale = self.sale.clone();
        let product = sale.product;
        match process {
            Process::Edge(_) => {
                let waiting = Arc::default();
                self.executor
                    .spawn(process, actors::reserve(port.clone(), sale, Arc::clone(&waiting)));
                self.executor.spawn(process, actors::publish(port.clone(), waiting));
                self.executor.spawn(process, holds::resolve(port, product));
            }
            Process::Settler(_) => {
                self.executor.spawn(process, actors::consume(port.clone()));
                self.executor.spawn(process, actors::keep_the_gate(port.clone(), sale.clone()));
                self.executor.spawn(process, actors::relay(port.clone(), sale));
                self.executor.spawn(process, holds::expire(port));
            }
            Process::Observer => {}
        }
    }

    fn all(&mut self) -> Result<(), String> {
        for _ in 0..BREAKING_STEPS {
            if self.dice.u32(..FAULT_EVERY) == 0 {
                self.tally.faults += 1;
                self.break_something();
            }
            self.break_while_closed();
            self.step()?;
        }
        self.heal();
        self.sale.selling.store(false, Ordering::Relaxed);
        self.until_quiet()?;
        self.world(|world| balance(&world.database.committed, &world.redis))?;
        // Once more for what somebody gave up while the rest was sold.
        self.sell_the_rest()?;
        self.sell_the_rest()?;
        self.world(|world| world.told.judge(&world.database.committed, &world.redis, world.weather))
    }

    fn sell_the_rest(&mut self) -> Result<(), String> {
        self.sale.selling.store(true, Ordering::Relaxed);
        self.world(|world| world.told.sold_out_in_a_row = 0);
        self.until("the rest was never sold", |run| {
            run.world(|world| world.told.sold_out_in_a_row >= SOLD_OUT)
        })?;
        self.sale.selling.store(false, Ordering::Relaxed);
        self.until_quiet()
    }

    fn step(&mut self) -> Result<(), String> {
        self.tally.steps += 1;
        let now = self.tally.steps;
        let back: Vec<_> =
            self.down.iter().filter(|(_, until)| now >= **until).map(|(p, _)| *p).collect();
        for process in back {
            self.down.remove(&process);
            self.start(process);
        }
        let broker_up = now >= self.broker_away_until;
        let tick = self.dice.i64(0..=1);
        let violation = self.world(|world| {
            world.now_ms += tick;
            world.broker_up = broker_up;
            world.run_ghosts();
            world.redis.violation.take()
        });
        if let Some(what) = violation {
            return Err(what);
        }
        let frozen = &self.frozen;
        let runs = |process: Process| frozen.get(&process).is_none_or(|until| now >= *until);
        self.executor.step(&mut self.dice, runs);
        Ok(())
    }

    fn break_something(&mut self) {
        let weather = self.world(|world| world.weather);
        let settler = Process::Settler(self.dice.usize(..SETTLERS));
        let edge = Process::Edge(self.dice.usize(..EDGES));
        match (weather, self.dice.u8(..10)) {
            (_, 0) => self.freeze(edge),
            (_, 1) => self.freeze(settler),
            (_, 2 | 3) => self.kill(settler),
            (Weather::PartsDie, 4..=6) => self.kill(edge),
            (Weather::PartsDie, 7) => {
                self.broker_away_until = self.tally.steps + self.dice.u64(50..600);
                self.world(|world| {
                    (0..SETTLERS).for_each(|n| world.queue.requeue(Process::Settler(n)));
                });
            }
            (Weather::PartsDie, 8) => self.world(|world| world.redis.restart(0)),
            (Weather::PartsDie, _) => self.world(|world| world.queue.delete()),
            (Weather::RedisForgets, 4 | 5) => {
                let writes = self.dice.usize(..8);
                self.world(|world| world.redis.restart(writes));
            }
            (Weather::RedisForgets, 6) => self.world(|world| world.redis.flush()),
            (Weather::RedisForgets, 7) => {
                let writes = self.dice.usize(..6);
                self.world(|world| world.redis.fail_over(writes));
            }
            (Weather::RedisForgets, _) => {
                let restarted = self.dice.bool();
                self.world(|world| world.redis.fail_back(restarted));
            }
        }
    }

    /// The moments between claiming a node and opening it are few, so they are sought out.
    fn break_while_closed(&mut self) {
        let closed = self.world(|world| {
            let forgets = world.weather == Weather::RedisForgets;
            forgets && !world.redis.is_open(world.redis.primary)
        });
        if closed && self.dice.u32(..FAULT_EVERY) == 0 {
            self.tally.faults += 1;
            let writes = self.dice.usize(..4);
            self.world(|world| world.redis.restart(writes));
        }
    }

    fn freeze(&mut self, process: Process) {
        let until = self.tally.steps + self.dice.u64(20..900);
        self.frozen.insert(process, until);
    }

    fn kill(&mut self, process: Process) {
        self.executor.kill(process);
        let until = self.tally.steps + self.dice.u64(1..300);
        self.down.insert(process, until);
        self.world(|world| {
            world.queue.requeue(process);
            world.told.unconfirmed.remove(&process);
        });
    }

    fn heal(&mut self) {
        self.frozen.clear();
        self.broker_away_until = 0;
        self.down.values_mut().for_each(|until| *until = 0);
        self.world(|world| world.calm = true);
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        for _ in 0..QUIET_STEPS_MAX {
            if done(self) {
                return Ok(());
            }
            self.step()?;
        }
        Err(what.to_owned())
    }

    /// Steps until nothing waits anywhere; then whoever waits nowhere is swept, once.
    fn until_quiet(&mut self) -> Result<(), String> {
        self.until("nothing ever came to rest", Self::is_quiet)?;
        let missing = self.world(|world| {
            let orders = &world.database.committed.orders;
            let holders = world.redis.holders(world.redis.primary);
            let holds = |id| orders.get(id).is_some_and(|row| row.status.holds_units());
            let missing = holders.values().any(|holder| !holds(&holder.id));
            missing && world.mutant != Some(Mutant::NoSweeper)
        });
        if !missing {
            return Ok(());
        }
        self.sweep();
        self.until("what was swept never came to rest", |run| {
            !run.sweeping.load(Ordering::Relaxed) && run.is_quiet()
        })
    }

    fn sweep(&mut self) {
        let mut port = Port::new(self.world.clone(), Process::Observer);
        let found = Stranded {
            product: self.sale.product,
            epoch: self.world(|world| world.database.committed.sale.epoch),
        };
        let sweeping = self.sweeping.clone();
        sweeping.store(true, Ordering::Relaxed);
        self.executor.spawn(Process::Observer, async move {
            let ledger = Transaction::reading(&port);
            // All is calm: nothing fails.
            let _ = sweep(&ledger, &port.clone(), &mut port, found).await;
            sweeping.store(false, Ordering::Relaxed);
        });
    }

    fn is_quiet(&self) -> bool {
        if !self.down.is_empty() {
            return false;
        }
        self.world(|world| {
            let primary = world.redis.primary;
            let sale = &world.database.committed.sale;
            let agree = |field, number| world.redis.number(primary, field) == Some(number);
            world.queue.is_empty()
                && world.told.unconfirmed.values().all(|batches| *batches == 0)
                && world.redis.is_open(primary)
                && world.redis.outbox(primary) == 0
                && agree("epoch", sale.epoch.0)
                && agree("applied", sale.effect_seq)
                && agree("version", sale.version)
        })
    }
}
