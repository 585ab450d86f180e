//! The live feeds, listened to while everything else is asked for.
//!
//! Invariant: every frame is one kind of `FeedMessage`, or a `StatsMessage` where that is told, and
//! each kind comes.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::schema::misfits;
use crate::wait::wait_until;

/// Not JSON, an order that was paid, and more orders than may be watched.
fn said() -> Vec<Value> {
    let watch = |number: u32| {
        let id = format!("019ab3c4-7e1b-7c3d-8a21-0000000000{number}");
        json!({ "type": "watch", "reservation_id": id })
    };
    std::iter::once(json!("hello")).chain((61..=69).map(watch)).collect()
}

/// A socket that is listened to.
pub(crate) struct Feed {
    path: &'static str,
    heard: Arc<Mutex<Vec<Value>>>,
    listening: JoinHandle<()>,
}

impl Feed {
    pub(crate) async fn open(http: &str, path: &'static str) -> Self {
        let url = format!("{}{path}", http.replace("http", "ws"));
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for message in said() {
            socket.send(Message::text(message.to_string())).await.unwrap();
        }
        let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
        let frames = heard.clone();
        let listening = tokio::spawn(async move {
            while let Some(Ok(frame)) = socket.next().await {
                if let Message::Text(text) = frame {
                    frames.lock().unwrap().push(serde_json::from_str(&text).unwrap());
                }
            }
        });
        Self { path, heard, listening }
    }

    /// What is not as the document says. The heartbeat may have to be waited for.
    pub(crate) async fn close(self, document: &Value) -> Vec<String> {
        let schemas = &document["components"]["schemas"];
        let (feed, stats) = (&schemas["FeedMessage"], &schemas["StatsMessage"]);
        let mut kinds: Vec<&Value> = feed["oneOf"].as_array().unwrap().iter().collect();
        kinds.extend((self.path == "/ws/stats").then_some(stats));
        let kinds: Vec<&Value> = kinds.iter().map(|k| &k["properties"]["type"]["const"]).collect();
        wait_until("every kind of message came", || async {
            let heard = self.heard.lock().unwrap();
            kinds.iter().all(|kind| heard.iter().any(|frame| frame["type"] == **kind))
        })
        .await;
        self.listening.abort();
        let watch = &schemas["WatchMessage"];
        let sent = said().into_iter().skip(1).flat_map(|m| misfits(document, watch, &m, "watch"));
        let heard = self.heard.lock().unwrap();
        let told = heard.iter().flat_map(|frame| {
            let viewed = self.path == "/ws/stats" && frame["type"] == "stats";
            misfits(document, if viewed { stats } else { feed }, frame, self.path)
        });
        sent.chain(told).collect()
    }
}
