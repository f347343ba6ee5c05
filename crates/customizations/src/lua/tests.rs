use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::pattern::Pattern;
use super::*;

/// What a script says of an object, as `Status: message`; `-` for nothing.
fn judged(source: &str, object: Json) -> String {
    let script = Script::new("health.example.com_Widget", source);
    script.judge(&Object(object)).map_or_else(|| "-".into(), |health| health.to_string())
}

/// What a script returns as its message.
fn said(source: &str) -> String {
    judged(source, json!({}))
}

/// The value of an expression, as text.
fn value(expression: &str) -> String {
    let said = said(&format!("return {{ status = 'Healthy', message = tostring({expression}) }}"));
    if said == "Healthy" { String::new() } else { said.strip_prefix("Healthy: ").unwrap_or(&said).into() }
}

const CERTIFICATE: &str = r#"
hs = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Issuing" and condition.status == "True" then
      hs.status = "Progressing"
      hs.message = condition.message
      return hs
    end
  end
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Ready" then
      hs.message = condition.message
      if condition.status == "True" then
        hs.status = "Healthy"
      else
        hs.status = "Degraded"
      end
      return hs
    end
  end
end
hs.status = "Progressing"
hs.message = "waiting for the certificate"
return hs
"#;

#[test]
fn conditions_are_walked() {
    for (conditions, wanted) in [
        (json!([{ "type": "Ready", "status": "True", "message": "up to date" }]), "Healthy: up to date"),
        (json!([null, { "type": "Ready", "status": "False", "message": "no issuer" }]), "Degraded: no issuer"),
        (
            json!([{ "type": "Ready", "status": "False" }, { "type": "Issuing", "status": "True", "message": "asked" }]),
            "Progressing: asked",
        ),
        (json!([]), "Progressing: waiting for the certificate"),
        (Json::Null, "Progressing: waiting for the certificate"),
    ] {
        assert_eq!(judged(CERTIFICATE, json!({ "status": { "conditions": conditions } })), wanted, "{conditions}");
    }
    assert_eq!(judged(CERTIFICATE, json!({})), "Progressing: waiting for the certificate");
}

#[test]
fn texts_are_searched() {
    let source = r#"
    local reason = obj.status.reason or ""
    if string.find(reason, "quota exceeded", 1, true) then
      return { status = "Degraded", message = reason:gsub("^%s+", "") }
    end
    local ready, total = reason:match("(%d+)/(%d+)")
    if ready and tonumber(ready) < tonumber(total) then
      return { status = "Progressing", message = string.format("%s of %d", ready, total) }
    end
    local words = {}
    for word in reason:gmatch("%a+") do table.insert(words, word:upper()) end
    table.sort(words, function(one, two) return one > two end)
    return { status = "Healthy", message = table.concat(words, ",") }
    "#;
    for (reason, wanted) in [
        ("  quota exceeded.", "Degraded: quota exceeded."),
        ("1/3 ready", "Progressing: 1 of 3"),
        ("all is well", "Healthy: WELL,IS,ALL"),
    ] {
        assert_eq!(judged(source, json!({ "status": { "reason": reason } })), wanted);
    }
}

