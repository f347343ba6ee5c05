//! A user's Lua: compiled once, run in a state of its own each time, with limits on time, memory and libraries.
//!
//! Nothing of one run is there in the next, no script can reach a file, the network, the environment or other code, and each ends
//! within about a second: the clock is read every few instructions, and functions of the libraries that could run for long inside
//! one call are our own ([`strings`], [`pattern`], `prelude.lua`).

mod clock;
mod limits;
mod pattern;
mod strings;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use engine::health::Health;
use limits::{Limits, Strikes};
use mlua::chunk::ChunkMode;
use mlua::state::{GcIncParams, GcMode};
use mlua::{Error, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use resources::{HealthStatus, Object};
use serde_json::Value as Json;

/// How scripts are called in messages of Lua, which cuts long names.
const CHUNK: &str = "script";

/// How long a message may be, in characters.
const MAX_MESSAGE: usize = 2000;

/// What Lua always has and a script must not: they run code that is no text, read files, or keep the others from being counted.
const FORBIDDEN: [&str; 9] =
    ["collectgarbage", "coroutine", "dofile", "getfenv", "load", "loadfile", "loadstring", "newproxy", "setfenv"];

/// A script that judges objects.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    name: String,
    /// The compiled script, or why it cannot be read.
    code: Result<Vec<u8>, String>,
    strikes: Arc<Strikes>,
}

impl Script {
    /// Compiles a script. The name is that of messages: `health.example.com_Widget`.
    pub(crate) fn new(name: impl Into<String>, source: &str) -> Self {
        let name = name.into();
        let code = compile(CHUNK, source).map_err(|error| message_of(&name, &error));
        Self { name, code, strikes: Arc::default() }
    }

    /// Why the script cannot be read.
    pub(crate) fn error(&self) -> Option<&str> {
        self.code.as_ref().err().map(String::as_str)
    }

    /// How well the object is. `None`: the script says nothing of it, and it counts for nothing.
    pub(crate) fn judge(&self, object: &Object) -> Option<Health> {
        let unknown = |message: String| Some(Health::new(HealthStatus::Unknown, message));
        let code = match &self.code {
            Ok(code) => code,
            Err(message) => return unknown(message.clone()),
        };
        if self.strikes.rests() {
            return unknown(format!(
                "{}: it was stopped after a second several times in a row; it is tried again in a minute",
                self.name
            ));
        }
        if !limits::fits(&object.0) {
            return unknown(format!("{}: the object is too large to be judged by a script", self.name));
        }
        let limits = Rc::new(Limits::start());
        let verdict = run(code, object, &limits);
        self.strikes.count(limits.is_over());
        match verdict {
            Ok(Verdict::Nothing) => None,
            Ok(Verdict::Health(health)) => Some(health),
            Ok(Verdict::Wrong(message)) => unknown(format!("{}: {message}", self.name)),
            Err(error) => unknown(message_of(&self.name, &error)),
        }
    }
}

enum Verdict {
    Nothing,
    Health(Health),
    /// What it returned is no health.
    Wrong(String),
}

static PRELUDE: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| compile("library", include_str!("prelude.lua")).ok());

fn compile(name: &str, source: &str) -> mlua::Result<Vec<u8>> {
    let lua = Lua::new_with(StdLib::NONE, LuaOptions::default())?;
    let function = lua.load(source).set_name(format!("={name}")).set_mode(ChunkMode::Text).into_function()?;
    Ok(function.dump(false))
}

fn run(code: &[u8], object: &Object, limits: &Rc<Limits>) -> mlua::Result<Verdict> {
    let lua = sandbox(limits)?;
    lua.globals().raw_set("obj", to_lua(&lua, &object.0)?)?;
    // Lua 5.1 does not collect garbage when memory runs out, so it collects eagerly before.
    lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(110).step_multiplier(1000)));
    lua.set_memory_limit(lua.used_memory() + limits::MEMORY)?;
    let own = limits.clone();
    lua.set_hook(HookTriggers::new().every_nth_instruction(limits::EVERY), move |_, _| {
        own.check().map(|()| VmState::Continue)
    })?;
    let returned: MultiValue = lua.load(code).set_mode(ChunkMode::Binary).call(())?;
    // Argo CD looks at the last value.
    verdict(returned.into_iter().next_back().unwrap_or_default())
}

