//! Vouching for one sale on one Redis node: claim, replay, adopt, open.
//!
//! Owns the order of these steps. Effects are replayed *before* holders are adopted, because an
//! effect may free a place that a holder takes; adopting never displaces another reservation.
//! Invariant: every call after the claim checks that the claim still stands, so two gatekeepers at
//! once do no harm, only one of them opens the sale.

use deadpool_postgres::{Client, Transaction};
use domain::contract::keys;
use domain::{AdjustmentId, Epoch, Holder, ProductId, Seq, UserId};
use futures_util::{Stream, StreamExt, pin_mut};
use service::redis_pool::{LoadedScript, RedisCalls, RedisPool};
use tokio_postgres::IsolationLevel;

use super::node::Node;
use super::sales::{SaleBooks, gone};
use crate::codes::{AdoptCode, BeginCode, ForgetCode, LoadCode, OpenCode};
use books::effects::{Claim, Effects, EffectsError, StockVersion};
use books::marks;
use books::records::SaleRecord;
use service::postgres::DatabaseError;
use service::redis_reply::{RedisStepError, integer, integers};

const BEGIN_VOUCH: &str = include_str!("../../../lua/begin_vouch.lua");
const FORGET_SALE: &str = include_str!("../../../lua/forget_sale.lua");
const LOAD_SALE: &str = include_str!("../../../lua/load_sale.lua");
const ADOPT_BUYERS: &str = include_str!("../../../lua/adopt_buyers.lua");
const OPEN_SALE: &str = include_str!("../../../lua/open_sale.lua");
const RAISE_EPOCH: &str = include_str!("../../../sql/raise_epoch.sql");

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
    /// Another gatekeeper came later, which will open the sale, or the node restarted meanwhile;
    /// then the next look starts over.
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

/// PostgreSQL as vouching needs it: an epoch, and a snapshot taken after it was claimed.
pub trait Books: Send {
    /// One view of everything committed before it was opened.
    type Snapshot<'a>: SaleBooks
    where
        Self: 'a;

    /// Hands out the next epoch. Fails when the database does not answer, or the product is gone.
    fn raise_epoch(
        &self,
        product: ProductId,
    ) -> impl Future<Output = Result<Epoch, DatabaseError>> + Send;

    /// Opens a snapshot. Fails when the database does not answer.
    fn snapshot(
        &mut self,
    ) -> impl Future<Output = Result<Self::Snapshot<'_>, DatabaseError>> + Send;
}

impl Books for Client {
    type Snapshot<'a> = Transaction<'a>;

    async fn raise_epoch(&self, product: ProductId) -> Result<Epoch, DatabaseError> {
        let statement = self.prepare_cached(RAISE_EPOCH).await?;
        let row = self.query_opt(&statement, &[&product.get()]).await?;
        row.map(|row| Epoch(row.get("epoch"))).ok_or_else(|| gone(product))
    }

    async fn snapshot(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        let builder = self.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        Ok(builder.read_only(true).start().await?)
    }
}

/// Vouches for nodes.
#[derive(Debug)]
pub struct Voucher<R = RedisPool> {
    redis: R,
    begin: LoadedScript,
    forget: LoadedScript,
    load: LoadedScript,
    adopt: LoadedScript,
    open: LoadedScript,
}