#[test]
fn times_are_reckoned() {
    let source = r#"
    local os = require("os")
    local year, month, day, hour, min, sec = string.match(obj.status.renewed, "(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z")
    local renewed = os.time({ year = year, month = month, day = day, hour = hour, min = min, sec = sec })
    if os.time() - renewed > 3600 then
      return { status = "Degraded", message = "last renewed " .. os.date("!%Y-%m-%d %H:%M:%S", renewed) }
    end
    return { status = "Healthy" }
    "#;
    let object = |at: String| json!({ "status": { "renewed": at } });
    assert_eq!(judged(source, object("2024-02-29T23:59:58Z".into())), "Degraded: last renewed 2024-02-29 23:59:58");
    let now = Timestamp::now();
    assert_eq!(judged(source, object(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())), "Healthy");
    for (expression, wanted) in [
        ("os.time({ year = 1970, month = 1, day = 1, hour = 0 })", "0"),
        ("os.time({ year = 1970, month = 1, day = 1 })", "43200"),
        ("os.time({ year = 2024, month = 14, day = -1, hour = 25 })", "1738285200"),
        ("os.time({ year = 1900, month = 3, day = 1, hour = 0 })", "-2203891200"),
        ("os.date('%A %d %B %Y', 0)", "Thursday 01 January 1970"),
        ("os.date('*t', 86399).hour", "23"),
        ("os.date('!*t', 0).wday", "5"),
        ("os.difftime(5, 3)", "2"),
        ("os.clock() < 1", "true"),
        (
            "os.date('%Y', 1e18)",
            "health.example.com_Widget:1: os.date: the time is before the year -9999 or after 9999",
        ),
        (
            "os.date(string.rep('%c', 200))",
            "health.example.com_Widget:1: os.date: the format is longer than 256 characters",
        ),
    ] {
        assert_eq!(value(expression).trim_start_matches("Unknown: "), wanted, "{expression}");
    }
}

#[test]
fn an_object_is_tables() {
    let object = json!({
        "metadata": { "generation": 3, "labels": {} },
        "spec": { "ratio": 0.5, "on": true, "gone": null, "items": ["a", null, "b"], "dotted.name/x": "y" },
    });
    for (expression, wanted) in [
        ("obj.metadata.generation == 3", "true"),
        ("obj.metadata.generation", "3"),
        ("next(obj.metadata.labels)", "nil"),
        ("obj.spec.ratio * 2", "1"),
        ("obj.spec.on", "true"),
        ("obj.spec.gone", "nil"),
        ("#obj.spec.items .. obj.spec.items[2]", "2b"),
        ("obj.spec['dotted.name/x']", "y"),
        ("type(obj.spec.items)", "table"),
    ] {
        let source = format!("return {{ status = 'Healthy', message = tostring({expression}) }}");
        assert_eq!(judged(&source, object.clone()), format!("Healthy: {wanted}"), "{expression}");
    }
}

#[test]
fn what_a_script_returns_is_understood() {
    for (source, wanted) in [
        ("return { status = 'Suspended', message = 'paused' }", "Suspended: paused"),
        ("return { status = 'Missing' }", "Missing"),
        ("return { status = 'Unknown', message = 3.5 }", "Unknown: 3.5"),
        ("return 1, { status = 'Healthy' }", "Healthy"),
        // No health, as in Argo CD.
        ("return nil", "-"),
        ("return {}", "-"),
        ("local x = 1", "-"),
        ("return { message = 'x' }", "Unknown: health.example.com_Widget: it returned a table without status"),
        ("return { 'Healthy' }", "Unknown: health.example.com_Widget: it returned a table without status"),
        (
            "return { status = 'Fine' }",
            "Unknown: health.example.com_Widget: it returned the status \"Fine\", which is none of Healthy, Progressing, \
             Degraded, Suspended, Missing and Unknown",
        ),
        ("return { status = 1 }", "Unknown: health.example.com_Widget: it returned a number as status"),
        (
            "return { status = 'Healthy', message = {} }",
            "Unknown: health.example.com_Widget: it returned a table as message",
        ),
        (
            "return 'Healthy'",
            "Unknown: health.example.com_Widget: it returned a string instead of a table with status and message",
        ),
        (
            "return function() end",
            "Unknown: health.example.com_Widget: it returned a function instead of a table with status and message",
        ),
    ] {
        assert_eq!(said(source), wanted, "{source}");
    }
    let long = said("return { status = 'Healthy', message = string.rep('é', 5000) }");
    assert_eq!(long.chars().count(), "Healthy: ".len() + MAX_MESSAGE + 1);
}

