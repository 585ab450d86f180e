//! What one Redis node holds, and the commands the programs use. Pure.
//!
//! Replies are redis-rs values, as a connection would decode them.
//! Invariant: an unknown command is an error, never a default.

use std::collections::BTreeMap;

use redis::Value;

type Hash = BTreeMap<String, String>;
/// Entry ids are (ms, n).
type EntryId = (u64, u64);

/// Keys of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keyspace {
    hashes: BTreeMap<String, Hash>,
    streams: BTreeMap<String, BTreeMap<EntryId, Vec<String>>>,
    last_entry: EntryId,
}

/// Commands that change nothing.
const READS: [&str; 7] = ["HMGET", "HGET", "XLEN", "XRANGE", "INFO", "TIME", "HSCAN"];

/// Whether a command may change keys.
pub(crate) fn writes(command: &str) -> bool {
    !READS.contains(&command)
}

pub(crate) fn bulk(text: impl Into<String>) -> Value {
    Value::BulkString(text.into().into_bytes())
}

fn integer(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Keyspace {
    /// One hash; empty when there is none.
    pub(crate) fn hash(&self, key: &str) -> Hash {
        self.hashes.get(key).cloned().unwrap_or_default()
    }

    /// One number of a hash.
    pub(crate) fn number(&self, key: &str, field: &str) -> Option<i64> {
        self.hashes.get(key)?.get(field)?.parse().ok()
    }

    /// Entries of a stream.
    pub(crate) fn stream_len(&self, key: &str) -> usize {
        self.streams.get(key).map_or(0, BTreeMap::len)
    }

    /// Runs a command on these keys at `now_ms`.
    pub(crate) fn run(&mut self, args: &[String], now_ms: i64) -> Result<Value, String> {
        let [command, rest @ ..] = args else { return Err("ERR no command".into()) };
        let Some(key) = rest.first().cloned() else { return Err(format!("ERR {command} alone")) };
        let more = &rest[1..];
        Ok(match command.as_str() {
            "HMGET" | "HGET" => {
                let hash = self.hashes.get(&key);
                let value = |field: &String| match hash.and_then(|hash| hash.get(field)) {
                    Some(text) => bulk(text),
                    None => Value::Nil,
                };
                if command == "HGET" {
                    more.first().map_or(Value::Nil, value)
                } else {
                    Value::Array(more.iter().map(value).collect())
                }
            }
            "HSET" => {
                let hash = self.hashes.entry(key).or_default();
                for pair in more.chunks_exact(2) {
                    hash.insert(pair[0].clone(), pair[1].clone());
                }
                integer(more.len() / 2)
            }
            "HDEL" => {
                let hash = self.hashes.entry(key).or_default();
                integer(more.iter().filter(|field| hash.remove(*field).is_some()).count())
            }
            "HSCAN" => {
                let pairs = self.hash(&key).into_iter();
                let fields = pairs.flat_map(|(field, value)| [bulk(field), bulk(value)]).collect();
                Value::Array(vec![bulk("0"), Value::Array(fields)])
            }
            "DEL" => integer(usize::from(self.hashes.remove(&key).is_some())),
            "XADD" => self.add(key, more.get(1..).unwrap_or_default(), now_ms),
            "XLEN" => integer(self.stream_len(&key)),
            "XRANGE" => self.range(&key, more),
            "XDEL" => {
                let stream = self.streams.entry(key).or_default();
                let gone = more.iter().filter_map(|id| parse_id(id));
                integer(gone.filter(|id| stream.remove(id).is_some()).count())
            }
            other => return Err(format!("ERR unknown command {other}")),
        })
    }

    fn add(&mut self, key: String, fields: &[String], now_ms: i64) -> Value {
        let now = (u64::try_from(now_ms).unwrap_or(0), 0);
        self.last_entry = now.max((self.last_entry.0, self.last_entry.1 + 1));
        self.streams.entry(key).or_default().insert(self.last_entry, fields.to_vec());
        bulk(format!("{}-{}", self.last_entry.0, self.last_entry.1))
    }

    /// `START END COUNT n`, where START is `-` or `(id` and END is `+` or milliseconds.
    fn range(&self, key: &str, args: &[String]) -> Value {
        let end = args.get(1).and_then(|end| end.parse().ok()).unwrap_or(u64::MAX);
        let count = args.get(3).and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
        let after = args.first().and_then(|start| parse_id(start.strip_prefix('(')?));
        let entries = self.streams.get(key).into_iter().flatten();
        let entries = entries.filter(|(id, _)| after.is_none_or(|after| **id > after));
        let entries = entries.take_while(|((ms, _), _)| *ms <= end).take(count);
        let reply = entries.map(|((ms, n), fields)| {
            let fields = Value::Array(fields.iter().map(bulk).collect());
            Value::Array(vec![bulk(format!("{ms}-{n}")), fields])
        });
        Value::Array(reply.collect())
    }
}

fn parse_id(text: &str) -> Option<EntryId> {
    let (ms, n) = text.split_once('-')?;
    Some((ms.parse().ok()?, n.parse().ok()?))
}
