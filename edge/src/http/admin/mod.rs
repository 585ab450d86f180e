//! `/api/admin`: what operators may do, behind a bearer token.
//!
//! Owns paths, methods, the token and the words; what is done is the affair of `books::office`.
//! Invariant: without a configured token no path here exists, and without the right one nothing is
//! read of a request but its head.

mod answers;
pub mod route;

use std::sync::Arc;

use books::error::BooksError;
use books::office::Office;
use books::sales::SaleChange;
use bytes::Bytes;
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
use route::{Action, ProductAction, find};

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
    let (route, product) = find(request.uri().path()).ok_or_else(|| refuse(Code::NotFound))?;
    if request.method().as_str() != route.method {
        return Err(refuse_method(route.method));
    }
    let asked = match route.action {
        Action::Orders => {
            ListOrders::parse(request.uri().query().unwrap_or_default()).map(Asked::Orders)
        }
        Action::Report => Ok(Asked::Report),
        Action::Create => {
            CreateProduct::parse(&read_json(request, Body::Needed).await?).map(Asked::Create)
        }
        Action::Product(action) => {
            let product = product.parse().ok().and_then(|id| ProductId::new(id).ok());
            let product = product.ok_or_else(|| refuse(Code::UnknownProduct))?;
            read_action(product, action, request).await?
        }
    };
    asked.map_err(|error| refuse_body(&error).1)
}

/// Reads what is to be done to a product.
async fn read_action(
    product: ProductId,
    action: ProductAction,
    request: Request<Incoming>,
) -> Result<Result<Asked, BodyError>, Answer> {
    let asked = match action {
        ProductAction::Change => {
            let change = ChangeSale::parse(&read_json(request, Body::Needed).await?);
            return Ok(change.map(|c| Asked::Change(product, SaleChange::Settings(c))));
        }
        ProductAction::Adjust => {
            let key = idempotency_key(request.headers());
            let key = key.map_err(|(code, why)| refuse_because(code, why))?;
            let body = read_json(request, Body::Needed).await?;
            let adjust = AdjustStock::parse(&body, key.as_deref());
            return Ok(adjust.map(|adjust| Asked::Adjust(product, adjust)));
        }
        ProductAction::Pause => Asked::Change(product, SaleChange::Pause),
        ProductAction::Resume => Asked::Change(product, SaleChange::Resume),
        ProductAction::Close => Asked::Change(product, SaleChange::Close),
        ProductAction::Reset => Asked::Reset(product),
    };
    let body = read_json(request, Body::Empty).await?;
    Ok(strict::check_empty(&body).map(|()| asked))
}

/// What a request says besides its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// A JSON object.
    Needed,
    /// Nothing; an empty object says nothing.
    Empty,
}

/// Reads a body, which must be said to be JSON unless it may be empty and is.
async fn read_json(request: Request<Incoming>, wanted: Body) -> Result<Bytes, Answer> {
    let json = check_json(request.headers());
    let body = read_body(request.into_body()).await.map_err(refuse)?;
    if wanted == Body::Needed || !body.is_empty() {
        json.map_err(|(code, why)| refuse_because(code, why))?;
    }
    Ok(body)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = keys.next().map(|key| key.as_bytes().to_vec());
    match keys.next() {
        Some(_) => Err((Code::BadRequest, "there are two Idempotency-Key headers")),
        None => Ok(key),
    }
}
