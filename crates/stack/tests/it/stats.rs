//! `GET /ws/stats`: what each edge shows of every edge and settler, and what becomes of it when one
//! of them, or Redis, is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use stack::{Stack, StackOptions};
use tokio_tungstenite::tungstenite::Message;

use crate::buyer::{buy, post_buy, send};
use crate::crowd::Crowd;
use crate::wait::{patient, wait_until};

const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// Whoever is silent for longer is marked.
const SILENT_MS: u64 = 3_000;

/// A client of `/ws` or `/ws/stats`, and all it was told.
struct Viewer(Arc<Mutex<Vec<Value>>>);

impl Viewer {
    async fn open(base: &str, path: &str) -> Self {
        let url = format!("{}{path}", base.replace("http", "ws"));
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let told: Arc<Mutex<Vec<Value>>> = Arc::default();
        let viewer = Self(told.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    told.lock().unwrap().push(serde_json::from_str(&text).unwrap());
                }
            }
        });
        viewer
    }

    /// A viewer of each edge.
    async fn of_each(stack: &Stack) -> Vec<Self> {
        let mut viewers = Vec::new();
        for edge in EDGES {
            viewers.push(Self::open(&stack.url(edge).unwrap(), "/ws/stats").await);
        }
        viewers
    }

    fn count(&self, kind: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|frame| frame["type"] == kind).count()
    }

    fn newest(&self) -> Value {
        let told = self.0.lock().unwrap();
        told.iter().rev().find(|frame| frame["type"] == "stats").cloned().unwrap_or_default()
    }

    /// Waits for a frame that shows what is wanted.
    async fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        wait_until(what, || async { wanted(&self.newest()) }).await;
    }
}

fn list<'a>(frame: &'a Value, field: &str) -> &'a [Value] {
    frame[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn tile<'a>(frame: &'a Value, field: &str, name: &str) -> Option<&'a Value> {
    list(frame, field).iter().find(|tile| tile["name"] == name)
}

fn is_silent(tile: &Value) -> bool {
    tile["age_ms"].as_u64().unwrap() > SILENT_MS
}

/// Whether a frame shows exactly these edges, each heard just now.
fn hears(frame: &Value, edges: &[&str]) -> bool {
    let tiles = list(frame, "edges");
    tiles.iter().map(|tile| &tile["name"]).eq(edges) && !tiles.iter().any(is_silent)
}

fn is_positive(number: &Value) -> bool {
    number.as_f64().is_some_and(|number| number > 0.0)
}

/// Names of the settlers that lead.
fn leaders(frame: &Value) -> Vec<String> {
    let leading = list(frame, "settlers").iter().filter(|tile| tile["leads"] == true);
    leading.map(|tile| tile["name"].as_str().unwrap().to_owned()).collect()
}

async fn start(stock: i64, settlers: usize) -> Stack {
    let env = vec![("SETTLER_RECONCILE_MS".to_owned(), "300".to_owned())];
    let options = StackOptions { stock, settlers, env, ..StackOptions::default() };
    Stack::start(options).await.unwrap()
}

