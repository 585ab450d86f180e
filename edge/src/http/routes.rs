//! The table of routes: every path this edge answers but those of operators, which `admin::route`
//! has, and the methods each takes.
//!
//! Leaves answering to `respond`. Invariant: what stands here under `/api/` and `/ws` is
//! described in `openapi.json`, and nothing else is; a test holds both.

use hyper::Method;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Pressing Buy.
    Buy,
    /// One order.
    Order,
    /// Paying an order.
    Pay,
    /// Giving an order up.
    Cancel,
    /// Every product.
    Products,
    /// One product.
    Product,
    /// This API in words for programs.
    OpenApi,
    /// The live feed.
    Feed,
    /// The live feed, and how everything is.
    StatsFeed,
    /// Whether the process runs.
    Livez,
    /// Whether it can serve.
    Readyz,
    /// Its figures.
    Metrics,
}

/// One path, or all that differ in one segment.
#[derive(Debug)]
pub struct Route {
    /// The path, with the segment that differs in braces.
    pub template: &'static str,
    /// The methods it takes, as the header `Allow` lists them.
    pub allow: &'static str,
    /// What it stands for.
    pub resource: Resource,
}

const fn route(template: &'static str, allow: &'static str, resource: Resource) -> Route {
    Route { template, allow, resource }
}

/// Every route but those of operators, the busiest first.
pub const ROUTES: &[Route] = &[
    route("/api/buy", "POST", Resource::Buy),
    route("/api/orders/{reservation_id}", "GET", Resource::Order),
    route("/api/orders/{reservation_id}/pay", "POST", Resource::Pay),
    route("/api/orders/{reservation_id}/cancel", "POST", Resource::Cancel),
    route("/api/products", "GET", Resource::Products),
    route("/api/products/{product_id}", "GET", Resource::Product),
    route("/ws", "GET", Resource::Feed),
    route("/ws/stats", "GET", Resource::StatsFeed),
    route("/api/openapi.json", "GET, HEAD", Resource::OpenApi),
    route("/livez", "GET", Resource::Livez),
    route("/readyz", "GET", Resource::Readyz),
    route("/metrics", "GET", Resource::Metrics),
];

impl Route {
    /// Whether this path takes a method.
    pub fn takes(&self, method: &Method) -> bool {
        self.allow.split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// The segment a template has in braces, empty when it has none; `None` when `path` is another one.
pub(super) fn segment<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, rest)) = template.split_once('{') else {
        return (path == template).then_some("");
    };
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// The route of a path, with the segment its template has in braces.
pub fn find(path: &str) -> Option<(&'static Route, &str)> {
    ROUTES.iter().find_map(|route| Some((route, segment(route.template, path)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(Resource, &str)> {
        find(path).map(|(route, segment)| (route.resource, segment))
    }

    #[test]
    fn a_path_is_found_with_its_segment() {
        assert_eq!(found("/api/buy"), Some((Resource::Buy, "")));
        assert_eq!(found("/api/products"), Some((Resource::Products, "")));
        assert_eq!(found("/api/products/7"), Some((Resource::Product, "7")));
        assert_eq!(found("/api/orders/x"), Some((Resource::Order, "x")));
        assert_eq!(found("/api/orders/x/pay"), Some((Resource::Pay, "x")));
        for bad in ["", "/", "/api", "/api/buy/", "/api/products/", "/api/orders/x/y", "/API/buy"] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }

    #[test]
    fn methods_are_those_of_the_table() {
        let (route, _) = find("/api/openapi.json").unwrap();
        assert!(route.takes(&Method::GET) && route.takes(&Method::HEAD));
        assert!(!route.takes(&Method::POST) && !route.takes(&Method::OPTIONS));
    }
}
