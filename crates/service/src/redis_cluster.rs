//! A Redis Cluster: which node holds which slot, and connections to each of them.
//!
//! Owns the map of slots: read at first use, and again, in the background, whenever a node does not
//! answer or says that it does not hold a slot. Every node has connections of its own, so that one
//! that is away keeps nobody waiting but those who ask for its keys. (The cluster client of
//! redis-rs 1.8 does not say who holds a key, and holds back every command while it tries to reach
//! a lost node.)
//! Invariant: only primaries are asked, and no command is sent on to another node by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::join_all;
use redis::aio::PubSub;
use redis::{Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use crate::redis_node::{Node, NodeName, NodeSettings};
use crate::redis_pool::{LoadedScript, RedisCallError};
use crate::redis_slots::{SlotRange, read_slots, slot_of, slot_of_command};
use crate::redis_url::ClusterUrl;

/// The map is read at most this often: a failover takes the nodes seconds.
const READ_PAUSE: Duration = Duration::from_millis(200);
/// What keys are said to be held by while nobody knows.
const NOBODY: &str = "no node";

/// The nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    url: ClusterUrl,
    settings: NodeSettings,
    map: ArcSwap<Map>,
    /// A task reads the map, or has just done so.
    reading: AtomicBool,
    /// Wakes whoever waits for the first map, also when it could not be read.
    read: Notify,
    /// Why the map could not be read last.
    trouble: ArcSwapOption<String>,
}

/// Who holds what, as far as is known.
#[derive(Debug, Default)]
struct Map {
    /// Seeds, then every other primary; each once.
    nodes: Vec<Arc<Node>>,
    /// By first slot. Empty before the first answer.
    ranges: Vec<(SlotRange, Arc<Node>)>,
    /// Another one whenever a slot has another holder.
    generation: u64,
}

/// What one node says of the cluster.
struct View {
    /// It sees a majority of the primaries.
    is_ok: bool,
    /// How new its view is.
    epoch: u64,
    ranges: Vec<SlotRange>,
}

impl Map {
    fn holder(&self, slot: u16) -> Option<&Arc<Node>> {
        let after = self.ranges.partition_point(|(range, _)| range.first <= slot);
        let (range, node) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= range.last).then_some(node)
    }

    fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name().as_str() == name)
    }
}

impl Cluster {
    /// Does not connect yet.
    ///
    /// # Errors
    /// When a node cannot be named to redis-rs.
    pub(crate) fn new(url: ClusterUrl, settings: NodeSettings) -> Result<Self, RedisError> {
        let cluster = Self {
            url,
            settings,
            map: ArcSwap::default(),
            reading: AtomicBool::new(false),
            read: Notify::new(),
            trouble: ArcSwapOption::empty(),
        };
        let seeds = cluster.url.seeds.iter().map(|seed| cluster.new_node(seed));
        let nodes = seeds.collect::<Result<_, _>>()?;
        cluster.map.store(Arc::new(Map { nodes, ..Map::default() }));
        Ok(cluster)
    }

    fn new_node(&self, host_port: &str) -> Result<Arc<Node>, RedisError> {
        let info = self.url.node(host_port).as_str().into_connection_info()?;
        Ok(Arc::new(Node::new(NodeName::new(host_port), info, &self.settings)?))
    }

    pub(crate) async fn query(self: &Arc<Self>, command: &Cmd) -> Result<Value, RedisCallError> {
        let node = self.holder(slot_of_command(command)).await?;
        self.note(node.query(command).await)
    }

    pub(crate) async fn query_at(
        self: &Arc<Self>,
        key: &str,
        command: &Cmd,
    ) -> Result<Value, RedisCallError> {
        let node = self.holder(Some(slot_of(key.as_bytes()))).await?;
        self.note(node.query(command).await)
    }

    pub(crate) async fn call(
        self: &Arc<Self>,
        script: &LoadedScript,
        command: &Cmd,
    ) -> Result<Value, RedisCallError> {
        let node = self.holder(slot_of_command(command)).await?;
        self.note(node.call(script, command).await)
    }

