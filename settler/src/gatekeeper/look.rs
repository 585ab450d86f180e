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
use books::records::SaleRecord;

/// What one node said.
pub(super) struct Look {
    /// Sales it holds.
    pub(super) sales: Vec<SaleRecord>,
    /// The node, and a step a sale.
    pub(super) found: Result<(Node, Vec<Step>), RoundError>,
}

impl Look {
    /// Whether the node answered, be it fit or not.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.found, Err(RoundError::Redis(..)))
    }

    /// Every sale of the node, and whether it is open.
    pub(super) fn open(&self) -> impl Iterator<Item = (&SaleRecord, bool)> {
        let is_open = |step: &Step| !matches!(step, Step::Vouch { .. });
        self.sales.iter().enumerate().map(move |(n, sale)| {
            let steps = self.found.as_ref().map_or(&[][..], |(_, steps)| steps);
            (sale, steps.get(n).is_some_and(is_open))
        })
    }
}

/// Looks at every node that holds a sale, all at once; at one of them when there are no sales.
pub(super) async fn look_at_all(redis: &impl RedisCalls, sales: Vec<SaleRecord>) -> Vec<Look> {
    let mut groups = group_by_node(redis, sales, |sale| keys::sale(sale.product)).await;
    if groups.is_empty() {
        groups.push((redis.node_of(keys::FEED_CHANNEL).await, Vec::new()));
    }
    join_all(groups.into_iter().map(|(name, sales)| look_at(redis, name, sales))).await
}

async fn look_at(redis: &impl RedisCalls, name: NodeName, sales: Vec<SaleRecord>) -> Look {
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

#[cfg(test)]
mod tests {
    use domain::{Epoch, ProductId};
    use redis::{Cmd, Pipeline, Value};
    use service::redis_pool::{LoadedScript, RedisCallError};

    use super::*;

    /// Two nodes: `one` holds product 1, `two` the others, each vouched for by its own name.
    struct Nodes {
        two_is_away: bool,
    }

    impl Nodes {
        fn holder(&self, key: &str) -> Result<&'static str, RedisCallError> {
            match key.contains("{1}") {
                true => Ok("one"),
                false if self.two_is_away => Err(RedisCallError::NotSent("away".into())),
                false => Ok("two"),
            }
        }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    impl RedisCalls for Nodes {
        async fn query(&self, _: &Cmd) -> Result<Value, RedisCallError> {
            unreachable!("a look sends no single command")
        }

        async fn query_at(&self, key: &str, _: &Cmd) -> Result<Value, RedisCallError> {
            Ok(bulk(&format!(
                "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n\
                 role:master\r\nmaster_replid:{}\r\n",
                self.holder(key)?
            )))
        }

        async fn query_pipeline(&self, all: &Pipeline) -> Result<Vec<Value>, RedisCallError> {
            let sale = |command: &Cmd| {
                let text = String::from_utf8_lossy(&command.get_packed_command()).into_owned();
                Ok(Value::Array([self.holder(&text)?, "0", "0", "1", "0"].map(bulk).to_vec()))
            };
            all.cmd_iter().map(sale).collect()
        }

        async fn call(&self, _: &LoadedScript, _: &Cmd) -> Result<Value, RedisCallError> {
            unreachable!("a look calls no script")
        }

        async fn node_of(&self, key: &str) -> NodeName {
            NodeName::new(if key.contains("{1}") { "one" } else { "two" })
        }
    }

    fn sale(id: i64) -> SaleRecord {
        SaleRecord { epoch: Epoch(1), ..SaleRecord::new(ProductId::new(id).unwrap(), 5) }
    }

    async fn open_sales(two_is_away: bool) -> Vec<(i64, bool)> {
        let looks = look_at_all(&Nodes { two_is_away }, [1, 2, 3].map(sale).into()).await;
        assert_eq!(looks.iter().map(Look::is_answered).collect::<Vec<_>>(), [true, !two_is_away]);
        looks.iter().flat_map(Look::open).map(|(sale, open)| (sale.product.get(), open)).collect()
    }

    #[tokio::test]
    async fn each_sale_is_judged_by_its_own_node_and_a_lost_node_closes_no_other() {
        assert_eq!(open_sales(false).await, [(1, true), (2, true), (3, true)]);
        assert_eq!(open_sales(true).await, [(1, true), (2, false), (3, false)]);
    }

    #[tokio::test]
    async fn without_sales_redis_is_asked_all_the_same() {
        let looks = look_at_all(&Nodes { two_is_away: true }, Vec::new()).await;
        assert!(looks.len() == 1 && !looks[0].is_answered());
    }
}
