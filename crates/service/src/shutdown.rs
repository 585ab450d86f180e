//! From a signal to a cancelled token. Owns which signals stop a program.
//!
//! Invariant: a second signal ends the process at once, so that a stuck drain can be cut short.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM or SIGINT cancels.
///
/// # Errors
/// When the process cannot install signal handlers.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let stop = token.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for signals in 0_u8.. {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if signals > 0 {
                tracing::warn!(signal = name, "second signal: leaving without draining");
                std::process::exit(1);
            }
            tracing::info!(signal = name, "stopping: draining what was accepted");
            stop.cancel();
        }
    });
    Ok(token)
}
