//! The paths below `/api/admin` and the method of each. Pure.

use books::sales::SaleChange;
use domain::ProductId;
use domain::contract::problem::Code;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/products`
    Products,
    /// `/products/{id}`
    Product(ProductId),
    /// `/products/{id}/adjustments`
    Adjustments(ProductId),
    /// `/products/{id}/pause`, `/resume`, `/close`
    Change(ProductId, SaleChange),
    /// `/products/{id}/reset`
    Reset(ProductId),
    /// `/orders`
    Orders,
    /// `/reconcile`
    Reconcile,
}

impl Route {
    /// The one method it takes.
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Products | Self::Adjustments(_) | Self::Change(..) | Self::Reset(_) => "POST",
            Self::Product(_) => "PATCH",
            Self::Orders | Self::Reconcile => "GET",
        }
    }

    /// Whether it needs a body.
    pub(super) const fn takes_body(&self) -> bool {
        matches!(self, Self::Products | Self::Product(_) | Self::Adjustments(_))
    }
}

/// Reads what follows `/api/admin`.
pub(super) fn find_route(path: &str) -> Result<Route, Code> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let product = |text: &str| {
        let id = text.parse().ok().and_then(|id| ProductId::new(id).ok());
        id.ok_or(Code::UnknownProduct)
    };
    match segments[..] {
        ["products"] => Ok(Route::Products),
        ["orders"] => Ok(Route::Orders),
        ["reconcile"] => Ok(Route::Reconcile),
        ["products", id] => Ok(Route::Product(product(id)?)),
        ["products", id, what] => match what {
            "adjustments" => Ok(Route::Adjustments(product(id)?)),
            "pause" => Ok(Route::Change(product(id)?, SaleChange::Pause)),
            "resume" => Ok(Route::Change(product(id)?, SaleChange::Resume)),
            "close" => Ok(Route::Change(product(id)?, SaleChange::Close)),
            "reset" => Ok(Route::Reset(product(id)?)),
            _ => Err(Code::NotFound),
        },
        _ => Err(Code::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_names_one_thing() {
        let product = ProductId::new(7).unwrap();
        assert_eq!(find_route("/products"), Ok(Route::Products));
        assert_eq!(find_route("/products/7"), Ok(Route::Product(product)));
        assert_eq!(find_route("/products/7/adjustments"), Ok(Route::Adjustments(product)));
        let pause = Route::Change(product, SaleChange::Pause);
        assert_eq!(find_route("/products/7/pause"), Ok(pause));
        for path in ["", "/", "/products/", "/products/7/", "/products/7/pause/now", "/x"] {
            assert!(find_route(path).is_err(), "{path}");
        }
        for id in ["0", "-1", "x", "1.5", "99999999999999999999"] {
            assert_eq!(find_route(&format!("/products/{id}")), Err(Code::UnknownProduct), "{id}");
        }
    }
}