#[test]
fn errors_say_where() {
    for (source, wanted) in [
        ("\n\nreturn obj.status.phase", "health.example.com_Widget:3: attempt to index field 'status' (a nil value)"),
        ("error('no luck')", "health.example.com_Widget:1: no luck"),
        ("\nerror('no luck\\nat all', 0)", "health.example.com_Widget: no luck"),
        ("hs = {\nreturn hs", "health.example.com_Widget:2: unexpected symbol near 'return'"),
        ("\nstring.rep('x', 1e9)", "health.example.com_Widget:2: string.rep would make a text of more than 1 MiB"),
        ("\nstring.find('x', '[')", "health.example.com_Widget:2: malformed pattern: a set has no ]"),
        (
            "require('io')",
            "health.example.com_Widget:1: module 'io' not found: there are only string, table, math and os",
        ),
    ] {
        assert_eq!(said(source), format!("Unknown: {wanted}"), "{source}");
    }
    for source in ["error({})", "error(nil)", "error()"] {
        let said = said(source);
        assert!(said.starts_with("Unknown: health.example.com_Widget"), "{source}: {said}");
    }
    let script = Script::new("health.Pod", "hs = {");
    assert!(script.error().unwrap().starts_with("health.Pod:1: "), "{script:?}");
}

#[test]
fn nothing_dangerous_is_there() {
    for name in [
        "collectgarbage",
        "coroutine",
        "debug",
        "dofile",
        "getfenv",
        "io",
        "load",
        "loadfile",
        "loadstring",
        "module",
        "newproxy",
        "package",
        "setfenv",
        "os.execute",
        "os.exit",
        "os.getenv",
        "os.remove",
        "os.rename",
        "os.setlocale",
        "os.tmpname",
        "string.dump",
    ] {
        assert_eq!(value(name), "nil", "{name}");
    }
    for name in [
        "assert",
        "error",
        "ipairs",
        "next",
        "pairs",
        "pcall",
        "print",
        "rawget",
        "select",
        "setmetatable",
        "tonumber",
        "tostring",
        "type",
        "unpack",
        "xpcall",
        "string.byte",
        "string.char",
        "string.find",
        "string.format",
        "string.gmatch",
        "string.gsub",
        "string.len",
        "string.lower",
        "string.match",
        "string.rep",
        "string.reverse",
        "string.sub",
        "string.upper",
        "table.concat",
        "table.getn",
        "table.insert",
        "table.maxn",
        "table.remove",
        "table.sort",
        "math.floor",
        "math.max",
        "math.random",
        "os.time",
    ] {
        assert_eq!(value(&format!("type({name})")), "function", "{name}");
    }
}

