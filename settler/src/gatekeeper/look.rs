//! One look at Redis: every node that holds sales, whether it may, and what each sale asks for.
//!
//! Owns nothing but the looking. Invariant: a node that is away or unfit takes no other node's
//! sales with it, and a sale is judged by the replid of the node that holds it.

use domain::contract::keys;
use futures_util::future::join_all;
use service::redis_pool::{NodeName, RedisCalls, group_by_node};

use super::RoundError;
use super::compare::{Step, compare_all};
use super::node::{Node, judge_info, read_info};
use super::sales::Sale;

/// What one node said.
pub(super) struct Look {
    /// Sales it holds.
    pub(super) sales: Vec<Sale>,
    /// The node, and a step a sale.
    pub(super) found: Result<(Node, Vec<Step>), RoundError>,
}

impl Look {
    /// Whether the node answered, be it fit or not.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.found, Err(RoundError::Redis(..)))
    }

    /// Every sale of the node, and whether it is open.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Sale, bool)> {
        let is_open = |step: &Step| !matches!(step, Step::Vouch { .. });
        self.sales.iter().enumerate().map(move |(n, sale)| {
            let steps = self.found.as_ref().map_or(&[][..], |(_, steps)| steps);
            (sale, steps.get(n).is_some_and(is_open))
        })
    }
}

/// Looks at every node that holds a sale, all at once; at one of them when there are no sales.
pub(super) async fn look_at_all(redis: &impl RedisCalls, sales: Vec<Sale>) -> Vec<Look> {
    let mut groups = group_by_node(redis, sales, |sale| keys::sale(sale.product)).await;
    if groups.is_empty() {
        groups.push((redis.node_of(keys::FEED_CHANNEL).await, Vec::new()));
    }
    join_all(groups.into_iter().map(|(name, sales)| look_at(redis, name, sales))).await
}

async fn look_at(redis: &impl RedisCalls, name: NodeName, sales: Vec<Sale>) -> Look {
    let key = match sales.first() {
        Some(sale) => keys::sale(sale.product),
        None => keys::FEED_CHANNEL.to_owned(),
    };
    let found = async {
        let away = |error| RoundError::Redis(name.clone(), error);
        let info = read_info(redis, &key).await.map_err(away)?;
        let node = judge_info(&info).map_err(|error| RoundError::Node(name.clone(), error))?;
        let steps = compare_all(redis, &sales, &node).await.map_err(away)?;
        Ok((node, steps))
    };
    let found = found.await;
    Look { sales, found }
}
