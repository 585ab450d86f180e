//! What a look at PostgreSQL and a Redis node asks for: nothing, updating, telling, or vouching.
//!
//! Owns the comparison; `mod` acts on it. Invariant: a node counts as open only when its own replid
//! stands in the sale.

use domain::contract::keys;
use service::redis_pool::RedisCalls;

use super::node::Node;
use books::effects::{Claim, Effects, EffectsError, EffectsLog, StockVersion};
use books::records::SaleRecord;
use service::redis_reply::{RedisStepError, texts};

/// Sales read from Redis in one pipeline.
const SALES_PER_PIPELINE: usize = 256;
/// Fields of `sale:{P}` the comparison needs.
const FIELDS: [&str; 5] = [keys::SALE_VOUCH_FIELD, "applied", "version", "epoch", "sale_version"];

/// What one comparison asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Redis knows what PostgreSQL knows.
    Nothing,
    /// Redis is vouched for but behind: tell it what follows this effect.
    Tell {
        /// Number of the last effect Redis applied.
        applied: i64,
    },
    /// Redis is vouched for, but an operator changed the sale since. Comes first, as a busy sale is
    /// always a little behind.
    Update,
    /// Nobody vouched for this node.
    Vouch {
        /// The node has no trace of the sale at all.
        blank: bool,
    },
}

/// Compares a sale with the fields `FIELDS` of its hash.
pub fn compare(sale: &SaleRecord, node: &Node, fields: &[Option<String>; 5]) -> Step {
    let [vouch, applied, version, epoch, sale_version] = fields;
    let number = |field: &Option<String>| field.as_deref().and_then(|f| f.parse::<i64>().ok());
    let (Some(applied), Some(version)) = (number(applied), number(version)) else {
        return Step::Vouch { blank: applied.is_none() };
    };
    // An older epoch: another node was vouched for since, and this one came back as it was.
    let is_current = number(epoch).is_some_and(|epoch| epoch >= sale.epoch.0);
    if vouch.as_deref() != Some(node.replid.as_str()) || !is_current {
        Step::Vouch { blank: false }
    } else if number(sale_version).is_none_or(|known| known < sale.sale_version) {
        Step::Update
    } else if applied < sale.effect_seq || version < sale.version {
        Step::Tell { applied }
    } else {
        Step::Nothing
    }
}

/// Compares every sale.
///
/// # Errors
/// When Redis does not answer as expected.
pub async fn compare_all(
    redis: &impl RedisCalls,
    sales: &[SaleRecord],
    node: &Node,
) -> Result<Vec<Step>, RedisStepError> {
    let mut steps = Vec::with_capacity(sales.len());
    for chunk in sales.chunks(SALES_PER_PIPELINE) {
        let mut pipeline = redis::pipe();
        for sale in chunk {
            pipeline.cmd("HMGET").arg(keys::sale(sale.product)).arg(&FIELDS);
        }
        let replies = redis.query_pipeline(&pipeline).await?;
        for (sale, reply) in chunk.iter().zip(replies) {
            steps.push(compare(sale, node, &texts::<5>(reply)?));
        }
    }
    Ok(steps)
}

/// Tells a node that is behind what follows effect `applied`, and the stock. That it is closed
/// meanwhile is no error: the next look finds it so.
///
/// # Errors
/// See [`EffectsError`].
pub async fn catch_up<R: RedisCalls>(
    effects: &Effects<R>,
    log: &impl EffectsLog,
    sale: &SaleRecord,
    applied: i64,
) -> Result<(), EffectsError> {
    let stock = StockVersion { product: sale.product, version: sale.version, stock: sale.stock };
    let told = async {
        effects.replay(log, Claim::Vouched, stock, applied).await?;
        effects.report(Claim::Vouched, stock, "[]", &[]).await
    };
    match told.await {
        Ok(_) | Err(EffectsError::Closed) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use domain::{Epoch, ProductId};

    use super::*;

    fn sale(effect_seq: i64, version: i64) -> SaleRecord {
        let product = ProductId::new(1).unwrap();
        SaleRecord {
            epoch: Epoch(1),
            effect_seq,
            version,
            sale_version: 4,
            ..SaleRecord::new(product, 5)
        }
    }

    fn step(vouch: Option<&str>, applied: Option<&str>, version: Option<&str>) -> Step {
        step_of([vouch, applied, version, Some("1"), Some("4")])
    }

    fn step_of(fields: [Option<&str>; 5]) -> Step {
        let node = Node { replid: "abc".into() };
        compare(&sale(3, 7), &node, &fields.map(|field| field.map(str::to_owned)))
    }

    #[test]
    fn only_a_node_vouched_for_by_its_own_replid_counts_as_open() {
        assert_eq!(step(Some("abc"), Some("3"), Some("7")), Step::Nothing);
        assert_eq!(step(Some("old"), Some("3"), Some("7")), Step::Vouch { blank: false });
        assert_eq!(step(None, Some("3"), Some("7")), Step::Vouch { blank: false });
        assert_eq!(step(None, None, None), Step::Vouch { blank: true });
    }

    #[test]
    fn a_node_that_comes_back_with_an_old_vouch_of_its_own_is_vouched_for_again() {
        let step = |epoch| step_of([Some("abc"), Some("3"), Some("7"), Some(epoch), Some("4")]);
        assert_eq!(step("0"), Step::Vouch { blank: false });
        assert_eq!(step("1"), Step::Nothing);
    }

    #[test]
    fn a_node_that_is_behind_is_told_what_it_missed() {
        assert_eq!(step(Some("abc"), Some("2"), Some("7")), Step::Tell { applied: 2 });
        assert_eq!(step(Some("abc"), Some("3"), Some("6")), Step::Tell { applied: 3 });
    }

    #[test]
    fn what_an_operator_changed_comes_before_what_was_settled() {
        let step = |version, sale_version| {
            step_of([Some("abc"), Some("3"), Some(version), Some("1"), sale_version])
        };
        assert_eq!(step("7", Some("3")), Step::Update);
        assert_eq!(step("6", Some("3")), Step::Update);
        assert_eq!(step("6", Some("4")), Step::Tell { applied: 3 });
        assert_eq!(step("7", Some("5")), Step::Nothing, "an edge told it meanwhile");
        assert_eq!(step("7", None), Step::Update, "opened by an older settler");
    }
}