#[test]
fn library_functions_do_what_lua_does() {
    for (expression, wanted) in [
        ("('hello'):find('l')", "3"),
        ("select(2, ('hello'):find('l+'))", "4"),
        ("('hello'):find('l', -1)", "nil"),
        ("('hello'):find('', 10)", "6"),
        ("('a.b'):find('.', 2, true)", "2"),
        ("('a+b'):find('a+b')", "nil"),
        ("('a+b'):find('a+b', 1, true)", "1"),
        ("select(3, ('k=v'):find('(%w)=(%w)'))", "k"),
        ("('k=v'):match('(%w)=(%w)')", "k"),
        ("('abc'):match('()b')", "2"),
        ("('abc'):match('x')", "nil"),
        ("('abc'):gsub('', '-')", "-a-b-c-"),
        ("('hello world'):gsub('o', '0', 1)", "hell0 world"),
        ("select(2, ('hello'):gsub('l', 'L'))", "2"),
        ("('hello'):gsub('(h)(e)', '%2%1%0%%')", "ehhe%llo"),
        ("('a b'):gsub('%w', '<%1>')", "<a> <b>"),
        ("('a b c'):gsub('%w', { a = 1, b = true and 'B' })", "1 B c"),
        ("('abc'):gsub('%w', function(c) if c == 'b' then return 'x' end end)", "axc"),
        ("('aaa'):gsub('^a', 'b')", "baa"),
        ("('abc'):gsub('b', '%9')", "Unknown: health.example.com_Widget:1: string.gsub: the pattern has no capture 9"),
        ("('ab'):rep(3)", "ababab"),
        ("('ab'):rep(-1)", ""),
        ("('ab'):rep(1.5)", "ab"),
        ("string.format('%s %s %d %5.2f %q', true, nil, 3, 2.5, 'x')", "true nil 3  2.50 \"x\""),
        (
            "(function() local t = {} for k, v in ('a=1, b=2'):gmatch('(%w)=(%w)') do t[#t + 1] = k .. v end return table.concat(t) end)()",
            "a1b2",
        ),
        ("(function() local n = 0 for _ in ('abc'):gmatch('') do n = n + 1 end return n end)()", "4"),
        ("(function() local t = { 5, 2, 4, 1, 3 } table.sort(t) return table.concat(t) end)()", "12345"),
        ("(function() local t = {} table.sort(t) return #t end)()", "0"),
        (
            "(function() local t = { 'b1', 'a1', 'b2', 'a2' } table.sort(t, function(x, y) return x:sub(1, 1) < y:sub(1, 1) end) return table.concat(t) end)()",
            "a1a2b1b2",
        ),
        ("pcall(error, 'x')", "false"),
        ("select(2, pcall(error, 'x', 0))", "x"),
        ("select(2, xpcall(function(x) return x end, function() end, 1))", "1"),
        ("select(2, xpcall(function() error('x', 0) end, function(e) return e .. '!' end))", "x!"),
        ("require('string') == string", "true"),
    ] {
        assert_eq!(value(expression), wanted, "{expression}");
    }
    // A list sorts as any comparison says, also one that contradicts itself.
    assert_eq!(
        said(
            "local t = { 3, 1, 2 } table.sort(t, function() return true end) return { status = 'Healthy', message = #t }"
        ),
        "Healthy: 3"
    );
}

/// What a call gives, as text; `None` if it fails.
fn called(lua: &Lua, call: &str, text: &str, pattern: &str) -> Option<String> {
    let (lua_call, args) = (format!("local s, p = ... {call}"), (text, pattern));
    let values: MultiValue = lua.load(lua_call).call(args).ok()?;
    let text = |value: Value| value.to_string().unwrap_or_default();
    Some(values.into_iter().map(text).collect::<Vec<_>>().join(" | "))
}

#[test]
fn patterns_do_what_those_of_lua_itself_do() {
    let theirs = Lua::new();
    let mut ours = sandbox(&Rc::new(Limits::start())).unwrap();
    const PARTS: [&str; 24] = [
        "a", "b", "c", ".", "%a", "%W", "%d", "[ab]", "[^a]", "[a-c]", "[%a1]", "(", ")", "()", "*", "+", "-", "?",
        "^", "$", "%1", "%b()", "%f[a]", "1",
    ];
    const TEXTS: [&str; 9] = ["", "a", "abc", "aabbcc", "a1b2c3", "(a(b)c)", "ab ab ba", "^a$", "cabcabca-b"];
    const CALLS: [&str; 4] = [
        "return s:find(p)",
        "return s:match(p, 2)",
        "return s:gsub(p, '<%0>')",
        "local r = {} for x, y in s:gmatch(p) do r[#r + 1] = tostring(x) .. tostring(y) end return table.concat(r, ',')",
    ];
    let (mut state, mut compared) = (88_172_645_463_325_252_u64, 0);
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for round in 0..6000 {
        if round % 500 == 0 {
            // A new second.
            ours = sandbox(&Rc::new(Limits::start())).unwrap();
        }
        let pattern: String = (0..=next(6)).map(|_| PARTS[next(PARTS.len())]).collect();
        // Lua finds out only on the way that a pattern is malformed; we say so at once.
        if Pattern::parse(pattern.as_bytes(), true).is_err() || Pattern::parse(pattern.as_bytes(), false).is_err() {
            continue;
        }
        let (text, call) = (TEXTS[next(TEXTS.len())], CALLS[next(CALLS.len())]);
        let wanted = called(&theirs, call, text, &pattern);
        assert_eq!(called(&ours, call, text, &pattern), wanted, "{call} of {text:?} by {pattern:?}");
        compared += 1;
    }
    assert!(compared > 2000, "{compared}");
}

