//! Hash slots of a Redis Cluster: of a key, of a command, and who holds which. Pure.
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags"; command CLUSTER
//! SLOTS. Invariant: a slot belongs to one primary; replicas are never read.

use redis::{Arg, Cmd, Value};

/// Slots of every cluster.
const SLOTS: u16 = 16_384;

/// Slots one after the other that one primary holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// `host:port`.
    pub(crate) primary: String,
}

/// The slot of a key: of its hash tag, if it has one.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// What stands between the first `{` and the next `}`, unless that is nothing; else all of it.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        Some(close) if close > 0 => &inside[..close],
        _ => key,
    }
}

/// CRC-16/XMODEM, bit by bit: a hash tag is a few digits.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// The slot of a command's first key: the first argument, or that after the number of keys for a
/// script. `None` when it has none.
pub(crate) fn slot_of_command(command: &Cmd) -> Option<u16> {
    let mut args = command.args_iter();
    let position = match args.next()? {
        Arg::Simple(b"EVALSHA") => 2,
        _ => 0,
    };
    match args.nth(position)? {
        Arg::Simple(key) => Some(slot_of(key)),
        _ => None,
    }
}

/// Reads the reply of CLUSTER SLOTS that the node at `asked` (`host:port`) gave; `None` when it has
/// another shape. A node that does not know its own address leaves the host empty.
pub(crate) fn read_slots(reply: &Value, asked: &str) -> Option<Vec<SlotRange>> {
    let Value::Array(ranges) = reply else { return None };
    let own_host = asked.rsplit_once(':')?.0;
    ranges.iter().map(|range| read_range(range, own_host)).collect()
}

fn read_range(range: &Value, own_host: &str) -> Option<SlotRange> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else {
        return None;
    };
    let [host, Value::Int(port), ..] = &primary[..] else { return None };
    let host = match host {
        Value::BulkString(host) if !host.is_empty() => std::str::from_utf8(host).ok()?,
        Value::BulkString(_) | Value::Nil => own_host,
        _ => return None,
    };
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS);
    let port = u16::try_from(*port).ok()?;
    let primary = format!("{host}:{port}");
    Some(SlotRange { first: slot(first)?, last: slot(last)?, primary })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_the_specification_gives_it() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // CLUSTER KEYSLOT of Redis 7.0.15.
        for (key, slot) in [("a:{1}", 9842), ("a:{3}", 1584), ("a:{4}", 14_039)] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b"b:{1}"), slot_of(b"1"));
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn a_command_goes_where_its_first_key_is() {
        let mut script = redis::cmd("EVALSHA");
        script.arg("0123").arg(2).arg("a:{3}").arg("b:{3}").arg(77);
        assert_eq!(slot_of_command(&script), Some(1584));
        let mut scan = redis::cmd("HSCAN");
        scan.arg("b:{1}").arg(0).arg("COUNT").arg(5);
        assert_eq!(slot_of_command(&scan), Some(9842));
        assert_eq!(slot_of_command(&redis::cmd("TIME")), None);
    }

    #[test]
    fn primaries_are_read_and_replicas_are_not() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host, port| Value::Array(vec![host, Value::Int(port), bulk("id")]);
        let range = |first, last, nodes: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
        };
        let reply = Value::Array(vec![
            range(0, 99, vec![node(bulk("10.0.0.1"), 7000), node(bulk("10.0.0.2"), 7000)]),
            range(100, 199, vec![node(Value::Nil, 7001)]),
            range(200, 200, vec![node(bulk("::1"), 7002)]),
        ]);
        let found = read_slots(&reply, "seed:1").unwrap();
        let of = |first, last, primary: &str| SlotRange { first, last, primary: primary.into() };
        let expected =
            [of(0, 99, "10.0.0.1:7000"), of(100, 199, "seed:7001"), of(200, 200, "[::1]:7002")];
        assert_eq!(found, expected);
        assert_eq!(read_slots(&Value::Okay, "seed:1"), None);
        let beyond = Value::Array(vec![range(0, 16_384, vec![node(bulk("a"), 1)])]);
        assert_eq!(read_slots(&beyond, "seed:1"), None);
    }
}
