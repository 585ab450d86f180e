//! Two faults at once, which no durability setting promises to survive: what is lost is counted.

use stack::proxy::Proxy;

use super::shop::{Plan, Shop};
use super::{NO_RELAY, NO_SWEEPER, accepted, redis, wait_quiet, wait_settled};
use crate::buyer::{Ledger, buy};
use crate::wait::{wait_running, wait_until};

/// Redis loses its data while the broker is away and an edge that answered 202 on the strength of
/// the outbox is killed. Lost are exactly the orders that stood in neither place: those of the dead
/// edge. Those an edge still holds are settled, and those PostgreSQL knows stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_an_edge_lost_together_lose_exactly_what_stood_in_neither_other_place() {
    let both = [NO_RELAY, NO_SWEEPER];
    let plan = Plan { edges: 2, settlers: 1, stock: 1000, settler_env: &both, ..Plan::default() };
    let shop = Shop::open(plan).await;
    let ledger = Ledger::open(&shop.servers).await;
    let [first, second] = ["edge-1", "edge-2"].map(|name| shop.edges.url(name).unwrap());
    let settled = accepted(&first, 1..=10).await;
    wait_settled(&ledger, &settled).await;
    let away = |proxy: &Proxy| {
        proxy.refuse();
        proxy.cut();
    };
    away(&shop.of_edges.amqp);
    let of_the_dead_edge = accepted(&first, 11..=25).await;
    let of_the_other_edge = accepted(&second, 26..=35).await;

    shop.edges.kill("edge-1", "KILL").await.unwrap();
    let mut redis = redis(&shop.servers).await;
    ::redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    shop.of_edges.amqp.heal();
    wait_running(&shop.edges, "edge-1").await;

    wait_settled(&ledger, &of_the_other_edge).await;
    wait_quiet(&shop.servers, &ledger).await;
    let orders = ledger.orders().await;
    let lost = of_the_dead_edge.iter().filter(|id| !orders.contains_key(*id)).count();
    assert_eq!(lost, of_the_dead_edge.len(), "they stood in Redis and in that edge alone");
    assert!(settled.iter().all(|id| orders[id] == "confirmed"), "PostgreSQL has these");
    assert_eq!(orders.len(), settled.len() + of_the_other_edge.len());
    // Their units are not: whoever lost an order may buy again.
    wait_until("one who lost the order buys again", || async {
        buy(&second, 11).await.unwrap().status == 202
    })
    .await;
    shop.close().await;
}
