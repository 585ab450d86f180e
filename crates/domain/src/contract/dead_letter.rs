//! What `settler dead list --json` prints, one object a line.

use serde::Serialize;

/// One message no settler could read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterView {
    /// AMQP message id; empty when the message has none.
    pub message_id: String,
    /// Why it was refused.
    pub reason: String,
    /// Length of the body.
    pub bytes: usize,
    /// The body, as far as it is text, cut after 200 characters.
    pub body: String,
}

impl DeadLetterView {
    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }
}
