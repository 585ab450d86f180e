//! Two Redis nodes with a memory of their past: what a restart, a failover or a partition can do.
//!
//! Invariant: a node that was restarted or promoted has another replid (measured on Redis 7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use domain::contract::{feed::FeedFrame, keys};
use domain::{Holder, ProductId};
use redis::Value;

use crate::keyspace::{Keyspace, writes};
use crate::scripts::{Scripts, Stage};

/// States a node may fall back to: some more than one batch of faults reaches.
const PAST_MAX: usize = 12;

struct Node {
    keys: Keyspace,
    replid: String,
    /// Its keys before each of the last writes, newest last.
    past: VecDeque<Keyspace>,
}

/// Both nodes. Clients reach the primary, or the other one until they notice.
pub(crate) struct RedisNodes {
    scripts: Arc<Scripts>,
    nodes: [Node; 2],
    pub(crate) primary: usize,
    replids: u64,
    /// Units in all, for what must hold at every write.
    total: i64,
    product: ProductId,
    /// The newest frame anybody heard.
    pub(crate) frame: Option<FeedFrame>,
    /// Reservations some node made and the primary does not know after a fault.
    pub(crate) lost: BTreeSet<String>,
    /// What must never happen, and did.
    pub(crate) violation: Option<String>,
}

impl RedisNodes {
    pub(crate) fn new(scripts: Arc<Scripts>, product: ProductId, total: i64) -> Self {
        let node = |replid: &str| Node {
            keys: Keyspace::default(),
            replid: replid.to_owned(),
            past: VecDeque::new(),
        };
        Self {
            scripts,
            nodes: [node("a0"), node("b0")],
            primary: 0,
            replids: 0,
            total,
            product,
            frame: None,
            lost: BTreeSet::new(),
            violation: None,
        }
    }

    /// Runs one command on a node.
    pub(crate) fn run(&mut self, at: usize, args: &[String], now_ms: i64) -> Result<Value, String> {
        let known = (at != self.primary).then(|| self.holders(at));
        let node = &mut self.nodes[at];
        let before = node.keys.clone();
        let stage = Stage {
            keys: std::mem::take(&mut node.keys),
            now_ms,
            replid: node.replid.clone(),
            frames: Vec::new(),
        };
        let command = args.first().map_or("", String::as_str);
        let (stage, reply) = if command == "EVALSHA" {
            self.scripts.run(args, stage)
        } else {
            let mut stage = stage;
            let reply = stage.run(args);
            (stage, reply)
        };
        node.keys = stage.keys;
        if writes(command) && node.keys != before {
            node.past.push_back(before);
            if node.past.len() > PAST_MAX {
                node.past.pop_front();
            }
        }
        for frame in &stage.frames {
            let Some((frame, _)) = FeedFrame::parse(frame.as_bytes()) else {
                self.violation = Some(format!("a frame nobody can read: {frame}"));
                continue;
            };
            if self.frame.is_none_or(|newest| frame.version() > newest.version()) {
                self.frame = Some(frame);
            }
        }
        if let Some(known) = known {
            self.note_strays(at, &known);
        }
        self.look(at);
        reply
    }

    /// What must hold on a node that sells, after every step: units neither appear nor vanish.
    fn look(&mut self, at: usize) {
        if !self.is_open(at) {
            return;
        }
        let units: i64 = self.holders(at).values().map(|holder| holder.quantity.units()).sum();
        let available = self.available(at);
        if available + units != self.total {
            self.violation = Some(format!(
                "node {at} sells with {available} available and {units} reserved of {}",
                self.total
            ));
        }
    }

    /// Whether somebody vouched for this node as it is now.
    pub(crate) fn is_open(&self, at: usize) -> bool {
        let sale = self.nodes[at].keys.hash(&keys::sale(self.product));
        sale.get(keys::SALE_VOUCH_FIELD) == Some(&self.nodes[at].replid)
    }

    pub(crate) fn available(&self, at: usize) -> i64 {
        self.number(at, "available").unwrap_or(0)
    }

    pub(crate) fn number(&self, at: usize, field: &str) -> Option<i64> {
        self.nodes[at].keys.number(&keys::sale(self.product), field)
    }

    pub(crate) fn outbox(&self, at: usize) -> usize {
        self.nodes[at].keys.stream_len(&keys::outbox(self.product))
    }

    /// Who holds what on a node, by user.
    pub(crate) fn holders(&self, at: usize) -> BTreeMap<i64, Holder> {
        let buyers = self.nodes[at].keys.hash(&keys::buyers(self.product));
        let pairs = buyers
            .iter()
            .filter_map(|(user, text)| Some((user.parse().ok()?, Holder::parse(text)?)));
        pairs.collect()
    }

    fn next_replid(&mut self) -> String {
        self.replids += 1;
        format!("{:x}", 0xc000 + self.replids)
    }

    /// Notes what the primary does not know after `fault`, of what any node knew before.
    fn losing(&mut self, fault: impl FnOnce(&mut Self)) {
        let ids = |nodes: &Self, at| {
            nodes.holders(at).into_values().map(|holder| holder.id.to_string()).collect::<Vec<_>>()
        };
        let before: Vec<String> = (0..2).flat_map(|at| ids(self, at)).collect();
        fault(self);
        let known: BTreeSet<String> = ids(self, self.primary).into_iter().collect();
        self.lost.extend(before.into_iter().filter(|id| !known.contains(id)));
    }

    /// The primary is killed and started again without its last `writes`.
    pub(crate) fn restart(&mut self, writes: usize) {
        self.losing(|nodes| {
            let replid = nodes.next_replid();
            let node = &mut nodes.nodes[nodes.primary];
            for _ in 0..writes {
                node.keys = node.past.pop_back().unwrap_or_default();
            }
            node.replid = replid;
        });
    }

    /// FLUSHALL on the primary: its replid stays.
    pub(crate) fn flush(&mut self) {
        self.losing(|nodes| nodes.nodes[nodes.primary].keys = Keyspace::default());
    }

    /// The other node becomes primary as a replica that lags by `writes`.
    pub(crate) fn fail_over(&mut self, writes: usize) {
        self.losing(|nodes| {
            let replid = nodes.next_replid();
            let old = &nodes.nodes[nodes.primary];
            let behind = old.past.len().checked_sub(writes.max(1));
            let keys = match (writes, behind) {
                (0, _) => old.keys.clone(),
                (_, Some(at)) => old.past[at].clone(),
                (_, None) => Keyspace::default(),
            };
            nodes.primary = 1 - nodes.primary;
            nodes.nodes[nodes.primary] = Node { keys, replid, past: VecDeque::new() };
        });
    }

    /// The node that was primary before comes back as it was; `restarted`, or only unreachable
    /// meanwhile.
    pub(crate) fn fail_back(&mut self, restarted: bool) {
        self.losing(|nodes| {
            nodes.primary = 1 - nodes.primary;
            if restarted {
                nodes.nodes[nodes.primary].replid = nodes.next_replid();
            }
        });
    }

    /// A reservation on a node that clients should have left is lost from the beginning.
    fn note_strays(&mut self, at: usize, known: &BTreeMap<i64, Holder>) {
        let new = self.holders(at).into_iter().filter(|(user, _)| !known.contains_key(user));
        self.lost.extend(new.map(|(_, holder)| holder.id.to_string()));
    }
}