async fn publish(stack: &Stack, payload: &[u8]) {
    let client = redis::Client::open(stack.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PUBLISH").arg("stats").arg(payload).exec_async(&mut redis).await.unwrap();
}

/// The newest contribution of everyone, by name.
#[derive(Clone, Default)]
struct Contributions(Arc<Mutex<BTreeMap<String, Value>>>);

impl Contributions {
    async fn listen(stack: &Stack) -> Self {
        let client = redis::Client::open(stack.redis_url()).unwrap();
        let mut pubsub = client.get_async_pubsub().await.unwrap();
        pubsub.subscribe("stats").await.unwrap();
        let heard = Self::default();
        let newest = heard.clone();
        tokio::spawn(async move {
            while let Some(message) = pubsub.on_message().next().await {
                let said: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
                let name = said["name"].as_str().unwrap().to_owned();
                newest.0.lock().unwrap().insert(name, said);
            }
        });
        heard
    }

    /// A count of every edge or settler, summed up.
    fn sum(&self, count: impl Fn(&Value) -> Option<u64>) -> u64 {
        self.0.lock().unwrap().values().filter_map(count).sum()
    }

    fn answers(&self, kind: &str) -> u64 {
        self.sum(|said| said["answers"][kind].as_u64())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_edge_shows_all_edges_and_settlers_and_what_is_bought() {
    let stack = start(1_000_000, 2).await;
    let mut viewers = Viewer::of_each(&stack).await;
    viewers.push(Viewer::open(stack.http(), "/ws/stats").await);
    let heard = Contributions::listen(&stack).await;
    let crowd = Crowd::gentle(stack.http());
    for viewer in &viewers {
        viewer
            .shows("a viewer sees everyone at work", |frame| {
                let product = &frame["products"][0];
                let known = ["outbox_depth", "outbox_oldest_ms", "open_units", "oversold_units"];
                hears(frame, &EDGES)
                    && list(frame, "edges").iter().all(|edge| {
                        edge["ready"] == true && is_positive(&edge["requests_per_second"])
                    })
                    && is_positive(&frame["answers_per_second"]["accepted"])
                    && frame["answers_per_second"]["sold_out"] == 0.0
                    && is_positive(&frame["latency_ms"]["p50"])
                    && frame["latency_ms"]["p50"].as_f64() <= frame["latency_ms"]["p99"].as_f64()
                    && is_positive(&frame["settled_per_second"])
                    && list(frame, "settlers").len() == 2
                    && leaders(frame).len() == 1
                    && frame["queue_messages"].is_u64()
                    && frame["dead_letters"] == 0
                    && product["product_id"] == 1
                    && product["gate_open"] == true
                    && known.iter().all(|field| product[field].is_i64())
                    && product["drift_units"] == 0
            })
            .await;
    }
    wait_until("one settler of two says that it leads", || async {
        let settlers = heard.sum(|said| Some(u64::from(said["role"] == "settler")));
        let leading = heard.sum(|said| Some(u64::from(said["leader"].is_object())));
        (settlers, leading) == (2, 1)
    })
    .await;
    // Each edge has a viewer of its own, and one of them one more, through nginx.
    let sockets: u64 =
        list(&viewers[0].newest(), "edges").iter().filter_map(|e| e["ws_clients"].as_u64()).sum();
    assert_eq!(sockets, 4);
    crowd.go_home().await;
    viewers[0]
        .shows("nobody buys any more", |frame| {
            let rates = frame["answers_per_second"].as_object().unwrap();
            rates.values().all(|rate| *rate == 0.0)
                && frame["latency_ms"].is_null()
                && frame["products"][0]["open_units"] == 0
                && leaders(frame).len() == 1
        })
        .await;
    let led = leaders(&viewers[0].newest()).remove(0);
    stack.stop(&led).await.unwrap();
    viewers[0]
        .shows("the other settler leads", |frame| {
            let gone = tile(frame, "settlers", &led).unwrap();
            let leading = leaders(frame);
            leading.len() == 1 && leading[0] != led && is_silent(gone) && gone["ready"] == false
        })
        .await;
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_counted_once_by_what_it_was() {
    let options = StackOptions { stock: 5, ..StackOptions::default() };
    let stack = Stack::start(patient(options)).await.unwrap();
    let heard = Contributions::listen(&stack).await;
    for user in 1..=20 {
        let status = buy(stack.http(), user).await.unwrap().status;
        assert_eq!(status, if user <= 5 { 202 } else { 400 }, "user {user}");
    }
    for _ in 0..3 {
        let request = Request::post("/api/buy")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("idempotency-key", "another")
            .body(Full::<Bytes>::from(r#"{"user_id":1,"product_id":1}"#))
            .unwrap();
        assert_eq!(send(stack.http(), request).await.unwrap().status, 409);
    }
    for body in ["{", r#"{"user_id":1,"product_id":999}"#] {
        assert!(post_buy(stack.http(), body.to_owned()).await.unwrap().status.is_client_error());
    }
    wait_until("20 answers and five others were counted, and five orders", || async {
        let answers =
            ["accepted", "replayed", "sold_out", "refused", "failed"].map(|k| heard.answers(k));
        let timed = heard
            .sum(|said| said["latency"].as_array()?.iter().map(Value::as_u64).sum::<Option<u64>>());
        let settled = heard.sum(|said| said["settled"].as_u64());
        answers == [5, 0, 15, 5, 0] && timed == 25 && settled == 5
    })
    .await;
    let viewer = Viewer::open(stack.http(), "/ws/stats").await;
    let pressing = async {
        for user in 100.. {
            assert_eq!(buy(stack.http(), user).await.unwrap().status, 400);
        }
    };
    let shown = viewer.shows("sold-out answers have a rate", |frame| {
        let rates = &frame["answers_per_second"];
        is_positive(&rates["sold_out"]) && rates["accepted"] == 0.0
    });
    tokio::select! {
        () = pressing => {}
        () = shown => {}
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_is_gone_is_marked_and_comes_back_counting_from_zero() {
    let stack = start(1_000, 1).await;
    let edge = stack.url("edge-1").unwrap();
    let viewer = Viewer::open(&edge, "/ws/stats").await;
    viewer.shows("all edges are there", |frame| hears(frame, &EDGES)).await;
    assert_eq!(buy(&stack.url("edge-3").unwrap(), 1).await.unwrap().status, 202);
    // Silent first, as an edge is whose host is gone.
    stack.kill("edge-3", "STOP").await.unwrap();
    let mut before = 0;
    for what in ["its age grows", "its age grows on"] {
        viewer
            .shows(what, |frame| {
                let gone = tile(frame, "edges", "edge-3").unwrap();
                is_silent(gone)
                    && gone["age_ms"].as_u64().unwrap() > before
                    && gone["ready"] == false
                    && gone["requests_per_second"] == 0.0
                    && hears_all_but(frame, "edge-3")
            })
            .await;
        before = tile(&viewer.newest(), "edges", "edge-3").unwrap()["age_ms"].as_u64().unwrap();
    }
    stack.kill("edge-3", "KILL").await.unwrap();
    viewer
        .shows("it is there again", |frame| {
            hears(frame, &EDGES) && tile(frame, "edges", "edge-3").unwrap()["ready"] == true
        })
        .await;
    for frame in viewer.0.lock().unwrap().iter().filter(|frame| frame["type"] == "stats") {
        assert!(frame["answers_per_second"]["accepted"].as_f64().unwrap() <= 2.0, "{frame}");
    }
    stack.shutdown().await;
}

fn hears_all_but(frame: &Value, name: &str) -> bool {
    list(frame, "edges").iter().all(|tile| is_silent(tile) == (tile["name"] == name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_an_edge_shows_itself_and_the_others_grow_old() {
    let stack = start(1_000, 1).await;
    let viewers = Viewer::of_each(&stack).await;
    for viewer in &viewers {
        viewer.shows("all edges are there", |frame| hears(frame, &EDGES)).await;
    }
    stack.stop("redis").await.unwrap();
    for (viewer, own) in viewers.iter().zip(EDGES) {
        viewer
            .shows("it hears itself alone", |frame| {
                list(frame, "edges").iter().all(|tile| is_silent(tile) != (tile["name"] == own))
                    && list(frame, "settlers").iter().all(is_silent)
                    && leaders(frame).is_empty()
                    && list(frame, "products").is_empty()
                    && frame["queue_messages"].is_null()
            })
            .await;
    }
    // What it answers meanwhile is seen.
    let edge = stack.url(EDGES[0]).unwrap();
    let pressing = async {
        for user in 1.. {
            assert_eq!(buy(&edge, user).await.unwrap().status, 503);
        }
    };
    let shown = viewers[0].shows("the failed answers of this edge", |frame| {
        let own = tile(frame, "edges", EDGES[0]).unwrap();
        is_positive(&frame["answers_per_second"]["failed"])
            && is_positive(&own["requests_per_second"])
            && own["ready"] == false
    });
    tokio::select! {
        () = pressing => {}
        () = shown => {}
    }
    stack.resume("redis").await.unwrap();
    for viewer in &viewers {
        viewer
            .shows("everybody is heard again", |frame| {
                hears(frame, &EDGES) && leaders(frame).len() == 1
            })
            .await;
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_of_ours_published_is_named_once_and_stock_alone_is_told_on_ws() {
    let stack = start(1_000, 1).await;
    let edge = stack.url("edge-1").unwrap();
    let stock_alone = Viewer::open(&edge, "/ws").await;
    let viewer = Viewer::open(&edge, "/ws/stats").await;
    viewer.shows("all edges are there", |frame| hears(frame, &EDGES)).await;
    let later = json!({"v": 2, "name": "edge-9", "started_ms": 1, "uptime_ms": 1, "ready": true});
    let rubbish: [Vec<u8>; 6] = [
        b"".into(),
        b"\xff\xfe{".into(),
        b"[1,2,3]".into(),
        "[".repeat(60_000).into(),
        "x".repeat(1_000_000).into(),
        later.to_string().into(),
    ];
    for _ in 0..5 {
        for payload in &rubbish {
            publish(&stack, payload).await;
        }
    }
    let seen = viewer.count("stats");
    assert_eq!(buy(&edge, 1).await.unwrap().status, 202);
    wait_until("frames go on, with three edges", || async {
        viewer.count("stats") >= seen + 3 && hears(&viewer.newest(), &EDGES)
    })
    .await;
    for edge in EDGES {
        let log = std::fs::read_to_string(stack.dir().join(format!("logs/{edge}.log"))).unwrap();
        assert_eq!(log.matches("a contribution to the stats").count(), 1, "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
    // Both were told of the sale, and one of them of nothing else.
    for viewer in [&stock_alone, &viewer] {
        wait_until("the purchase is told", || async { viewer.count("stock") > 0 }).await;
        assert_eq!((viewer.count("hello"), viewer.count("snapshot")), (1, 1));
    }
    assert_eq!(stock_alone.count("stats"), 0);
    stack.shutdown().await;
}

/// Waits until each edge of a stack hears every other.
pub(crate) async fn wait_heard(stack: &Stack) {
    for viewer in Viewer::of_each(stack).await {
        viewer.shows("each edge hears every other", |frame| hears(frame, &EDGES)).await;
    }
}
