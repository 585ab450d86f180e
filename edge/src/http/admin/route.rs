//! The paths below `/api/admin` and the method of each: the table by which they are found. Pure.
//!
//! Invariant: what stands here is described in `openapi.json`, and nothing else below `/api/admin`
//! is; a test holds both.

use crate::http::routes::segment;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Create a product with its sale.
    Create,
    /// List orders.
    Orders,
    /// The last look at the books.
    Report,
    /// Something about the product the path names.
    Product(ProductAction),
}

/// What may be done to a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductAction {
    /// Change what is named of its sale.
    Change,
    /// Add units, or take free ones out.
    Adjust,
    /// Sell nothing until resumed.
    Pause,
    /// Sell again.
    Resume,
    /// End the sale for good.
    Close,
    /// Delete its orders and begin again.
    Reset,
}

/// One path, or all that differ in the product.
#[derive(Debug)]
pub struct Route {
    /// The path, with the product in braces.
    pub template: &'static str,
    /// The one method it takes.
    pub method: &'static str,
    /// What it is for.
    pub action: Action,
}

const fn route(template: &'static str, method: &'static str, action: Action) -> Route {
    Route { template, method, action }
}

const fn post(template: &'static str, action: ProductAction) -> Route {
    route(template, "POST", Action::Product(action))
}

/// Every path of operators.
pub const ROUTES: &[Route] = &[
    route("/api/admin/products", "POST", Action::Create),
    route("/api/admin/products/{product_id}", "PATCH", Action::Product(ProductAction::Change)),
    post("/api/admin/products/{product_id}/adjustments", ProductAction::Adjust),
    post("/api/admin/products/{product_id}/pause", ProductAction::Pause),
    post("/api/admin/products/{product_id}/resume", ProductAction::Resume),
    post("/api/admin/products/{product_id}/close", ProductAction::Close),
    post("/api/admin/products/{product_id}/reset", ProductAction::Reset),
    route("/api/admin/orders", "GET", Action::Orders),
    route("/api/admin/reconcile", "GET", Action::Report),
];

/// The route of a path, with the product its template has in braces.
pub(super) fn find(path: &str) -> Option<(&'static Route, &str)> {
    ROUTES.iter().find_map(|route| Some((route, segment(route.template, path)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::admin::owns;

    fn found(path: &str) -> Option<(Action, &str)> {
        find(path).map(|(route, product)| (route.action, product))
    }

    #[test]
    fn every_path_names_one_thing() {
        assert_eq!(found("/api/admin/products"), Some((Action::Create, "")));
        assert_eq!(found("/api/admin/orders"), Some((Action::Orders, "")));
        let of = |action, product| Some((Action::Product(action), product));
        assert_eq!(found("/api/admin/products/7"), of(ProductAction::Change, "7"));
        assert_eq!(found("/api/admin/products/7/pause"), of(ProductAction::Pause, "7"));
        for rest in ["", "/", "/products/", "/products/7/", "/products/7/pause/now", "/x"] {
            assert_eq!(found(&format!("/api/admin{rest}")), None, "{rest}");
        }
    }

    #[test]
    fn every_path_here_is_behind_the_token() {
        assert!(ROUTES.iter().all(|route| owns(route.template)));
        assert!(crate::http::routes::ROUTES.iter().all(|route| !owns(route.template)));
    }
}
