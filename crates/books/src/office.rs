//! The operators' office: everything an operator can do to a sale, for API and command line.
//!
//! Owns the course of each change: PostgreSQL first, then Redis is told at once, as far as it can
//! be. What fails there the gatekeeper makes up for within a tenth of a second.
//! Invariant: what an operator is told was changed is committed in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use domain::contract::admin::{AdjustStock, CreateProduct, ListOrders};
use domain::contract::admin_view::{AdjustmentView, SaleView};
use domain::{AdjustmentId, ProductId, StoredState};
use service::redis_pool::RedisPool;
use service::redis_reply::RedisStepError;
use tokio::time::Instant;

use crate::adjustments::{self, Adjusted};
use crate::cut::Cuts;
use crate::effects::Effects;
use crate::error::{BooksError, Refusal, unknown};
use crate::marks::UnitMarks;
use crate::orders::{self, OrderPage};
use crate::records::{self, SaleRecord};
use crate::reports;
use crate::reset;
use crate::sales::{self, SaleChange, check_new};
use crate::updates::SaleUpdates;

/// How long Redis may take to be told before the answer says that it was not.
const TELL_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether a gatekeeper did it.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Somebody else may take the next free number first; so often, hardly.
const NUMBER_TRIES: u32 = 5;

/// Everything an operator can do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Office(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    effects: Effects,
    updates: SaleUpdates,
    marks: UnitMarks,
    cuts: Cuts,
}

impl Office {
    /// Uses these two, which must be writable.
    pub fn new(pool: Pool, redis: RedisPool) -> Self {
        Self(Arc::new(Inner {
            pool,
            effects: Effects::new(redis.clone()),
            updates: SaleUpdates::new(redis.clone()),
            marks: UnitMarks::new(redis.clone()),
            cuts: Cuts::new(redis),
        }))
    }