/// A state with the libraries that a script may use.
fn sandbox(limits: &Rc<Limits>) -> mlua::Result<Lua> {
    let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::default())?;
    let globals = lua.globals();
    for name in FORBIDDEN {
        globals.raw_remove(name)?;
    }
    let string: Table = globals.raw_get("string")?;
    string.raw_remove("dump")?;
    strings::install(&lua, &string, limits)?;
    globals.raw_set("os", clock::library(&lua, limits)?)?;
    let modules = lua.create_table()?;
    for name in ["string", "table", "math", "os"] {
        modules.raw_set(name, globals.raw_get::<Value>(name)?)?;
    }
    let own = limits.clone();
    let check = lua.create_function(move |_, ()| own.check())?;
    let prelude = PRELUDE.as_ref().ok_or_else(|| Error::runtime("the library of health checks does not compile"))?;
    lua.load(prelude).set_mode(ChunkMode::Binary).call::<()>((check, modules))?;
    Ok(lua)
}

/// An object as Lua has it: lists from 1, and nothing where JSON has null.
fn to_lua(lua: &Lua, value: &Json) -> mlua::Result<Value> {
    Ok(match value {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            let present = items.iter().filter(|item| !item.is_null());
            for (index, item) in present.enumerate() {
                table.raw_set(index + 1, to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
        Json::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                table.raw_set(name.as_str(), to_lua(lua, field)?)?;
            }
            Value::Table(table)
        }
    })
}

/// What a script meant by what it returned. Nothing, or a table without anything, is no health, as in Argo CD.
fn verdict(returned: Value) -> mlua::Result<Verdict> {
    let table = match returned {
        Value::Nil => return Ok(Verdict::Nothing),
        Value::Table(table) if table.is_empty() => return Ok(Verdict::Nothing),
        Value::Table(table) => table,
        other => {
            return Ok(Verdict::Wrong(format!(
                "it returned a {} instead of a table with status and message",
                kind_of(&other)
            )));
        }
    };
    let status = match table.raw_get("status")? {
        Value::String(status) => status.to_string_lossy(),
        Value::Nil => return Ok(Verdict::Wrong("it returned a table without status".into())),
        other => return Ok(Verdict::Wrong(format!("it returned a {} as status", kind_of(&other)))),
    };
    let message = match table.raw_get("message")? {
        Value::Nil => String::new(),
        Value::String(message) => shortened(&message.to_string_lossy()),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        other => return Ok(Verdict::Wrong(format!("it returned a {} as message", kind_of(&other)))),
    };
    let status = match status.as_str() {
        "Healthy" => HealthStatus::Healthy,
        "Suspended" => HealthStatus::Suspended,
        "Progressing" => HealthStatus::Progressing,
        "Missing" => HealthStatus::Missing,
        "Degraded" => HealthStatus::Degraded,
        "Unknown" => HealthStatus::Unknown,
        other => {
            return Ok(Verdict::Wrong(format!(
                "it returned the status {:?}, which is none of Healthy, Progressing, Degraded, Suspended, Missing and Unknown",
                other.chars().take(40).collect::<String>()
            )));
        }
    };
    Ok(Verdict::Health(Health::new(status, message)))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        other => other.type_name(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// An error of Lua in one line that begins with the script's name, and the line in it where that is known.
fn message_of(name: &str, error: &Error) -> String {
    let (mut root, mut traces) = (error, String::new());
    while let Error::CallbackError { traceback, cause } = root {
        traces.push_str(traceback);
        root = cause;
    }
    let text = match root {
        Error::MemoryError(_) => "it needs more than 16 MiB of memory".into(),
        Error::RuntimeError(message) | Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let text = text.lines().next().unwrap_or_default().trim();
    let text = shortened(text.strip_prefix("runtime error: ").unwrap_or(text));
    let here = format!("{CHUNK}:");
    if let Some(rest) = text.strip_prefix(&here) {
        return format!("{name}:{rest}");
    }
    let line =
        traces.split(&here).nth(1).and_then(|rest| rest.split(':').next()).filter(|line| line.parse::<u32>().is_ok());
    match line {
        Some(line) => format!("{name}:{line}: {text}"),
        None => format!("{name}: {text}"),
    }
}