impl<R: RedisCalls> Voucher<R> {
    /// Uses this pool for every call.
    pub fn new(redis: R) -> Self {
        Self {
            redis,
            begin: LoadedScript::new(BEGIN_VOUCH),
            forget: LoadedScript::new(FORGET_SALE),
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
        books: &mut impl Books,
        effects: &Effects<R>,
        product: ProductId,
        node: &Node,
    ) -> Result<Vouched, EffectsError> {
        let epoch = books.raise_epoch(product).await?;
        let Some(memory) = self.begin(product, epoch).await? else {
            return Ok(Vouched::Outrun);
        };
        service::kill_point::pass("gatekeeper.claimed");
        let snapshot = books.snapshot().await?;
        let sale = snapshot.find_sale(product).await?;
        if sale.epoch != epoch {
            return Ok(Vouched::Outrun);
        }
        let (lost_epoch, lost_seq) = match memory {
            Memory::Remembers { epoch: known, seq, applied } if known >= sale.reset_epoch => {
                let stock = StockVersion { product, version: sale.version, stock: sale.stock };
                effects.replay(&snapshot, Claim::Epoch(epoch), stock, applied).await?;
                (known, seq)
            }
            memory => {
                if memory != Memory::Missing {
                    self.forget(&sale).await?;
                }
                self.load(&snapshot, &sale).await?;
                (Epoch(0), Seq(0))
            }
        };
        let lost = snapshot.holders_after(product, lost_epoch, lost_seq);
        let Some((adopted, seq)) = self.adopt_holders(lost, &sale).await? else {
            return Ok(Vouched::Outrun);
        };
        service::kill_point::pass("gatekeeper.adopted");
        let gone = self.decided_mark(&snapshot, product).await?;
        if self.open(&sale, node, seq, gone).await? {
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

    /// Makes the node forget a sale from before its reset.
    async fn forget(&self, sale: &SaleRecord) -> Result<(), EffectsError> {
        let (key, buyers) = (keys::sale(sale.product), keys::buyers(sale.product));
        let mut command = self.forget.command(&[&key, &buyers]);
        command.arg(sale.epoch.0);
        let reply = self.redis.call(&self.forget, &command).await.map_err(RedisStepError::from)?;
        match ForgetCode::from_number(integer(&reply)?)? {
            ForgetCode::Forgotten => Ok(()),
            ForgetCode::Outrun => Err(EffectsError::Closed),
        }
    }

    /// The adjustment whose mark this node kept although it was refused: its effect would have
    /// cleared the mark, and while it is pending somebody still counts on it. Nobody else marks or
    /// clears while the sale is claimed.
    async fn decided_mark(
        &self,
        snapshot: &impl SaleBooks,
        product: ProductId,
    ) -> Result<Option<AdjustmentId>, EffectsError> {
        match marks::standing(&self.redis, product).await? {
            Some(adjustment) if !snapshot.is_pending(adjustment).await? => Ok(Some(adjustment)),
            _ => Ok(None),
        }
    }

    async fn load(&self, snapshot: &impl SaleBooks, sale: &SaleRecord) -> Result<(), EffectsError> {
        let held = snapshot.sum_held(sale.product).await?;
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
        lost: impl Stream<Item = Result<(UserId, Holder), DatabaseError>>,
        sale: &SaleRecord,
    ) -> Result<Option<(i64, Seq)>, EffectsError> {
        let chunks = lost.chunks(HOLDERS_PER_CALL);
        pin_mut!(chunks);
        let (mut adopted, mut last_seq) = (0, Seq(0));
        while let Some(holders) = chunks.next().await {
            let mut command =
                self.adopt.command(&[&keys::sale(sale.product), &keys::buyers(sale.product)]);
            command.arg(sale.epoch.0);
            for found in holders {
                let (user, holder) = found?;
                last_seq = last_seq.max(holder.seq);
                command.arg(user.get()).arg(holder.quantity.units()).arg(holder.encode());
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

    async fn open(
        &self,
        sale: &SaleRecord,
        node: &Node,
        seq: Seq,
        gone: Option<AdjustmentId>,
    ) -> Result<bool, RedisStepError> {
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
            .arg(sale.window.opens_at_ms.unwrap_or(0))
            .arg(sale.window.closes_at_ms.unwrap_or(0))
            .arg(sale.state.as_str())
            .arg(seq.0)
            .arg(sale.sale_version)
            .arg(gone.map(|id| id.to_string()).unwrap_or_default());
        let reply = self.redis.call(&self.open, &command).await?;
        Ok(OpenCode::from_number(integer(&reply)?)? == OpenCode::Opened)
    }
}
