//! `/api/admin`: what operators may do, behind a bearer token.
//!
//! Owns paths, methods, the token and the words; what is done is the affair of `books::office`.
//! Invariant: without a configured token no path here exists, and without the right one nothing is
//! read of a request but its head.

mod answers;
mod route;

use std::sync::Arc;

use books::error::BooksError;
use books::office::Office;
use domain::ProductId;
use domain::contract::admin::{AdjustStock, ChangeSale, CreateProduct, ListOrders};
use domain::contract::problem::Code;
use domain::contract::strict::{self, BodyError};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Request};
use subtle::ConstantTimeEq;

use super::Context;
use super::answer::{Answer, refuse, refuse_because, refuse_method, refuse_token};
use super::body::{read_body, refuse_body};
use super::checks::{Refusal, check_json};
use books::sales::SaleChange;
use route::{Route, find_route};

/// Below this everything is for operators.
const PREFIX: &str = "/api/admin";

/// What operators may do.
#[derive(Clone)]
pub struct Admin {
    token: Arc<[u8]>,
    office: Office,
    /// Whose orders may be deleted.
    resettable: Arc<[ProductId]>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token.
        f.debug_struct("Admin").field("resettable", &self.resettable).finish_non_exhaustive()
    }
}

/// What an operator asks for, read and checked.
enum Asked {
    Create(CreateProduct),
    Change(ProductId, SaleChange),
    Adjust(ProductId, AdjustStock),
    Reset(ProductId),
    Orders(ListOrders),
    Report,
}

impl Admin {
    /// Lets in whoever knows the token, which must not be empty.
    pub fn new(token: Vec<u8>, office: Office, resettable: Vec<ProductId>) -> Self {
        Self { token: token.into(), office, resettable: resettable.into() }
    }

    /// Whether the request carries the token. Takes as long whatever is wrong with it.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, token)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && token.ct_eq(&self.token).into()
    }

    /// Does what was asked, and says what was done.
    async fn act(self, asked: Asked) -> Result<Answer, BooksError> {
        let office = &self.office;
        Ok(match asked {
            Asked::Create(new) => answers::created(&office.create(&new).await?),
            Asked::Change(product, change) => {
                answers::sale(&office.change(product, &change).await?)
            }
            Asked::Adjust(product, adjust) => {
                answers::adjusted(&office.adjust(product, &adjust).await?)
            }
            Asked::Reset(product) if !self.resettable.contains(&product) => {
                let why = "list the product in EDGE_RESET_PRODUCTS to let its orders be deleted";
                refuse_because(Code::ResetNotAllowed, why)
            }
            Asked::Reset(product) => answers::sale(&office.reset(product).await?),
            Asked::Orders(list) => answers::orders(&office.orders(&list).await?),
            Asked::Report => answers::report(office.report().await?),
        })
    }
}

/// Whether a path is for operators.
pub(super) fn owns(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers one request of an operator.
pub(super) async fn respond(context: Arc<Context>, request: Request<Incoming>) -> Answer {
    let Some(admin) = context.admin.clone() else { return refuse(Code::NotFound) };
    if !admin.admits(request.headers()) {
        return refuse_token("send Authorization: Bearer with the admin token");
    }
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let asked = match read(request).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    // Its own task: an operator who hangs up must not leave half of it done.
    let done = context.clients.spawn(admin.act(asked)).await;
    let answer = match done {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => answers::refused(&error),
        Err(_) => refuse(Code::OutcomeUnknown),
    };
    if method != hyper::Method::GET {
        let status = answer.status().as_u16();
        tracing::info!(%method, path, status, "an operator asked");
    }
    answer
}

/// Reads what is asked for.
async fn read(request: Request<Incoming>) -> Result<Asked, Answer> {
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let route = find_route(path).map_err(refuse)?;
    let allowed = route.method();
    if request.method().as_str() != allowed {
        return Err(refuse_method(allowed));
    }
    let bad = |error: BodyError| refuse_body(&error).1;
    match route {
        Route::Orders => {
            let query = request.uri().query().unwrap_or_default();
            return ListOrders::parse(query).map(Asked::Orders).map_err(bad);
        }
        Route::Reconcile => return Ok(Asked::Report),
        _ => {}
    }
    let refuse_head = |(code, why): Refusal| refuse_because(code, why);
    let key = idempotency_key(request.headers()).map_err(refuse_head)?;
    let json = check_json(request.headers());
    let body = read_body(request).await.map_err(refuse)?;
    if route.takes_body() || !body.is_empty() {
        json.map_err(refuse_head)?;
    }
    let asked = match route {
        Route::Products => CreateProduct::parse(&body).map(Asked::Create),
        Route::Product(product) => ChangeSale::parse(&body)
            .map(|change| Asked::Change(product, SaleChange::Settings(change))),
        Route::Adjustments(product) => {
            AdjustStock::parse(&body, key.as_deref()).map(|adjust| Asked::Adjust(product, adjust))
        }
        Route::Change(product, change) => {
            strict::check_empty(&body).map(|()| Asked::Change(product, change))
        }
        Route::Reset(product) => strict::check_empty(&body).map(|()| Asked::Reset(product)),
        Route::Orders | Route::Reconcile => return Err(refuse(Code::NotFound)),
    };
    asked.map_err(bad)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = keys.next().map(|key| key.as_bytes().to_vec());
    match keys.next() {
        Some(_) => Err((Code::BadRequest, "there are two Idempotency-Key headers")),
        None => Ok(key),
    }
}
