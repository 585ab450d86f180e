//! The real Lua scripts, run in process on a node's keys.
//!
//! Source: Redis documentation, "Lua API reference", for how values pass between Lua and Redis.
//! Invariant: a script sees the keys as they are when it starts, and nothing in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mlua::{Function, Lua, MultiValue, Table, Value as LuaValue};
use redis::Value;

use crate::keyspace::{Keyspace, bulk};

/// Every script the programs call.
const SOURCES: [&str; 8] = [
    include_str!("../../../lua/adopt_buyers.lua"),
    include_str!("../../../lua/begin_vouch.lua"),
    include_str!("../../../lua/forget_sale.lua"),
    include_str!("../../../lua/load_sale.lua"),
    include_str!("../../../lua/open_sale.lua"),
    include_str!("../../../lua/read_cut.lua"),
    include_str!("../../../lua/report_stock.lua"),
    include_str!("../../../lua/reserve.lua"),
];

/// What a script works on.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) keys: Keyspace,
    pub(crate) now_ms: i64,
    pub(crate) replid: String,
    /// What it published.
    pub(crate) frames: Vec<String>,
}

/// Compiled scripts.
pub(crate) struct Scripts {
    lua: Lua,
    by_sha: HashMap<String, Function>,
    stage: Arc<Mutex<Stage>>,
}

impl Scripts {
    /// Compiles every script, with each `(from, to)` of `edits` carried out where it occurs.
    pub(crate) fn compile(edits: &[(&str, &str)]) -> mlua::Result<Self> {
        let lua = Lua::new();
        let stage = Arc::new(Mutex::new(Stage::default()));
        let on = stage.clone();
        let call = lua.create_function(move |lua, args: MultiValue| {
            let args = args.iter().map(argument).collect::<mlua::Result<Vec<_>>>()?;
            let mut stage = on.lock().unwrap_or_else(PoisonError::into_inner);
            to_lua(lua, stage.run(&args).map_err(mlua::Error::runtime)?)
        })?;
        let api = lua.create_table()?;
        api.set("call", call)?;
        lua.globals().set("redis", api)?;
        let mut by_sha = HashMap::new();
        for source in SOURCES {
            let sha = redis::Script::new(source).get_hash().to_owned();
            let text = edits.iter().fold(source.to_owned(), |t, (from, to)| t.replace(from, to));
            // The shebang line is Redis's own.
            let body = text.split_once('\n').map_or("", |(_, body)| body);
            by_sha.insert(sha, lua.load(body).into_function()?);
        }
        Ok(Self { lua, by_sha, stage })
    }

    /// Whether `edit` changes anything: an edit that does not is a mistake.
    pub(crate) fn occurs(edit: &str) -> bool {
        SOURCES.iter().any(|source| source.contains(edit))
    }

    /// Runs `EVALSHA sha count keys… args…` on a stage, and gives it back with the reply.
    pub(crate) fn run(&self, args: &[String], stage: Stage) -> (Stage, Result<Value, String>) {
        self.swap(stage);
        let reply = self.call(args).map_err(|error| error.to_string());
        (self.swap(Stage::default()), reply)
    }

    fn swap(&self, stage: Stage) -> Stage {
        std::mem::replace(&mut *self.stage.lock().unwrap_or_else(PoisonError::into_inner), stage)
    }

    fn call(&self, args: &[String]) -> mlua::Result<Value> {
        let short = || mlua::Error::runtime("EVALSHA needs a sha, a count and its keys");
        let [_, sha, count, rest @ ..] = args else { return Err(short()) };
        let count: usize = count.parse().map_err(mlua::Error::external)?;
        let (keys, argv) = rest.split_at_checked(count).ok_or_else(short)?;
        let function = self.by_sha.get(sha).ok_or_else(|| mlua::Error::runtime("NOSCRIPT"))?;
        self.lua.globals().set("KEYS", keys.to_vec())?;
        self.lua.globals().set("ARGV", argv.to_vec())?;
        from_lua(&function.call::<LuaValue>(())?)
    }
}

impl Stage {
    /// One command, from a script or a client.
    pub(crate) fn run(&mut self, args: &[String]) -> Result<Value, String> {
        match args.first().map(String::as_str) {
            Some("TIME") => {
                let (seconds, ms) = (self.now_ms / 1000, self.now_ms % 1000);
                Ok(Value::Array(vec![bulk(seconds.to_string()), bulk((ms * 1000).to_string())]))
            }
            Some("INFO") => Ok(bulk(format!(
                "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n\
                 role:master\r\nmaster_replid:{}\r\n",
                self.replid
            ))),
            Some("PUBLISH") => {
                self.frames.extend(args.get(2).cloned());
                Ok(Value::Int(1))
            }
            _ => self.keys.run(args, self.now_ms),
        }
    }
}

/// Redis takes strings and numbers; whole numbers are written without a point.
fn argument(value: &LuaValue) -> mlua::Result<String> {
    match value {
        LuaValue::String(text) => Ok(text.to_str()?.to_owned()),
        LuaValue::Integer(number) => Ok(number.to_string()),
        LuaValue::Number(number) => Ok(number.to_string()),
        other => Err(mlua::Error::runtime(format!("an argument of type {}", other.type_name()))),
    }
}

fn to_lua(lua: &Lua, value: Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Nil => LuaValue::Boolean(false),
        #[expect(clippy::cast_precision_loss, reason = "Lua 5.1 has no other number")]
        Value::Int(number) => LuaValue::Number(number as f64),
        Value::BulkString(bytes) => LuaValue::String(lua.create_string(bytes)?),
        Value::Array(items) => {
            let table = lua.create_table()?;
            for (at, item) in items.into_iter().enumerate() {
                table.raw_set(at + 1, to_lua(lua, item)?)?;
            }
            LuaValue::Table(table)
        }
        other => return Err(mlua::Error::runtime(format!("no such reply here: {other:?}"))),
    })
}

fn from_lua(value: &LuaValue) -> mlua::Result<Value> {
    Ok(match value {
        LuaValue::Nil | LuaValue::Boolean(false) => Value::Nil,
        LuaValue::Boolean(true) => Value::Int(1),
        LuaValue::Integer(number) => Value::Int(*number),
        #[expect(clippy::cast_possible_truncation, reason = "as Redis does")]
        LuaValue::Number(number) => Value::Int(*number as i64),
        LuaValue::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        LuaValue::Table(table) => array(table)?,
        other => {
            return Err(mlua::Error::runtime(format!("a reply of type {}", other.type_name())));
        }
    })
}

/// Up to the first nil, as Redis does.
fn array(table: &Table) -> mlua::Result<Value> {
    let items = table.sequence_values::<LuaValue>().map(|item| from_lua(&item?));
    Ok(Value::Array(items.collect::<mlua::Result<_>>()?))
}