    /// Sends each node its part, all at once.
    pub(crate) async fn query_pipeline(
        self: &Arc<Self>,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, RedisCallError> {
        let mut parts: Vec<(Arc<Node>, Pipeline, Vec<usize>)> = Vec::new();
        for (position, command) in pipeline.cmd_iter().enumerate() {
            let node = self.holder(slot_of_command(command)).await?;
            let at = parts.iter().position(|(other, ..)| other.name() == node.name());
            let at = at.unwrap_or_else(|| {
                parts.push((node, Pipeline::new(), Vec::new()));
                parts.len() - 1
            });
            parts[at].1.add_command(command.clone());
            parts[at].2.push(position);
        }
        let asked = parts.iter().map(|(node, part, _)| node.query_pipeline(part));
        let mut replies = vec![Value::Nil; pipeline.len()];
        for (answer, (.., positions)) in join_all(asked).await.into_iter().zip(&parts) {
            for (position, reply) in positions.iter().zip(self.note(answer)?) {
                replies[*position] = reply;
            }
        }
        Ok(replies)
    }

    pub(crate) async fn node_of(self: &Arc<Self>, key: &str) -> NodeName {
        let node = self.holder(Some(slot_of(key.as_bytes()))).await;
        node.map_or_else(|_| NodeName::new(NOBODY), |node| node.name().clone())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.map.load().generation
    }

    pub(crate) async fn open_pubsub(&self, turn: usize) -> Result<PubSub, RedisError> {
        let nodes = &self.map.load_full().nodes;
        nodes[turn % nodes.len()].open_pubsub().await
    }

    /// Sends a command any node may run.
    pub(crate) async fn query_any(
        self: &Arc<Self>,
        turn: usize,
        command: &Cmd,
    ) -> Result<Value, RedisCallError> {
        let nodes = &self.map.load_full().nodes;
        self.note(nodes[turn % nodes.len()].query(command).await)
    }

    /// The node that holds a slot. Without a key any slot's will do.
    async fn holder(self: &Arc<Self>, slot: Option<u16>) -> Result<Arc<Node>, RedisCallError> {
        let slot = slot.unwrap_or(0);
        if let Some(node) = self.map.load().holder(slot) {
            return Ok(node.clone());
        }
        let read = self.read.notified();
        self.read_map_soon();
        if self.map.load().ranges.is_empty() {
            // Reading it takes a connection and an answer.
            let _ = tokio::time::timeout(self.settings.response_timeout * 2, read).await;
        }
        let node = self.map.load().holder(slot).cloned();
        node.ok_or_else(|| RedisCallError::NotSent(self.why_nobody_holds(slot)))
    }

    fn why_nobody_holds(&self, slot: u16) -> String {
        match self.trouble.load().as_deref() {
            Some(trouble) => format!("no node of the cluster told its slots: {trouble}"),
            None => format!("no node of the cluster holds slot {slot}"),
        }
    }

    /// Has the map read again when the answer says that it may be wrong.
    fn note<T>(self: &Arc<Self>, answer: Result<T, RedisCallError>) -> Result<T, RedisCallError> {
        if answer.as_ref().is_err_and(may_have_moved) {
            self.read_map_soon();
        }
        answer
    }

    fn read_map_soon(self: &Arc<Self>) {
        if self.reading.swap(true, Ordering::Relaxed) {
            return;
        }
        let cluster = self.clone();
        tokio::spawn(async move {
            let trouble = cluster.read_map().await.err();
            cluster.trouble.store(trouble.map(|error| Arc::new(error.to_string())));
            cluster.read.notify_waiters();
            tokio::time::sleep(READ_PAUSE).await;
            cluster.reading.store(false, Ordering::Relaxed);
        });
    }

    /// Asks every node, and believes the one that knows best.
    async fn read_map(&self) -> Result<(), RedisCallError> {
        let known = self.map.load_full();
        let views = join_all(known.nodes.iter().map(|node| ask(node))).await;
        let mut trouble = None;
        let mut best: Option<View> = None;
        for view in views {
            match view {
                Ok(view) if best.as_ref().is_none_or(|best| view.rank() > best.rank()) => {
                    best = Some(view);
                }
                Ok(_) => {}
                Err(error) => trouble = Some(error),
            }
        }
        match (best, trouble) {
            (Some(view), _) => self.learn(&known, view.ranges),
            (None, Some(error)) => Err(error),
            (None, None) => Err(RedisCallError::NotSent("the cluster has no slots yet".into())),
        }
    }

    fn learn(&self, known: &Map, mut found: Vec<SlotRange>) -> Result<(), RedisCallError> {
        let unusable = |error: RedisError| RedisCallError::NotSent(error.to_string());
        found.sort_unstable_by_key(|range| range.first);
        let seeds = known.nodes.iter().take(self.url.seeds.len()).cloned();
        let same = known.ranges.iter().map(|(range, _)| range).eq(&found);
        let generation = known.generation + u64::from(!same);
        let mut map = Map { nodes: seeds.collect(), ranges: Vec::new(), generation };
        for range in found {
            let before = map.node(&range.primary).or_else(|| known.node(&range.primary));
            let node = match before {
                Some(node) => node.clone(),
                None => self.new_node(&range.primary).map_err(unusable)?,
            };
            if map.node(&range.primary).is_none() {
                map.nodes.push(node.clone());
            }
            map.ranges.push((range, node));
        }
        self.map.store(Arc::new(map));
        Ok(())
    }
}

impl View {
    fn rank(&self) -> (bool, bool, u64) {
        (!self.ranges.is_empty(), self.is_ok, self.epoch)
    }
}

/// Whether the map, or a node, is not what it was.
fn may_have_moved(error: &RedisCallError) -> bool {
    match error {
        RedisCallError::NotSent(_) | RedisCallError::Unknown(_) => true,
        RedisCallError::Refused(error) => matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::ClusterDown
            )
        ),
    }
}

