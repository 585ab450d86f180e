//! Products as buyers see them: the catalogue with the newest frame laid over it.

use std::collections::BTreeMap;

use domain::ProductId;
use domain::contract::product_view::ProductView;
use domain::contract::rfc3339;

use super::board::Published;
use crate::read::Product;

/// Builds the views of `products` at `now_ms` and passes them on; they borrow.
pub fn with_views<'a, R>(
    products: impl Iterator<Item = &'a Product>,
    published: &Published,
    now_ms: i64,
    then: impl FnOnce(Vec<ProductView<'_>>) -> R,
) -> R {
    let server_time = rfc3339::from_ms(now_ms);
    let products: Vec<&Product> = products.collect();
    let instants: BTreeMap<ProductId, (Option<String>, Option<String>)> = products
        .iter()
        .map(|product| {
            let text = |at: Option<i64>| at.map(rfc3339::from_ms);
            let window = product.window;
            (product.id, (text(window.opens_at_ms), text(window.closes_at_ms)))
        })
        .collect();
    let views = products.iter().map(|product| {
        let (opens_at, closes_at) = &instants[&product.id];
        let slot = published.slots.get(&product.id);
        let (stock, available, state, epoch, rev) = match slot {
            Some(slot) => {
                let frame = &slot.frame;
                let state = frame.state_at(now_ms);
                (frame.stock, frame.available, state, frame.epoch.0, frame.rev.0)
            }
            // A sale nobody loaded yet is not sold out: its units are all there.
            None => {
                let state = product.window.state_at(product.stored_state, product.stock, now_ms);
                (product.stock, 0, state, 0, 0)
            }
        };
        ProductView {
            product_id: product.id.get(),
            name: &product.name,
            price_minor: product.price_minor,
            currency: &product.currency,
            stock,
            available,
            total: product.total,
            limit: product.limit,
            hold_seconds: product.hold_seconds,
            state: state.as_str(),
            opens_at: opens_at.as_deref(),
            closes_at: closes_at.as_deref(),
            epoch,
            rev,
            server_time: &server_time,
        }
    });
    then(views.collect())
}

#[cfg(test)]
mod tests {
    use domain::{SaleWindow, StoredState};

    use super::*;

    #[test]
    fn a_sale_nobody_loaded_is_not_called_sold_out() {
        let product = Product {
            id: ProductId::new(1).unwrap(),
            name: "iPhone 15 Pro".into(),
            price_minor: 1,
            currency: "THB".into(),
            stock: 10,
            total: 10,
            limit: 1,
            hold_seconds: 0,
            stored_state: StoredState::Open,
            window: SaleWindow::default(),
        };
        with_views([&product].into_iter(), &Published::default(), 0, |views| {
            assert_eq!((views[0].state, views[0].available, views[0].epoch), ("open", 0, 0));
            assert_eq!(views[0].stock, 10);
        });
    }
}
