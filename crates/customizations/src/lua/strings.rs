//! Those functions of Lua's `string` that can take any time or memory in one call, with limits.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};

use super::limits::Limits;
use super::pattern::{Capture, Fault, Found, Meter, Pattern};

/// How long a text may be that one call makes.
const MAX_TEXT: usize = 1024 * 1024;

/// How deep functions that `gsub` calls may call `gsub`.
const MAX_NESTED: usize = 16;

/// Puts the functions into the library.
pub(super) fn install(lua: &Lua, string: &Table, limits: &Rc<Limits>) -> Result<()> {
    let own = limits.clone();
    let find = move |lua: &Lua, args: Search| search(lua, args, &own, true);
    string.raw_set("find", lua.create_function(find)?)?;
    let own = limits.clone();
    let matches = move |lua: &Lua, args: Search| search(lua, args, &own, false);
    string.raw_set("match", lua.create_function(matches)?)?;
    let own = limits.clone();
    string.raw_set("gmatch", lua.create_function(move |lua, (text, pattern)| gmatch(lua, text, &pattern, &own))?)?;
    let (own, nested) = (limits.clone(), Cell::new(0));
    let gsub = move |lua: &Lua, (text, pattern, by, most): (LuaString, LuaString, Value, Option<f64>)| {
        if nested.get() == MAX_NESTED {
            return Err(Error::runtime("string.gsub calls itself too deep"));
        }
        nested.set(nested.get() + 1);
        let done = gsub(lua, &text, &pattern, &by, most, &own);
        nested.set(nested.get() - 1);
        done
    };
    string.raw_set("gsub", lua.create_function(gsub)?)?;
    string.raw_set("rep", lua.create_function(rep)?)
}

/// The arguments of `find` and `match`.
type Search = (LuaString, LuaString, Option<f64>, Value);

fn fault(fault: Fault) -> Error {
    match fault {
        Fault::Malformed(why) => Error::runtime(format!("malformed pattern: {why}")),
        Fault::OutOfTime => Limits::out_of_time(),
    }
}

fn too_long(function: &str) -> Error {
    Error::runtime(format!("string.{function} would make a text of more than 1 MiB"))
}

fn value_of(lua: &Lua, capture: &Capture, text: &[u8]) -> Result<Value> {
    Ok(match capture {
        Capture::Text(range) => Value::String(lua.create_string(&text[range.clone()])?),
        Capture::Position(at) => place(at + 1),
    })
}

/// The captures, or the whole match where there are none.
fn values_of(lua: &Lua, found: &Found, text: &[u8]) -> Result<Vec<Value>> {
    if found.captures.is_empty() {
        return Ok(vec![value_of(lua, &Capture::Text(found.range.clone()), text)?]);
    }
    found.captures.iter().map(|capture| value_of(lua, capture, text)).collect()
}

fn place(at: usize) -> Value {
    Value::Number(at as f64)
}

/// Where a search begins, from Lua's number: from 1, or from the end if it is negative.
fn start(init: Option<f64>, length: usize) -> usize {
    let init = init.unwrap_or(1.0);
    if init > 0.0 {
        ((init - 1.0).min(u32::MAX.into()) as usize).min(length)
    } else if init < 0.0 {
        length.saturating_sub((-init).min(u32::MAX.into()) as usize)
    } else {
        0
    }
}

fn search(lua: &Lua, (text, pattern, init, plain): Search, limits: &Limits, places: bool) -> Result<MultiValue> {
    let (text, pattern) = (&*text.as_bytes(), &*pattern.as_bytes());
    let from = start(init, text.len());
    let plain = places && (!matches!(plain, Value::Nil | Value::Boolean(false)) || !pattern.iter().any(is_special));
    let found = if plain {
        let at = find_plain(text, pattern, from, limits).map_err(fault)?;
        at.map(|at| Found { range: at..at + pattern.len(), captures: Vec::new() })
    } else {
        Pattern::parse(pattern, true).and_then(|pattern| pattern.find(text, from, limits)).map_err(fault)?
    };
    let Some(found) = found else { return Ok(MultiValue::from_vec(vec![Value::Nil])) };
    Ok(MultiValue::from_vec(if places {
        let mut values = vec![place(found.range.start + 1), place(found.range.end)];
        for capture in &found.captures {
            values.push(value_of(lua, capture, text)?);
        }
        values
    } else {
        values_of(lua, &found, text)?
    }))
}

fn is_special(byte: &u8) -> bool {
    b"^$*+?.([%-".contains(byte)
}

