//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use stack::{Stack, StackOptions, State};

/// How long a condition may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What an edge waits for, so that a stall of the machine does not become an answer: less than
/// nginx waits for the edge.
const PATIENCE: [(&str, &str); 2] =
    [("EDGE_BUY_TIMEOUT_MS", "9000"), ("EDGE_REDIS_TIMEOUT_MS", "9000")];

/// A stack whose edges have patience.
pub(crate) fn patient(options: StackOptions) -> StackOptions {
    let patience = PATIENCE.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // The last one counts: what a test asks for itself.
    let env = patience.into_iter().chain(options.env).collect();
    StackOptions { env, ..options }
}

/// Waits until `condition` holds; panics with `what` at the deadline.
pub(crate) async fn wait_until<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until a process that died runs again.
pub(crate) async fn wait_running(stack: &Stack, name: &str) {
    wait_until(&format!("{name} runs again"), || async {
        stack.status().processes.iter().any(|p| p.name == *name && p.state == State::Running)
    })
    .await;
}