    /// Creates a product with its sale; a gatekeeper opens it.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn create(&self, new: &CreateProduct) -> Result<SaleView, BooksError> {
        check_new(new)?;
        let sale = self.insert(new).await?;
        Ok(sale.view(self.is_applied_soon(&sale).await))
    }

    async fn insert(&self, new: &CreateProduct) -> Result<SaleRecord, BooksError> {
        let mut client = self.0.pool.get().await?;
        for _ in 0..NUMBER_TRIES {
            let transaction = client.transaction().await?;
            if let Some(sale) = records::insert(&transaction, new).await? {
                transaction.commit().await.map_err(|error| unknown(&error))?;
                return Ok(sale);
            }
            if new.product.is_some() {
                return Err(Refusal::ProductExists.into());
            }
        }
        Err(BooksError::Unavailable("too many products are created at once".into()))
    }

    /// Changes a sale; like that already, it stays as it is.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn change(
        &self,
        product: ProductId,
        change: &SaleChange,
    ) -> Result<SaleView, BooksError> {
        let sale = self.write(product, change).await?;
        Ok(sale.view(self.update(&sale).await))
    }

    async fn write(
        &self,
        product: ProductId,
        change: &SaleChange,
    ) -> Result<SaleRecord, BooksError> {
        let mut client = self.0.pool.get().await?;
        let transaction = client.transaction().await?;
        let locked = records::lock(&transaction, product).await?.ok_or(Refusal::UnknownProduct)?;
        let Some(after) = sales::changed(&locked, change)? else { return Ok(locked) };
        let written = records::write(&transaction, &after).await?.ok_or(Refusal::UnknownProduct)?;
        transaction.commit().await.map_err(|error| unknown(&error))?;
        Ok(written)
    }

    /// Adds units, or takes free ones out, once under its key.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn adjust(
        &self,
        product: ProductId,
        asked: &AdjustStock,
    ) -> Result<AdjustmentView, BooksError> {
        let mut client = self.0.pool.get().await?;
        let adjusted = adjustments::adjust(&mut client, &self.0.marks, product, asked).await?;
        drop(client);
        self.tell(&adjusted).await;
        Ok(adjusted.view)
    }

    /// Brings an adjustment to its end whose mark stands although whoever began it is gone.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn finish_marked(
        &self,
        product: ProductId,
        id: AdjustmentId,
    ) -> Result<(), BooksError> {
        let mut client = self.0.pool.get().await?;
        let adjusted = adjustments::finish_marked(&mut client, &self.0.marks, product, id).await?;
        drop(client);
        if let Some(adjusted) = adjusted {
            self.tell(&adjusted).await;
        }
        Ok(())
    }

    /// Deletes every order of a sale and puts every unit on sale again; it is open then, unless it
    /// was paused.
    ///
    /// # Errors
    /// See [`BooksError`]; `SaleBusy` when orders are still on their way after some seconds.
    pub async fn reset(&self, product: ProductId) -> Result<SaleView, BooksError> {
        let before = self.find(product).await?;
        let state = match before.state {
            StoredState::Closed | StoredState::Open => StoredState::Open,
            StoredState::Paused => StoredState::Paused,
        };
        if before.state == StoredState::Open {
            let paused = self.write(product, &SaleChange::Pause).await?;
            self.update(&paused).await;
        }
        let mut client = self.0.pool.get().await?;
        let reset = reset::reset(&mut client, &self.0.cuts, product, state).await;
        drop(client);
        match reset {
            Ok(sale) => Ok(sale.view(self.is_applied_soon(&sale).await)),
            Err(error) => {
                if before.state == StoredState::Open {
                    let resumed = self.write(product, &SaleChange::Resume).await?;
                    self.update(&resumed).await;
                }
                Err(error)
            }
        }
    }

    /// One sale as it is stored.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn find(&self, product: ProductId) -> Result<SaleRecord, BooksError> {
        let client = self.0.pool.get().await?;
        let found = records::list(&client, Some(product)).await?.into_iter().next();
        Ok(found.ok_or(Refusal::UnknownProduct)?)
    }

    /// Every sale.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn list(&self) -> Result<Vec<SaleView>, BooksError> {
        let client = self.0.pool.get().await?;
        let sales = records::list(&client, None).await?;
        drop(client);
        let mut views = Vec::with_capacity(sales.len());
        for sale in sales {
            views.push(sale.view(self.is_applied(&sale).await.unwrap_or(false)));
        }
        Ok(views)
    }

    /// A page of orders.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn orders(&self, asked: &ListOrders) -> Result<OrderPage, BooksError> {
        let client = self.0.pool.get().await?;
        Ok(orders::list(&client, asked).await?)
    }

    /// The last look of the leading settler at the books, as JSON.
    ///
    /// # Errors
    /// See [`BooksError`].
    pub async fn report(&self) -> Result<Option<String>, BooksError> {
        let client = self.0.pool.get().await?;
        Ok(reports::find(&client).await?)
    }

    /// Tells Redis what an operator changed; whether it knows now.
    async fn update(&self, sale: &SaleRecord) -> bool {
        let settings = sale.settings();
        let told = self.0.updates.tell(&settings);
        match tokio::time::timeout(TELL_MAX, told).await {
            Ok(Ok(true)) => true,
            // The gate is closed: whoever opens it brings the change along.
            Ok(Ok(false)) => self.is_applied_soon(sale).await,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    async fn tell(&self, adjusted: &Adjusted) {
        let Some((sale, effect)) = &adjusted.tell else { return };
        let told = async {
            if let Ok(client) = self.0.pool.get().await {
                // What fails here the gatekeeper tells.
                let _ = self.0.effects.tell(&client, sale.stock_version(), &[], &[*effect]).await;
            }
            let _ = self.0.updates.tell(&sale.settings()).await;
        };
        let _ = tokio::time::timeout(TELL_MAX, told).await;
    }

    async fn is_applied(&self, sale: &SaleRecord) -> Result<bool, RedisStepError> {
        let cut = self.0.cuts.read(sale.product).await?;
        Ok(cut.is_some_and(|cut| {
            cut.open && cut.epoch >= sale.epoch && cut.sale_version >= sale.sale_version
        }))
    }

    /// Whether a gatekeeper brings the sale to Redis in time.
    async fn is_applied_soon(&self, sale: &SaleRecord) -> bool {
        let deadline = Instant::now() + TELL_MAX;
        loop {
            if self.is_applied(sale).await.unwrap_or(false) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
