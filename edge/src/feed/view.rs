//! Products as buyers see them: the catalogue with the newest frame laid over it.

use std::collections::BTreeMap;

use books::records::SaleRecord;
use domain::ProductId;
use domain::contract::product_view::ProductView;
use domain::contract::rfc3339;

use super::board::Published;

/// Builds the views of `sales` at `now_ms` and passes them on; they borrow.
pub fn with_views<'a, R>(
    sales: impl Iterator<Item = &'a SaleRecord>,
    published: &Published,
    now_ms: i64,
    then: impl FnOnce(Vec<ProductView<'_>>) -> R,
) -> R {
    let server_time = rfc3339::from_ms(now_ms);
    let sales: Vec<&SaleRecord> = sales.collect();
    let instants: BTreeMap<ProductId, (Option<String>, Option<String>)> = sales
        .iter()
        .map(|sale| {
            let text = |at: Option<i64>| at.map(rfc3339::from_ms);
            let window = sale.window;
            (sale.product, (text(window.opens_at_ms), text(window.closes_at_ms)))
        })
        .collect();
    let views = sales.iter().map(|sale| {
        let (opens_at, closes_at) = &instants[&sale.product];
        let slot = published.slots.get(&sale.product);
        let (stock, available, state, epoch, rev) = match slot {
            Some(slot) => {
                let frame = &slot.frame;
                let state = frame.state_at(now_ms);
                (frame.stock, frame.available, state, frame.epoch.0, frame.rev.0)
            }
            // A sale nobody loaded yet is not sold out: its units are all there.
            None => {
                let state = sale.window.state_at(sale.state, sale.stock, now_ms);
                (sale.stock, 0, state, 0, 0)
            }
        };
        ProductView {
            product_id: sale.product.get(),
            name: &sale.name,
            price_minor: sale.price_minor,
            currency: &sale.currency,
            stock,
            available,
            total: sale.total,
            limit: sale.limit,
            hold_seconds: sale.hold_seconds,
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

    use super::*;

    #[test]
    fn a_sale_nobody_loaded_is_not_called_sold_out() {
        let sale = SaleRecord::new(ProductId::new(1).unwrap(), 10);
        with_views([&sale].into_iter(), &Published::default(), 0, |views| {
            assert_eq!((views[0].state, views[0].available, views[0].epoch), ("open", 0, 0));
            assert_eq!(views[0].stock, 10);
        });
    }
}
