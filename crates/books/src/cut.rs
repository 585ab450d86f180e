//! Where a sale stands in Redis, read in one step.
//!
//! Owns `read_cut.lua`; what the figures say is the reader's affair.

use domain::contract::keys;
use domain::{Epoch, ProductId};
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use service::redis_reply::{RedisStepError, integers};

use crate::codes::CutCode;

const READ_CUT: &str = include_str!("../../../lua/read_cut.lua");

/// One sale in Redis, from one script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Somebody vouches for the node.
    pub open: bool,
    /// Units that can be reserved.
    pub available: i64,
    /// Life of the sale's state.
    pub epoch: Epoch,
    /// Last arrival.
    pub seq: i64,
    /// Last effect applied.
    pub applied: i64,
    /// Entries of the outbox.
    pub outbox: i64,
    /// Units an adjustment took out that PostgreSQL has not taken out yet.
    pub marked: i64,
    /// Number of what an operator set; -1 when an older program opened the sale.
    pub sale_version: i64,
}

/// Reads them.
#[derive(Debug)]
pub struct Cuts<R = RedisPool> {
    redis: R,
    script: LoadedScript,
}

impl<R: RedisCalls> Cuts<R> {
    /// Uses this pool for every call.
    pub fn new(redis: R) -> Self {
        Self { redis, script: LoadedScript::new(READ_CUT) }
    }

    /// One sale; `None` when Redis has none of it.
    ///
    /// # Errors
    /// When Redis does not answer as expected.
    pub async fn read(&self, product: ProductId) -> Result<Option<Cut>, RedisStepError> {
        let command = self.script.command(&[&keys::sale(product), &keys::outbox(product)]);
        let reply = self.redis.call(&self.script, &command).await?;
        let [code, available, epoch, seq, applied, outbox, marked, sale_version] =
            integers(&reply)?;
        let open = match CutCode::from_number(code)? {
            CutCode::Missing => return Ok(None),
            CutCode::Open => true,
            CutCode::Closed => false,
        };
        let epoch = Epoch(epoch);
        Ok(Some(Cut { open, available, epoch, seq, applied, outbox, marked, sale_version }))
    }
}
