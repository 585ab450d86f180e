//! A real shop in which every example of the document can be asked for, and edges without any
//! server, which have nothing to answer with.

use redis::aio::MultiplexedConnection;
use stack::{Stack, StackOptions};

use super::document::{Case, Sent};
use super::goods::{GOODS, LOSE_ANSWERS, RESETTABLE, reserve};
use super::lone_edge::LoneEdge;
use super::wire::{ADMIN_TOKEN, Answer, BUYER_TOKEN_KEY, send};
use crate::buyer::{Ledger, get};
use crate::reconcile::reconcile;
use crate::wait::wait_until;

/// Examples that another one has to come before.
const BEFORE: [(&str, &str); 3] = [
    ("already_purchased", "accepted"),
    ("replayed", "replayed"),
    ("idempotency_key_reused", "replayed"),
];
/// Connections an edge has for operators: as many questions in a row look at each.
const OFFICE_CONNECTIONS: usize = 2;

/// The shop.
pub(crate) struct Shop {
    pub(crate) stack: Stack,
    ledger: Ledger,
    /// Knows the operator's token, and no server.
    cold: LoneEdge,
    /// Knows nothing.
    bare: LoneEdge,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let operators = [("ADMIN_TOKEN", ADMIN_TOKEN), ("EDGE_RESET_PRODUCTS", RESETTABLE)];
        // The reconciler would find what is put there by hand.
        let env = [("BUYER_TOKEN_KEY", BUYER_TOKEN_KEY), ("SETTLER_RECONCILE_MS", "3600000")];
        let env = operators.into_iter().chain(env).map(own).collect();
        let options = StackOptions { edges: 1, env, ..StackOptions::default() };
        let stack = Stack::start(options).await.unwrap();
        let (cold, bare) = (LoneEdge::start(&operators), LoneEdge::start(&[]));
        let shop = Self { ledger: Ledger::open(&stack).await, stack, cold, bare };
        shop.ledger.execute(GOODS).await;
        let client = redis::Client::open(shop.stack.redis_url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        shop.wait_loaded(&redis).await;
        reserve(&mut redis).await;
        shop.ledger.execute(LOSE_ANSWERS).await;
        shop
    }

    async fn wait_loaded(&self, redis: &MultiplexedConnection) {
        let last = self.ledger.number("SELECT max(id) FROM products").await;
        for product in (1..=last).filter(|product| ![7, 14].contains(product)) {
            wait_until(&format!("product {product} is listed and its sale is open"), || {
                let mut redis = redis.clone();
                async move {
                    let path = format!("/api/products/{product}");
                    let listed = get(self.stack.http(), &path).await.unwrap().status == 200;
                    let mut vouched = redis::cmd("HEXISTS");
                    vouched.arg(format!("sale:{{{product}}}")).arg("vouch");
                    listed && vouched.query_async::<bool>(&mut redis).await.unwrap()
                }
            })
            .await;
        }
        self.cold.wait_serving().await;
        self.bare.wait_serving().await;
    }

    /// Sends what a case describes, in the state it needs.
    pub(crate) async fn ask(&self, case: &Case<'_>, all: &[Case<'_>]) -> Answer {
        if let Some((_, before)) = BEFORE.iter().find(|(name, _)| *name == case.name) {
            let same =
                |other: &&Case<'_>| other.operation == case.operation && other.name == *before;
            send(self.stack.http(), &all.iter().find(same).unwrap().sent).await;
        }
        match case.name {
            "unavailable" => send(&self.cold.url, &case.sent).await,
            "not_configured" => send(&self.bare.url, &case.sent).await,
            // nginx waits for a body longer than an edge does.
            "request_timeout" => send(&self.stack.url("edge-1").unwrap(), &case.sent).await,
            "outcome_unknown" => self.ask_in_vain(case).await,
            "reported" => {
                self.keep_report().await;
                send(self.stack.http(), &case.sent).await
            }
            "no_report" => {
                self.ledger.execute("DELETE FROM reconcile_report").await;
                send(self.stack.http(), &case.sent).await
            }
            _ => send(self.stack.http(), &case.sent).await,
        }
    }

    /// Asks while a server does not say what it did: Redis is frozen, or a COMMIT breaks off.
    async fn ask_in_vain(&self, case: &Case<'_>) -> Answer {
        if case.operation == "POST /api/buy" {
            self.stack.kill("redis", "STOP").await.unwrap();
            let answer = send(self.stack.http(), &case.sent).await;
            self.stack.kill("redis", "CONT").await.unwrap();
            return answer;
        }
        let answer = send(self.stack.http(), &case.sent).await;
        self.wait_connected().await;
        answer
    }

    /// Waits until the edge knows which of its connections broke.
    async fn wait_connected(&self) {
        let sent = Sent {
            method: "GET".to_owned(),
            path: "/api/admin/orders?product_id=1".to_owned(),
            security: Some("admin_token".to_owned()),
            ..Sent::default()
        };
        wait_until("the edge has connections again", || async {
            let mut fine = 0;
            while fine < OFFICE_CONNECTIONS && send(self.stack.http(), &sent).await.status == 200 {
                fine += 1;
            }
            fine == OFFICE_CONNECTIONS
        })
        .await;
    }

    /// Keeps what a settler finds now, as the leading one does.
    async fn keep_report(&self) {
        let (_, report) = reconcile(&self.stack, &["--json"]);
        let keep =
            format!("INSERT INTO reconcile_report (report) VALUES ($report${report}$report$)");
        self.ledger.execute(&format!("DELETE FROM reconcile_report; {keep}")).await;
    }

    /// The same path with another method.
    pub(crate) async fn ask_with(&self, sent: &Sent, method: &str) -> Answer {
        let sent = Sent { method: method.to_owned(), body: None, ..sent.clone() };
        let sent = Sent { headers: Vec::new(), ..sent };
        send(self.stack.http(), &sent).await
    }

    pub(crate) async fn close(self) {
        self.stack.shutdown().await;
    }
}
