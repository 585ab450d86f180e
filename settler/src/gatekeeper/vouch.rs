//! Vouching for one sale on one Redis node: claim, replay, adopt, open.
//!
//! Owns the order of these steps. Effects are replayed *before* holders are adopted, because an
//! effect may free a place that a holder takes; adopting never displaces another reservation.
//! Invariant: every call after the claim checks that the claim still stands, so two gatekeepers at
//! once do no harm, only one of them opens the sale.

use deadpool_postgres::{GenericClient, Pool};
use domain::contract::keys;
use domain::{Epoch, Holder, ProductId, Quantity, ReservationId, Seq};
use futures_util::{StreamExt, pin_mut};
use redis::Cmd;
use service::redis_pool::{LoadedScript, RedisPool};
use tokio_postgres::IsolationLevel;
use tokio_postgres::types::ToSql;

use super::node::Node;
use super::sales::{self, Sale};
use crate::codes::{AdoptCode, BeginCode, LoadCode, OpenCode};
use crate::effects::{Claim, Effects, EffectsError, StockVersion};
use crate::redis_reply::{RedisStepError, integer, integers};
use crate::settle::SettleError;

const BEGIN_VOUCH: &str = include_str!("../../../lua/begin_vouch.lua");
const LOAD_SALE: &str = include_str!("../../../lua/load_sale.lua");
const ADOPT_BUYERS: &str = include_str!("../../../lua/adopt_buyers.lua");
const OPEN_SALE: &str = include_str!("../../../lua/open_sale.lua");
const LIST_HOLDERS_AFTER: &str = include_str!("../../../sql/list_holders_after.sql");

/// Holders one call adopts: 1,500 arguments, within what Lua's `unpack` takes.
const HOLDERS_PER_CALL: usize = 500;

/// How vouching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// The sale is open under this epoch; so many holders had been lost and were adopted.
    Opened {
        /// The new life of the sale's Redis state.
        epoch: Epoch,
        /// Orders the node did not know.
        adopted: i64,
    },
    /// Another gatekeeper came later; it will open the sale.
    Outrun,
}

/// What a node remembers of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Up to this arrival of this epoch, and this effect.
    Remembers { epoch: Epoch, seq: Seq, applied: i64 },
    /// Nothing.
    Missing,
}

/// Vouches for nodes.
#[derive(Debug)]
pub struct Voucher {
    redis: RedisPool,
    begin: LoadedScript,
    load: LoadedScript,
    adopt: LoadedScript,
    open: LoadedScript,
}

impl Voucher {
    /// Uses this pool for every call.
    pub fn new(redis: RedisPool) -> Self {
        Self {
            redis,
            begin: LoadedScript::new(BEGIN_VOUCH),
            load: LoadedScript::new(LOAD_SALE),
            adopt: LoadedScript::new(ADOPT_BUYERS),
            open: LoadedScript::new(OPEN_SALE),
        }
    }

    /// Runs every step for one product. `node` must have been read before this call: a restart in
    /// between leaves its replid stale, and the sale closed.
    ///
    /// # Errors
    /// See [`EffectsError`]; the sale stays closed and the next try starts over.
    pub async fn vouch(
        &self,
        pool: &Pool,
        effects: &Effects,
        product: ProductId,
        node: &Node,
    ) -> Result<Vouched, EffectsError> {
        let mut client = pool.get().await.map_err(SettleError::from)?;
        let epoch = sales::raise_epoch(&client, product).await?;
        let Some(memory) = self.begin(product, epoch).await? else {
            return Ok(Vouched::Outrun);
        };
        service::kill_point::pass("gatekeeper.claimed");
        let snapshot = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(SettleError::from)?;
        let sale = sales::find_sale(&snapshot, product).await?;
        if sale.epoch != epoch {
            return Ok(Vouched::Outrun);
        }
        let (lost_epoch, lost_seq) = match memory {
            Memory::Remembers { epoch: known, seq, applied } => {
                let stock = StockVersion { product, version: sale.version, stock: sale.stock };
                effects.replay(&snapshot, Claim::Epoch(epoch), stock, applied).await?;
                (known, seq)
            }
            Memory::Missing => {
                self.load(&snapshot, &sale).await?;
                (Epoch(0), Seq(0))
            }
        };
        let lost: [&(dyn ToSql + Sync); 3] = [&product.get(), &lost_epoch.0, &lost_seq.0];
        let Some((adopted, seq)) = self.adopt_holders(&snapshot, &sale, lost).await? else {
            return Ok(Vouched::Outrun);
        };
        service::kill_point::pass("gatekeeper.adopted");
        if self.open(&sale, node, seq).await? {
            Ok(Vouched::Opened { epoch, adopted })
        } else {
            Ok(Vouched::Outrun)
        }
    }