/// A script is stopped in time, and says why.
fn stopped(source: &str, wanted: &str) {
    let (started, said) = (Instant::now(), said(source));
    assert!(said.contains(wanted), "{source}: {said}");
    assert!(said.starts_with("Unknown: health.example.com_Widget"), "{source}: {said}");
    assert!(started.elapsed() < Duration::from_secs(4), "{source}: {:?}", started.elapsed());
}

#[test]
fn an_endless_script_is_stopped() {
    const STOPPED: &str = "it was stopped after a second";
    for source in [
        "while true do end",
        "local function f() return f() end f()",
        "repeat local ok = pcall(function() while true do end end) until false",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local s = setmetatable({}, { __index = function(t, k) return k end }) local i = 1 while s[i] do i = i + 1 end",
        "table.sort({ 2, 1 }, function() while true do end end)",
        "('x'):gsub('x', function() while true do end end)",
        "for _ in function() return 1 end do end",
    ] {
        stopped(source, STOPPED);
    }
}

#[test]
fn pattern_bombs_are_stopped() {
    const STOPPED: &str = "it was stopped after a second";
    for source in [
        "('a'):rep(1000):find('.-.-.-.-.-b')",
        "('a'):rep(100000):find('.-b')",
        "('a'):rep(3000):match('(a*)(a*)(a*)b')",
        "('a'):rep(100000):gsub('a-b', '')",
        "for _ in ('a'):rep(100000):gmatch('a-b') do end",
        "('('):rep(1000000):find('%b()')",
        "('a'):rep(1000000):find(('a'):rep(500000) .. 'b', 1, true)",
        "while true do pcall(string.find, ('a'):rep(100000), '.-b') end",
        "local a, b = ('x'):rep(1000000) .. 'a', ('x'):rep(1000000) .. 'b' \
         local t = {} for i = 1, 100000 do t[i] = i % 2 == 0 and a or b end table.sort(t)",
        "local t = {} for i = 1, 200000 do table.insert(t, 1, i) end",
        "local a = ('\\0'):rep(1048576) a = a .. a local b = a .. 'x' a = a .. 'y' while b < a do end",
    ] {
        stopped(source, STOPPED);
    }
    // What takes no time in the first place.
    assert_eq!(value("string.rep('', 1e15)"), "");
    assert_eq!(value("#string.rep('x', 1048576)"), "1048576");
}

#[test]
fn a_memory_bomb_is_stopped() {
    for source in [
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(10000) .. i end",
        "local s = ('x'):rep(1000000) local t = {} for i = 1, 1000 do t[i] = s end table.concat(t)",
        "string.format(('%s'):rep(100), unpack((function() local t = {} for i = 1, 100 do t[i] = ('x'):rep(1000000) end return t end)()))",
    ] {
        stopped(source, "it needs more than 16 MiB of memory");
    }
    stopped("('x'):rep(1000):gsub('', ('x'):rep(1000000))", "string.gsub would make a text of more than 1 MiB");
    stopped(
        "('x'):rep(1000):gsub('.', function() return ('x'):rep(1000000) end)",
        "string.gsub would make a text of more than 1 MiB",
    );
    // To catch it does not help.
    stopped("while true do pcall(function() local t = {} while true do t[#t + 1] = {} end end) end", "it");
    // Garbage is no memory that is needed.
    for source in [
        "for i = 1, 1e5 do local t = { i, {}, tostring(i) } end",
        "local kept = {} for i = 1, 8 do kept[i] = ('x'):rep(1000000) .. i end for i = 1, 200 do local s = kept[1] .. i end",
        "local kept = {} for i = 1, 50000 do kept[i] = { i } end for i = 1, 50000 do local t = { i, { i } } end",
    ] {
        assert_eq!(said(&format!("{source} return {{ status = 'Healthy' }}")), "Healthy", "{source}");
    }
}