/// What a node says of the cluster.
async fn ask(node: &Node) -> Result<View, RedisCallError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    let replies = node.query_pipeline(&pipeline).await?;
    read_view(&replies, node.name().as_str())
        .ok_or_else(|| RedisCallError::NotSent(format!("{} described no cluster", node.name())))
}

fn read_view(replies: &[Value], asked: &str) -> Option<View> {
    let [info, slots] = replies else { return None };
    let info: String = redis::from_redis_value_ref(info).ok()?;
    let field = |name| info.lines().find_map(|line| line.trim_end().strip_prefix(name));
    Some(View {
        is_ok: field("cluster_state:")? == "ok",
        epoch: field("cluster_current_epoch:")?.parse().ok()?,
        ranges: read_slots(slots, asked)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(url: &str) -> Cluster {
        let settings = NodeSettings {
            connections_max: 1,
            response_timeout: Duration::from_millis(100),
            scripts: Arc::default(),
        };
        let crate::redis_url::RedisUrl::Cluster(url) =
            crate::redis_url::RedisUrl::parse(url).unwrap()
        else {
            panic!("{url} names no cluster")
        };
        Cluster::new(url, settings).unwrap()
    }

    fn range(first: u16, last: u16, primary: &str) -> SlotRange {
        SlotRange { first, last, primary: primary.to_owned() }
    }

    fn holder(cluster: &Cluster, slot: u16) -> Option<String> {
        cluster.map.load().holder(slot).map(|node| node.name().to_string())
    }

    #[tokio::test]
    async fn slots_have_one_holder_or_none_and_nodes_are_kept_while_they_hold_any() {
        let cluster = cluster("redis+cluster://seed:1,a:1");
        let learn = |ranges| cluster.learn(&cluster.map.load_full(), ranges).unwrap();
        assert_eq!(holder(&cluster, 0), None);
        learn(vec![range(200, 300, "b:1"), range(0, 99, "a:1"), range(400, 400, "b:1")]);
        let held = [0, 99, 100, 200, 300, 399, 400, 401].map(|slot| holder(&cluster, slot));
        let held: Vec<_> = held.iter().map(Option::as_deref).collect();
        let (a, b) = (Some("a:1"), Some("b:1"));
        assert_eq!(held, [a, a, None, b, b, None, b, None]);
        let names = || {
            let names = cluster.map.load().nodes.iter().map(|n| n.name().to_string()).collect();
            let names: Vec<String> = names;
            names.join(" ")
        };
        assert_eq!(names(), "seed:1 a:1 b:1");
        let generation = cluster.generation();
        learn(vec![range(0, 99, "a:1"), range(400, 400, "b:1"), range(200, 300, "b:1")]);
        assert_eq!(cluster.generation(), generation, "nothing moved");
        learn(vec![range(0, 16_383, "c:1")]);
        assert_eq!(names(), "seed:1 a:1 c:1", "seeds stay: a later failover may need them");
        assert_eq!(cluster.generation(), generation + 1);
    }

    #[test]
    fn the_node_that_sees_a_majority_is_believed_and_of_those_the_newest() {
        let view = |is_ok, epoch, slots: bool| View {
            is_ok,
            epoch,
            ranges: slots.then(|| range(0, 1, "a:1")).into_iter().collect(),
        };
        assert!(view(true, 3, true).rank() > view(false, 9, true).rank());
        assert!(view(true, 4, true).rank() > view(true, 3, true).rank());
        assert!(view(false, 1, true).rank() > view(true, 9, false).rank());
        let info = Value::BulkString(
            b"cluster_state:ok\r\ncluster_slots_assigned:2\r\ncluster_current_epoch:7\r\n".into(),
        );
        let view = read_view(&[info, Value::Array(Vec::new())], "a:1").unwrap();
        assert!(view.is_ok && view.epoch == 7 && view.ranges.is_empty());
        assert!(read_view(&[Value::Okay, Value::Nil], "a:1").is_none());
    }

    #[tokio::test]
    async fn a_cluster_of_which_no_node_answers_is_named_as_not_reached() {
        let cluster = Arc::new(cluster("redis+cluster://127.0.0.1:1"));
        let mut get = redis::cmd("GET");
        let answer = cluster.query(get.arg("x")).await;
        let Err(RedisCallError::NotSent(why)) = answer else { panic!("{answer:?}") };
        assert!(why.contains("no node of the cluster told its slots: "), "{why}");
        assert_eq!(cluster.node_of("x").await.to_string(), NOBODY);
    }
}
