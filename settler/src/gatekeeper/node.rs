//! What a Redis node says of itself, and whether it may hold a sale at all.
//!
//! Source: Redis documentation, command INFO. Invariant: a node that could drop keys under memory
//! pressure, or forget everything at a restart, is never vouched for.

use redis::Value;
use service::redis_pool::RedisCalls;

use service::redis_reply::RedisStepError;

/// Oldest Redis that has what the scripts use (the shebang line).
const VERSION_MAJOR_MIN: u32 = 7;

/// A node that may be vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Changes at every restart and promotion.
    pub replid: String,
}

/// Why a node may not hold a sale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Too old.
    #[error("redis {0} is too old: version 7 or newer is needed for its scripts")]
    Version(String),
    /// May drop keys.
    #[error("redis maxmemory-policy is {0}: set noeviction, or it may forget buyers")]
    Policy(String),
    /// Forgets everything at a restart.
    #[error("redis has no append-only file: set appendonly yes, or a restart forgets the sale")]
    NoAppendOnly,
    /// Not writable.
    #[error("redis is a replica: point REDIS_URL at the primary")]
    Replica,
    /// INFO lacks a field.
    #[error("redis INFO does not say {0}")]
    Missing(&'static str),
}

/// Asks the node that holds this key.
///
/// # Errors
/// When it does not answer as Redis does.
pub async fn read_info(redis: &impl RedisCalls, key: &str) -> Result<String, RedisStepError> {
    // Without sections: a Redis too old to take several must still be able to say so.
    match redis.query_at(key, &redis::cmd("INFO")).await? {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::VerbatimString { text, .. } => Ok(text),
        other => Err(RedisStepError::Shape(format!("{other:?} from INFO"))),
    }
}

/// Judges what the node said.
///
/// # Errors
/// See [`NodeError`].
pub fn judge_info(info: &str) -> Result<Node, NodeError> {
    let field = |name: &'static str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim_end)
            .ok_or(NodeError::Missing(name))
    };
    let version = field("redis_version")?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < VERSION_MAJOR_MIN) {
        return Err(NodeError::Version(version.to_owned()));
    }
    if field("role")? != "master" {
        return Err(NodeError::Replica);
    }
    let policy = field("maxmemory_policy")?;
    if policy != "noeviction" {
        return Err(NodeError::Policy(policy.to_owned()));
    }
    if field("aof_enabled")? != "1" {
        return Err(NodeError::NoAppendOnly);
    }
    Ok(Node { replid: field("master_replid")?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n\
                        aof_enabled:1\r\nrole:master\r\nmaster_replid:abc\r\n";

    #[test]
    fn only_a_node_that_keeps_what_it_is_told_may_hold_a_sale() {
        assert_eq!(judge_info(GOOD), Ok(Node { replid: "abc".into() }));
        let cases = [
            ("7.0.15", "6.2.9", NodeError::Version("6.2.9".into())),
            ("noeviction", "allkeys-lru", NodeError::Policy("allkeys-lru".into())),
            ("aof_enabled:1", "aof_enabled:0", NodeError::NoAppendOnly),
            ("role:master", "role:slave", NodeError::Replica),
            ("master_replid", "x", NodeError::Missing("master_replid")),
        ];
        for (from, to, error) in cases {
            assert_eq!(judge_info(&GOOD.replace(from, to)), Err(error));
        }
    }
}