fn find_plain(text: &[u8], wanted: &[u8], from: usize, limits: &Limits) -> std::result::Result<Option<usize>, Fault> {
    if wanted.is_empty() {
        return Ok(Some(from));
    }
    for (offset, window) in text[from..].windows(wanted.len()).enumerate() {
        limits.step()?;
        if window[0] == wanted[0] {
            // A long comparison is work too.
            for _ in 0..wanted.len() / 64 {
                limits.step()?;
            }
            if window == wanted {
                return Ok(Some(from + offset));
            }
        }
    }
    Ok(None)
}

fn gmatch(lua: &Lua, text: LuaString, pattern: &LuaString, limits: &Rc<Limits>) -> Result<Function> {
    let pattern = Pattern::parse(&pattern.as_bytes(), false).map_err(fault)?;
    let (limits, next) = (limits.clone(), Cell::new(0));
    lua.create_function(move |lua, ()| {
        let text = &*text.as_bytes();
        if next.get() > text.len() {
            return Ok(MultiValue::from_vec(vec![Value::Nil]));
        }
        let Some(found) = pattern.find(text, next.get(), &*limits).map_err(fault)? else {
            next.set(text.len() + 1);
            return Ok(MultiValue::from_vec(vec![Value::Nil]));
        };
        next.set(found.range.end + usize::from(found.range.is_empty()));
        Ok(MultiValue::from_vec(values_of(lua, &found, text)?))
    })
}

fn gsub(
    lua: &Lua,
    text: &LuaString,
    pattern: &LuaString,
    by: &Value,
    most: Option<f64>,
    limits: &Limits,
) -> Result<(LuaString, Value)> {
    let pattern = Pattern::parse(&pattern.as_bytes(), true).map_err(fault)?;
    let text = &*text.as_bytes();
    let most = most.unwrap_or(f64::INFINITY);
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0.0);
    while count < most {
        let found = pattern.fits(text, at, limits).map_err(fault)?;
        if let Some(found) = &found {
            count += 1.0;
            replacement(lua, &mut out, found, text, by)?;
        }
        match found {
            Some(found) if !found.range.is_empty() => at = found.range.end,
            _ => {
                let Some(byte) = text.get(at) else { break };
                out.push(*byte);
                at += 1;
            }
        }
        if out.len() > MAX_TEXT {
            return Err(too_long("gsub"));
        }
        if pattern.anchored {
            break;
        }
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok((lua.create_string(out)?, Value::Number(count)))
}

/// Appends what a match is replaced by.
fn replacement(lua: &Lua, out: &mut Vec<u8>, found: &Found, text: &[u8], by: &Value) -> Result<()> {
    let whole = &text[found.range.clone()];
    let value = match by {
        Value::Table(table) => {
            let first = values_of(lua, found, text)?.into_iter().next();
            table.get(first.unwrap_or(Value::Nil))?
        }
        Value::Function(function) => function.call(MultiValue::from_vec(values_of(lua, found, text)?))?,
        by => {
            let template = lua
                .coerce_string(by.clone())?
                .ok_or_else(|| Error::runtime("string.gsub replaces by a text, a table or a function"))?;
            return fill(lua, out, found, text, &template.as_bytes());
        }
    };
    match value {
        Value::Nil | Value::Boolean(false) => out.extend_from_slice(whole),
        value => {
            let kind = value.type_name();
            let value = lua.coerce_string(value)?;
            let value = value.ok_or_else(|| Error::runtime(format!("string.gsub cannot replace by a {kind}")))?;
            out.extend_from_slice(&value.as_bytes());
        }
    }
    Ok(())
}

/// Appends a text in which `%1` stands for the first capture and `%0` for the whole match.
fn fill(lua: &Lua, out: &mut Vec<u8>, found: &Found, text: &[u8], template: &[u8]) -> Result<()> {
    let mut bytes = template.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                let index = usize::from(digit - b'0');
                let whole = Capture::Text(found.range.clone());
                let capture = match index {
                    0 => Some(&whole),
                    1 if found.captures.is_empty() => Some(&whole),
                    index => found.captures.get(index - 1),
                };
                let capture = capture
                    .ok_or_else(|| Error::runtime(format!("string.gsub: the pattern has no capture {index}")))?;
                if let Some(value) = lua.coerce_string(value_of(lua, capture, text)?)? {
                    out.extend_from_slice(&value.as_bytes());
                }
            }
            Some(byte) => out.push(*byte),
            None => {}
        }
        if out.len() > MAX_TEXT {
            return Err(too_long("gsub"));
        }
    }
    Ok(())
}

fn rep(lua: &Lua, (text, count): (LuaString, f64)) -> Result<LuaString> {
    let text = text.as_bytes();
    if text.is_empty() || count.is_nan() || count < 1.0 {
        return lua.create_string("");
    }
    if count > MAX_TEXT as f64 / text.len() as f64 {
        return Err(too_long("rep"));
    }
    lua.create_string(text.repeat(count as usize))
}