#[test]
fn deep_recursion_is_stopped() {
    // The stack of a thread of the worker.
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(|| {
        stopped("local function f(n) return 1 + f(n + 1) end f(1)", "stack overflow");
        stopped("local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) return t[1]", "overflow");
        stopped("local function f() ('x'):gsub('x', f) end f()", "string.gsub calls itself too deep");
        stopped(&format!("return {}1{}", "(".repeat(300), ")".repeat(300)), "chunk has too many syntax levels");
        stopped("local function f() local ok, e = pcall(f) error(e, 0) end f()", "overflow");
        let fine = said("local t = {} for i = 1, 50 do t = { t } end return { status = 'Healthy' }");
        assert_eq!(fine, "Healthy");
    });
    thread.unwrap().join().unwrap();
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!([{ "a": deep }]);
    }
    assert_eq!(judged("return { status = 'Healthy', message = #obj.deep }", json!({ "deep": deep })), "Healthy: 1");
}

#[test]
fn a_run_leaves_nothing_behind() {
    let script = Script::new(
        "health.x",
        r#"
        seen = (seen or 0) + 1
        string.marked = (string.marked or 0) + 1
        getmetatable("").__index.other = (getmetatable("").__index.other or 0) + 1
        _G.tostring = function() return "broken" end
        math.marked = math.marked == nil
        local status = obj.status
        status.phase = status.phase .. "!"
        obj.metadata = nil
        obj = nil
        return { status = "Healthy", message = seen .. string.marked .. string.other .. type(tostring) .. status.phase }
        "#,
    );
    let object = Object(json!({ "metadata": { "name": "a" }, "status": { "phase": "Ready" } }));
    let before = object.clone();
    for _ in 0..3 {
        assert_eq!(script.judge(&object).unwrap().to_string(), "Healthy: 111functionReady!");
    }
    assert_eq!(object, before);
    assert_eq!(said("return { status = 'Healthy', message = tostring(seen) }"), "Healthy: nil");
}

#[test]
fn scripts_run_on_many_threads_at_once() {
    let script = Script::new("health.x", CERTIFICATE);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let script = &script;
            scope.spawn(move || {
                for run in 0..50 {
                    let message = format!("{thread} {run}");
                    let object = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "message": message }] } });
                    assert_eq!(script.judge(&Object(object)).unwrap().to_string(), format!("Healthy: {message}"));
                }
            });
        }
    });
}

#[test]
fn a_script_that_is_always_stopped_is_tried_less_often() {
    let script = Script::new("health.x", "if obj.endless then while true do end end return { status = 'Healthy' }");
    let (endless, fine) = (Object(json!({ "endless": true })), Object(json!({})));
    let judge = |object| script.judge(object).unwrap().to_string();
    for _ in 0..2 {
        assert_eq!(judge(&endless), "Unknown: health.x: it was stopped after a second");
    }
    // One that ends counts for the others.
    assert_eq!(judge(&fine), "Healthy");
    for _ in 0..3 {
        assert_eq!(judge(&endless), "Unknown: health.x: it was stopped after a second");
    }
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(
            judge(&endless),
            "Unknown: health.x: it was stopped after a second several times in a row; it is tried again in a minute"
        );
    }
    assert!(started.elapsed() < Duration::from_millis(500));
}

#[test]
fn an_object_that_no_api_server_stores_is_not_given_to_a_script() {
    let script = "return { status = 'Healthy' }";
    let deep = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
    for fine in [json!({"a": vec![0; 100_000]}), json!({"a": "x".repeat(4 << 20)}), deep(100)] {
        assert_eq!(judged(script, fine), "Healthy");
    }
    for large in [json!({"a": vec![0; 200_000]}), json!({"x".repeat(9 << 20): 1}), deep(600)] {
        let said = judged(script, large);
        assert!(said.contains("health.example.com_Widget: the object is too large"), "{said}");
    }
}
