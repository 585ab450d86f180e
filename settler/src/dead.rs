//! `settler dead`: what became of messages no settler could read, and what a person does with them.
//!
//! Owns one walk over the dead-letter queue. Invariant: a message leaves that queue only after the
//! broker confirmed its copy in the orders queue, or because somebody dropped it by name; a walk
//! that breaks off leaves everything else where it was.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use domain::contract::dead_letter::DeadLetterView;
use domain::contract::topology;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::{AMQPValue, ShortString};
use service::amqp;

use crate::commands::say;
use crate::consume::broker::{Publish, Publisher, TOPOLOGY};
use crate::settings::{DeadCommand, DeadSettings, Which};

/// Messages one walk looks at: all of them are held unacknowledged meanwhile.
const WALK_MAX: u32 = 10_000;
/// Characters of a body that are shown.
const BODY_SHOWN: usize = 200;
/// Header the broker itself adds when its delivery limit was reached.
const BROKER_REASON: &str = "x-first-death-reason";

/// What to do with one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Show,
    Leave,
    Replay,
    Drop,
}

fn decide(command: &DeadCommand, message_id: &str) -> Act {
    let chosen = |which: &Which| which.all || which.message_ids.iter().any(|id| id == message_id);
    match command {
        DeadCommand::List { .. } => Act::Show,
        DeadCommand::Replay(which) if chosen(which) => Act::Replay,
        DeadCommand::Drop(which) if chosen(which) => Act::Drop,
        DeadCommand::Replay(_) | DeadCommand::Drop(_) => Act::Leave,
    }
}

/// Walks once over what is in the queue now.
///
/// # Errors
/// When the broker is away, a copy is not confirmed, or a message id names nothing.
pub async fn run(settings: &DeadSettings) -> anyhow::Result<ExitCode> {
    let url = &settings.amqp_url;
    let (connection, channel) =
        amqp::open(url, "settler-dead-letters", &TOPOLOGY).await.context("AMQP_URL")?;
    let mut orders = Publisher::new(url.clone(), "settler-replay");
    let waiting = amqp::depth(&channel, topology::DEAD_QUEUE).await?;
    let (mut seen, mut done) = (0, 0);
    while seen < waiting.min(WALK_MAX) {
        let queue = ShortString::from(topology::DEAD_QUEUE);
        let Some(message) = channel.basic_get(queue, BasicGetOptions::default()).await? else {
            break;
        };
        seen += 1;
        let view = read(&message);
        match decide(&settings.command, &view.message_id) {
            Act::Leave => continue,
            Act::Show => {
                let json = matches!(settings.command, DeadCommand::List { json: true });
                say(&if json { view.to_json() } else { in_words(&view) });
                continue;
            }
            Act::Replay => orders.publish_confirmed(&message.delivery.data).await?,
            Act::Drop => {}
        }
        message.delivery.acker.ack(BasicAckOptions::default()).await?;
        done += 1;
    }
    // What was not acknowledged returns to the queue with the connection.
    let _ = connection.close(200, "done".into()).await;
    sum_up(&settings.command, seen, done)
}

fn sum_up(command: &DeadCommand, seen: u32, done: usize) -> anyhow::Result<ExitCode> {
    let (which, verb) = match command {
        DeadCommand::List { json } => {
            if seen == 0 && !json {
                say("no dead letters");
            }
            return Ok(ExitCode::SUCCESS);
        }
        DeadCommand::Replay(which) => (which, "replayed"),
        DeadCommand::Drop(which) => (which, "dropped"),
    };
    say(&format!("{done} {verb}, {} left", seen as usize - done));
    let missing = which.message_ids.len().saturating_sub(done);
    ensure!(which.all || missing == 0, "{missing} of the message ids are not in the queue");
    Ok(ExitCode::SUCCESS)
}

fn read(message: &BasicGetMessage) -> DeadLetterView {
    let properties = &message.delivery.properties;
    let header = |name: &str| {
        let value = properties.headers().as_ref()?.inner().get(name)?;
        match value {
            AMQPValue::LongString(text) => Some(text.to_string()),
            AMQPValue::ShortString(text) => Some(text.to_string()),
            _ => None,
        }
    };
    let reason = header(topology::DEAD_REASON_HEADER).or_else(|| header(BROKER_REASON));
    let body = String::from_utf8_lossy(&message.delivery.data);
    DeadLetterView {
        message_id: properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
        reason: reason.unwrap_or_else(|| "unknown".to_owned()),
        bytes: message.delivery.data.len(),
        body: body.chars().take(BODY_SHOWN).collect(),
    }
}

fn in_words(view: &DeadLetterView) -> String {
    let DeadLetterView { message_id, reason, bytes, body } = view;
    // One line a message, whatever is in it.
    let body: String = body.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{message_id}  {reason}  {bytes} bytes  {body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_named_is_touched() {
        let which = |all, ids: &[&str]| Which {
            all,
            message_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        assert_eq!(decide(&DeadCommand::Replay(which(false, &["a"])), "a"), Act::Replay);
        assert_eq!(decide(&DeadCommand::Drop(which(false, &["a"])), "b"), Act::Leave);
        assert_eq!(decide(&DeadCommand::Drop(which(true, &[])), ""), Act::Drop);
        assert_eq!(decide(&DeadCommand::List { json: false }, "a"), Act::Show);
    }
}
