//! How a process reaches the world: one turn before and after everything it does there.
//!
//! Owns what can go wrong on the way: a call that is not sent, one whose answer is lost, one that
//! runs long after its caller gave up. Invariant: nothing happens between two turns but one effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use redis::{Arg, Cmd, Pipeline, Value};
use service::redis_pool::{LoadedScript, NodeName, RedisCallError, RedisCalls};
use settler::consume::broker::{BrokerError, Publish};

use crate::executor::{Process, turn};
use crate::ledger::Database;
use crate::mutant::Mutant;
use crate::queue::Queue;
use crate::redis_nodes::RedisNodes;
use crate::told::Told;

/// What may go wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Redis loses its tail, everything, or its primary; no edge dies and no queue is deleted.
    RedisForgets,
    /// Processes die and the broker fails; Redis keeps what it said.
    PartsDie,
}

/// A command that runs after its caller gave up.
struct Ghost {
    node: usize,
    args: Vec<String>,
    due_ms: i64,
}

/// Everything outside the processes.
pub(crate) struct World {
    pub(crate) dice: Rng,
    pub(crate) now_ms: i64,
    pub(crate) weather: Weather,
    /// No more mishaps: everything is healed.
    pub(crate) calm: bool,
    pub(crate) redis: RedisNodes,
    pub(crate) broker_up: bool,
    pub(crate) queue: Queue,
    pub(crate) database: Database,
    pub(crate) told: Told,
    pub(crate) mutant: Option<Mutant>,
    /// The node each process believes to be the primary.
    routes: BTreeMap<Process, usize>,
    ghosts: Vec<Ghost>,
}

impl World {
    pub(crate) fn new(
        mut dice: Rng,
        redis: RedisNodes,
        database: Database,
        mutant: Option<Mutant>,
    ) -> Self {
        Self {
            weather: if dice.bool() { Weather::RedisForgets } else { Weather::PartsDie },
            dice,
            // Any time will do that has more digits than a double's exponent.
            now_ms: 1_700_000_000_000,
            calm: false,
            redis,
            broker_up: true,
            queue: Queue::default(),
            database,
            told: Told::default(),
            mutant,
            routes: BTreeMap::new(),
            ghosts: Vec::new(),
        }
    }

    /// Whether something small goes wrong here.
    pub(crate) fn mishap(&mut self) -> bool {
        !self.calm && self.dice.u8(..100) < 3
    }

    /// The node a process talks to; it notices a failover sooner or later.
    fn route(&mut self, process: Process) -> usize {
        let primary = self.redis.primary;
        let notices = self.calm || self.dice.u8(..6) == 0;
        let route = self.routes.entry(process).or_insert(primary);
        if notices {
            *route = primary;
        }
        *route
    }

    /// Runs a command, and sees to it that nothing is reserved after its deadline.
    fn run(&mut self, node: usize, args: &[String]) -> Result<Value, String> {
        let before = self.redis.holders(node).len();
        let reply = self.redis.run(node, args, self.now_ms);
        let deadline = reserve_deadline(args).filter(|deadline| self.now_ms > *deadline);
        if deadline.is_some() && self.redis.holders(node).len() > before {
            self.redis.violation = Some("a call reserved after its deadline".into());
        }
        if let Err(error) = &reply {
            self.redis.violation = Some(format!("{:?} failed: {error}", args.first()));
        }
        reply
    }

    /// Runs what is due of the calls whose callers gave up.
    pub(crate) fn run_ghosts(&mut self) {
        let (due, later) = std::mem::take(&mut self.ghosts)
            .into_iter()
            .partition(|ghost| self.calm || ghost.due_ms <= self.now_ms);
        self.ghosts = later;
        for Ghost { node, args, .. } in Vec::into_iter(due) {
            let _ = self.run(node, &args);
        }
    }
}

/// The deadline of a call of `reserve.lua`, the only script with three keys.
fn reserve_deadline(args: &[String]) -> Option<i64> {
    let is_reserve = args.first()? == "EVALSHA" && args.get(2)? == "3";
    is_reserve.then(|| args.get(6)?.parse().ok())?
}

/// A process's way to the world.
#[derive(Clone)]
pub(crate) struct Port {
    world: Arc<Mutex<World>>,
    pub(crate) process: Process,
}

impl Port {
    pub(crate) fn new(world: Arc<Mutex<World>>, process: Process) -> Self {
        Self { world, process }
    }

    /// One effect.
    pub(crate) fn world<T>(&self, effect: impl FnOnce(&mut World) -> T) -> T {
        effect(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.world(|world| world.mutant == Some(mutant))
    }

    /// Lets others be next, once or twice.
    pub(crate) async fn pause(&self) {
        self.turns(1..=2).await;
    }

    /// Lets others be next for a while.
    pub(crate) async fn rest(&self) {
        self.turns(8..=24).await;
    }

    async fn turns(&self, range: std::ops::RangeInclusive<u8>) {
        for _ in 0..self.world(|world| world.dice.u8(range)) {
            turn().await;
        }
    }

    async fn send(&self, args: Vec<String>) -> Result<Value, RedisCallError> {
        self.pause().await;
        let reply = self.world(|world| {
            if world.mishap() {
                return Err(RedisCallError::NotSent("no connection".into()));
            }
            let node = world.route(self.process);
            if world.mishap() {
                let due_ms = world.now_ms + world.dice.i64(1..600);
                world.ghosts.push(Ghost { node, args, due_ms });
                return Err(unknown());
            }
            let reply = world.run(node, &args).map_err(refused);
            if world.mishap() { Err(unknown()) } else { reply }
        });
        self.pause().await;
        reply
    }
}

fn unknown() -> RedisCallError {
    RedisCallError::Unknown(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

fn refused(message: String) -> RedisCallError {
    RedisCallError::Refused(std::io::Error::other(message).into())
}

/// The arguments of a command as text.
fn texts(command: &Cmd) -> Vec<String> {
    let text = |arg| match arg {
        Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "0".to_owned(),
    };
    command.args_iter().map(text).collect()
}

impl RedisCalls for Port {
    async fn query(&self, command: &Cmd) -> Result<Value, RedisCallError> {
        self.send(texts(command)).await
    }

    async fn query_at(&self, _: &str, command: &Cmd) -> Result<Value, RedisCallError> {
        self.send(texts(command)).await
    }

    async fn query_pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisCallError> {
        let mut replies = Vec::new();
        for command in pipeline.cmd_iter() {
            replies.push(self.send(texts(command)).await?);
        }
        Ok(replies)
    }

    async fn call(&self, _: &LoadedScript, command: &Cmd) -> Result<Value, RedisCallError> {
        self.send(texts(command)).await
    }

    async fn node_of(&self, _: &str) -> NodeName {
        NodeName::new("primary")
    }
}

impl Publish for Port {
    async fn publish_confirmed(&mut self, body: &[u8]) -> Result<(), BrokerError> {
        self.pause().await;
        let confirmed = self.world(|world| {
            if !world.broker_up {
                return Err(BrokerError::NotTaken("the broker is away"));
            }
            if world.mishap() {
                return Err(BrokerError::NoConfirm);
            }
            world.queue.publish(body);
            if world.mishap() {
                world.queue.publish(body);
            }
            if world.mishap() { Err(BrokerError::NoConfirm) } else { Ok(()) }
        });
        self.pause().await;
        confirmed
    }
}
