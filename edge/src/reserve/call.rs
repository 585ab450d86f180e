//! One call of `reserve.lua`: its keys and arguments, in the order the script's header names them.

use domain::ProductId;
use domain::contract::keys;
use redis::Cmd;
use service::redis_pool::LoadedScript;

use super::Proposal;

/// What a whole call is bound by.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Redis time after which nothing may be reserved, ms since the Unix epoch.
    pub deadline_ms: i64,
    /// Outbox entries from which on nothing more is reserved.
    pub outbox_max: u32,
}

/// The call for these proposals.
pub fn assemble<'a>(
    script: &LoadedScript,
    product: ProductId,
    bounds: Bounds,
    proposals: impl Iterator<Item = &'a Proposal>,
) -> Cmd {
    let (sale, buyers, outbox) =
        (keys::sale(product), keys::buyers(product), keys::outbox(product));
    let mut command = script.command(&[&sale, &buyers, &outbox]);
    command.arg(bounds.deadline_ms).arg(bounds.outbox_max);
    let mut id = [0; 36];
    for proposal in proposals {
        command
            .arg(proposal.user.get())
            .arg(proposal.quantity.units())
            .arg(&*proposal.candidate.0.hyphenated().encode_lower(&mut id));
    }
    command
}