    async fn begin(
        &self,
        product: ProductId,
        epoch: Epoch,
    ) -> Result<Option<Memory>, RedisStepError> {
        let (sale, buyers) = (keys::sale(product), keys::buyers(product));
        let mut command = self.begin.command(&[&sale, &buyers]);
        command.arg(epoch.0);
        let reply = self.redis.call(&self.begin, &command).await?;
        let [code, epoch, seq, applied] = integers::<4>(&reply)?;
        Ok(match BeginCode::from_number(code)? {
            BeginCode::Claimed => {
                Some(Memory::Remembers { epoch: Epoch(epoch), seq: Seq(seq), applied })
            }
            BeginCode::Missing => Some(Memory::Missing),
            BeginCode::Outrun => None,
        })
    }

    async fn load(&self, snapshot: &impl GenericClient, sale: &Sale) -> Result<(), EffectsError> {
        let held = sales::sum_held(snapshot, sale.product).await?;
        let mut command = self.load.command(&[&keys::sale(sale.product)]);
        command.arg(sale.epoch.0).arg(sale.stock + held).arg(sale.effect_seq);
        let reply = self.redis.call(&self.load, &command).await.map_err(RedisStepError::from)?;
        match LoadCode::from_number(integer(&reply)?)? {
            LoadCode::Loaded => Ok(()),
            LoadCode::Outrun => Err(EffectsError::Closed),
        }
    }

    /// Adopts every holder the node may have lost; how many it did not know, and the highest seq.
    /// `None` when another gatekeeper came later.
    async fn adopt_holders(
        &self,
        snapshot: &impl GenericClient,
        sale: &Sale,
        lost: [&(dyn ToSql + Sync); 3],
    ) -> Result<Option<(i64, Seq)>, EffectsError> {
        let statement =
            snapshot.prepare_cached(LIST_HOLDERS_AFTER).await.map_err(SettleError::from)?;
        let rows = snapshot.query_raw(&statement, lost).await.map_err(SettleError::from)?;
        let chunks = rows.chunks(HOLDERS_PER_CALL);
        pin_mut!(chunks);
        let (mut adopted, mut last_seq) = (0, Seq(0));
        while let Some(rows) = chunks.next().await {
            let mut command =
                self.adopt.command(&[&keys::sale(sale.product), &keys::buyers(sale.product)]);
            command.arg(sale.epoch.0);
            for row in rows {
                let row = row.map_err(SettleError::from)?;
                let quantity: i64 = row.get("quantity");
                let holder = Holder {
                    id: ReservationId(row.get("id")),
                    quantity: Quantity::new(quantity).map_err(|error| {
                        SettleError::Transient(format!("quantity of an order {error}"))
                    })?,
                    seq: Seq(row.get("seq")),
                };
                last_seq = last_seq.max(holder.seq);
                add_holder(&mut command, row.get("user_id"), &holder);
            }
            let reply =
                self.redis.call(&self.adopt, &command).await.map_err(RedisStepError::from)?;
            let [code, count] = integers::<2>(&reply)?;
            match AdoptCode::from_number(code)? {
                AdoptCode::Adopted => adopted += count,
                AdoptCode::Outrun => return Ok(None),
            }
        }
        Ok(Some((adopted, last_seq)))
    }

    async fn open(&self, sale: &Sale, node: &Node, seq: Seq) -> Result<bool, RedisStepError> {
        let mut command = self.open.command(&[&keys::sale(sale.product)]);
        command
            .arg(sale.epoch.0)
            .arg(&node.replid)
            .arg(keys::FEED_CHANNEL)
            .arg(sale.product.get())
            .arg(sale.version)
            .arg(sale.stock)
            .arg(sale.total)
            .arg(sale.limit)
            .arg(sale.opens_at_ms)
            .arg(sale.closes_at_ms)
            .arg(&sale.state)
            .arg(seq.0);
        let reply = self.redis.call(&self.open, &command).await?;
        Ok(OpenCode::from_number(integer(&reply)?)? == OpenCode::Opened)
    }
}

fn add_holder(command: &mut Cmd, user: i64, holder: &Holder) {
    command.arg(user).arg(holder.quantity.units()).arg(holder.encode());
}
