use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::super::tests::any_object;
use super::*;

fn deleted(expression: &str, object: &Value) -> Result<Value, String> {
    Ok(Filter::new(expression)?.places(object)?.removed_from(object))
}

fn pod() -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {
            "name": "gateway",
            "annotations": {"x/a": "1", "x/b": "2", "y": "3"},
            "managedFields": [{"manager": "lockstep"}]
        },
        "spec": {
            "a": null,
            "b": {"c": 1},
            "replicas": 5,
            "ports": [{"port": 80}, {"port": 81}, {"port": 82}],
            "template": {"spec": {
                "initContainers": [{"name": "own"}, {"name": "injected-init-container"}],
                "containers": [
                    {"name": "a", "image": "a:1", "env": [{"name": "FOO_1"}, {"name": "BAR"}, {"name": "FOO_2"}]},
                    {"name": "b", "image": "b:1"},
                    {"name": "c", "image": "c:1"}
                ]
            }}
        },
        "webhooks": [{"name": "w", "clientConfig": {"caBundle": "QUJD", "url": "https://w"}}, {"name": "v"}]
    })
}

/// Each expression and the JSON pointers of what it takes away.
#[test]
fn what_is_selected() {
    let containers = "/spec/template/spec/containers";
    for (expression, gone) in [
        (r#".spec.template.spec.initContainers[] | select(.name == "injected-init-container")"#, {
            "/spec/template/spec/initContainers/1"
        }),
        (".webhooks[]?.clientConfig.caBundle", "/webhooks/0/clientConfig/caBundle"),
        (r#".spec.template.spec.containers[]?.env[]? | select(.name | test("^FOO_"))"#, "@/0/env/0 @/0/env/2"),
        (r#".spec.template.spec.containers[] | select(.name == "a" or .name == "b") | .image"#, {
            "@/0/image @/1/image"
        }),
        (r#".spec.template.spec.containers[] | select(.name | IN("a", "c")).image"#, "@/0/image @/2/image"),
        (r#".spec.template.spec.containers[] | select([.name] | inside(["a", "c"])).image"#, "@/0/image @/2/image"),
        (r#".spec.template.spec.containers[] | select(any(.env[]?; .name == "BAR"))"#, "@/0"),
        (r#".spec.template.spec.containers[] | select(has("env") | not)"#, "@/1 @/2"),
        (r#".spec.template.spec.containers[] | select(.image | endswith(":1") and startswith("b"))"#, "@/1"),
        (r#".spec.template.spec.containers[] | select(.image | contains("c:")) | .image"#, "@/2/image"),
        (r#".spec.template.spec.containers[] | select(.name | test("^A$"; "i")).image"#, "@/0/image"),
        (r#".spec.template.spec.containers | .[0].image, .[-1].image"#, "@/0/image @/2/image"),
        (r#".spec.template.spec.containers | first(.[] | select(.image)) | .name"#, "@/0/name"),
        (".spec.a // .spec.b", "/spec/b"),
        (".spec.b // .spec.a", "/spec/b"),
        (".spec.ports[1:2]", "/spec/ports/1"),
        (".spec.ports[:-1]", "/spec/ports/0 /spec/ports/1"),
        (".spec.ports[1:][1].port", "/spec/ports/2/port"),
        (".spec.ports[5:], .spec.ports[7], .spec.nothing.at.all", ""),
        (".spec.ports[] | select(.port > 80 and .port != 82)", "/spec/ports/1"),
        (".. | .caBundle?", "/webhooks/0/clientConfig/caBundle"),
        (".. | objects | select(.port == 81) | .port", "/spec/ports/1/port"),
        (".spec | recurse | .port?", "/spec/ports/0/port /spec/ports/1/port /spec/ports/2/port"),
        (
            r#".metadata.annotations | .[keys[] | select(startswith("x/"))]"#,
            "/metadata/annotations/x~1a /metadata/annotations/x~1b",
        ),
        (r#".metadata.annotations["x/a", "y"]"#, "/metadata/annotations/x~1a /metadata/annotations/y"),
        (r#"select(.kind == "Deployment") | .spec.replicas"#, "/spec/replicas"),
        (r#"if .kind == "Deployment" then .spec.replicas else .spec.ports end"#, "/spec/replicas"),
        (". as $root | .spec.ports[] | select(.port == $root.spec.ports[0].port)", "/spec/ports/0"),
        ("try .spec.replicas", "/spec/replicas"),
        // New values, where they are looked at and where they stand in for what is not there.
        (r#"select((.metadata.annotations // {}) | has("x/a")) | .spec.replicas"#, "/spec/replicas"),
        (r#"select((.metadata.labels // {}) | has("x/a")) | .spec.replicas"#, ""),
        (r#"(.metadata.annotations // {}) | .["x/a"]"#, "/metadata/annotations/x~1a"),
        (r#"(.metadata.labels // {}) | .["x/a"]"#, ""),
        (r#"(.metadata.labels // .metadata.annotations // {}) | .y"#, "/metadata/annotations/y"),
        (r#"if .metadata.annotations.y == "3" then .spec.replicas else null end"#, "/spec/replicas"),
        (r#"if .metadata.labels.y == "3" then .spec.replicas else null end"#, ""),
        (r#"if .metadata.labels.y == "3" then {} elif .kind then .spec.b else [] end"#, "/spec/b"),
        (r#".spec.ports[] | select({port, a: 1} == {port: 81, a: 1})"#, "/spec/ports/1"),
        (r#". as $all | .spec.ports[] | select({$all, ("p" + "ort"): .port} | .port == 80)"#, "/spec/ports/0"),
        (".spec.ports[] | select(.port - 80 == 1)", "/spec/ports/1"),
        (".spec.ports[] | select(.port * 2 / 4 == 41)", "/spec/ports/2"),
        (".spec.ports[] | select(.port % 2 == 1)", "/spec/ports/1"),
        (".spec.ports[] | select(-.port == -82)", "/spec/ports/2"),
        (r#".spec.ports[] | select((.port | tostring) + "/tcp" == "80/tcp")"#, "/spec/ports/0"),
        (r#".metadata.annotations | .[keys[] | select(. == "x/" + "b")]"#, "/metadata/annotations/x~1b"),
        (r#".spec.ports[] | select([.port] + [1] == [80, 1])"#, "/spec/ports/0"),
        (r#"getpath(["spec", "ports", 1, "port"])"#, "/spec/ports/1/port"),
        (r#".spec | getpath(["b"]) | .c"#, "/spec/b/c"),
        (r#"getpath(["spec", "nothing", "at", "all"])"#, ""),
        (r#"select(getpath(["metadata", "annotations", "y"]) == "3") | .spec.b"#, "/spec/b"),
        (".spec.replicas?, (.spec.b | select(.c | type == \"number\"))", "/spec/replicas /spec/b"),
        (".metadata.annotations[\"#\"], .spec.replicas", "/spec/replicas"),
        // Not of this shape.
        (".kind[]", ""),
        (".kind.name, .spec.ports.name, .spec[0]", ""),
        (".nothing[] | .name", ""),
        ("empty", ""),
    ] {
        let got = deleted(expression, &pod()).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let mut want = pod();
        let gone: Vec<String> = gone.split_whitespace().map(|at| at.replace('@', containers)).collect();
        for at in gone.iter().rev() {
            let (parent, name) = at.rsplit_once('/').unwrap();
            match want.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.shift_remove(&name.replace("~1", "/")).unwrap()),
                Value::Array(items) => drop(items.remove(name.parse().unwrap())),
                _ => panic!("{at}"),
            }
        }
        assert_eq!(got, want, "{expression}");
    }
}

#[test]
fn what_is_refused() {
    let long = format!(".{}", "a".repeat(LENGTH));
    let deep = format!("{}.a{}", "(".repeat(DEPTH + 1), ")".repeat(DEPTH + 1));
    let minus = format!("select({}1)", "-".repeat(OPERATORS + 1));
    let tries = "try ".repeat(NESTED_WORDS + 1) + ".a";
    let pipes = ".a|".repeat(OPERATORS + 1) + ".a";
    let parts = ".a".repeat(PARTS + 1);
    let tests = "|select(test(\"a\"))".repeat(REGEXES + 1);
    let tests = format!(".a{tests}");
    for (expression, reason) in [
        ("", "not jq"),
        (".a[", "not jq"),
        (".a[] | select(", "not jq"),
        (".a b", "not jq"),
        (".a[] | select(.b ~ 1)", "not jq"),
        ("\"abc", "not jq"),
        // Not a place in the object.
        ("1", "must be a path, and a number is none"),
        ("\"a\"", "must be a path, and a text is none"),
        ("[.a]", "must be a path, and a list is none"),
        ("{a: .a}", "must be a path, and an object is none"),
        ("if .a then {} else null end", "must be a path, and an object is none"),
        ("{} // .a", "must be a path, and an object is none"),
        (".a + .b", "must be a path, and what it calculates is none"),
        ("-.a", "must be a path, and a number is none"),
        ("getpath([.a])", "getpath takes one list"),
        ("getpath(.a)", "getpath takes one list"),
        ("select({(.a)} == 1)", "not jq"),
        ("select({$nobody} == 1)", "$nobody is not known"),
        (".a == 1", "must be a path, and a condition"),
        (".a and .b", "must be a path, and a condition"),
        (".data | to_entries[]", "must be a path, and what to_entries makes is none"),
        (".metadata.annotations | with_entries(select(.key | startswith(\"x\")))", "with_entries makes a new value"),
        (".a | keys", "must be a path, and what keys makes is none"),
        (".a | length", "must be a path, and what length makes is none"),
        ("del(.a)", "del makes a new value"),
        ("map_values(.a)", "map_values makes a new value"),
        (".a[] | test(\"x\")", "must be a path, and a condition"),
        (". as $x | $x", "must be a path, and $x is none"),
        // Changes.
        (".[1000000000] = 1", "it changes values"),
        (".a |= 1", "it changes values"),
        (".a += 1", "it changes values"),
        (".a //= 1", "it changes values"),
        // Growth.
        ("select(\"\\(.a)\" == \"b\")", "it builds text"),
        ("select(@base64 == .a)", "@base64"),
        ("select(@text \"a\" == .a)", "it builds text"),
        ("select([65] | implode == \"A\")", "implode"),
        ("select(.a | tojson == \"\")", "tojson"),
        ("select(.a | fromjson == 1)", "fromjson"),
        ("select(.a | explode | length > 1)", "explode"),
        // Loops.
        ("def f: f; f", "def is not allowed"),
        ("def f: .a; f", "def is not allowed"),
        ("first(range(10))", "range"),
        ("repeat(.)", "repeat"),
        ("recurse(.)", "recurse with 1"),
        ("recurse(.a; true)", "recurse with 2"),
        ("while(true; .)", "while"),
        ("until(false; .)", "until"),
        ("limit(3; .a[])", "limit"),
        ("label $out | .a", "label and break"),
        ("reduce .a[] as $x (.; .)", "reduce is not allowed"),
        ("foreach .a[] as $x (.; .)", "foreach is not allowed"),
        ("walk(.)", "walk makes a new value"),
        ("combinations", "combinations"),
        // The world.
        ("input", "input"),
        ("inputs", "inputs"),
        ("env.HOME", "env"),
        ("select($ENV.HOME == .a)", "$ENV is not known"),
        ("select($__prog_args == .a)", "$__prog_args is not known"),
        ("select(now > 1)", "now"),
        ("halt", "halt"),
        ("error", "error"),
        ("debug", "debug"),
        ("import \"a\" as a; .a", "not jq"),
        ("include \"a\"; .a", "not jq"),
        (".a # \" \n | ((.b))", "comments are not allowed"),
        ("select(input_filename == 1)", "input_filename"),
        ("lockstep_tick", "lockstep_tick"),
        ("select(lockstep_test(0))", "lockstep_test"),
        // Regular expressions.
        (".a[] | select(test(.b))", "test takes one regular expression in quotes"),
        (".a[] | select(test(\"(\"))", "its regular expression is not one"),
        (".a[] | select(test(\"(a{900}){900}\"))", "its regular expression is too large"),
        (".a[] | select(test(\"a\"; \"q\"))", "does not know the flag q"),
        (".a[] | select(splits(\"a\"))", "splits"),
        (".a[] | select(sub(\"a\"; \"b\") == \"b\")", "sub"),
        (&tests, "more than 10 regular expressions"),
        // Size.
        (&long, "too long or too deep"),
        (&deep, "too long or too deep"),
        (&minus, "too long or too deep"),
        (&tries, "too long or too deep"),
        (&pipes, "too long or too deep"),
        (&parts, "too long"),
    ] {
        let error = Filter::new(expression).expect_err(expression);
        assert!(error.contains(reason), "{expression}: {error}");
    }
}

#[test]
fn what_fails_on_an_object() {
    for (expression, reason) in [
        (".spec.ports[] | select(.name | startswith(\"a\"))", "null"),
        (".spec.ports[] | select(.port | test(\"a\"))", "test wants a text"),
        (".spec.ports[.spec.b]", "an index must be"),
        (".spec | select(\"x\" * 1000000000 == .a)", "calculates with what is no number"),
        (".spec | select(.ports - [1] == .a)", "calculates with what is no number"),
        (".spec | select(-.ports == .a)", "calculates with what is no number"),
        (".spec | select(99999999999999999999 * 2 == .a)", "calculates with a number that is too large"),
        (".spec | select(.replicas % 0 == .a)", "0"),
        (".spec | select({(.ports): 1} == .a)", "an index must be"),
        (".", "the object as a whole"),
        ("..", "the object as a whole"),
        ("select(.kind)", "the object as a whole"),
    ] {
        let error = deleted(expression, &pod()).expect_err(expression);
        assert!(error.contains(reason), "{expression}: {error}");
    }
    // Asked for, a failure is none.
    assert_eq!(deleted(".spec.ports[] | select(try (.name | startswith(\"a\")))", &pod()), Ok(pod()));
}

/// As long as an expression may be, and as bad, on an object of a usual size and on a large one, with half the stack that a
/// thread has.
#[test]
fn hostile_expressions_end() {
    std::thread::Builder::new().stack_size(1 << 20).spawn(hostile_expressions).unwrap().join().unwrap();
}

fn hostile_expressions() {
    let both = format!(".spec|{}", vec!["(.,.)"; 24].join("|"));
    let nested = (0..8).fold("false".to_owned(), |inner, _| format!("..|any(..; {inner})"));
    let nested = format!(".spec|select({nested})");
    // Each is twice the one before it.
    let twice = |what: &dyn Fn(usize) -> String, start: &str| {
        let names: String = (0..NESTED_WORDS - 1).map(|at| format!("{} as $v{} | ", what(at), at + 1)).collect();
        format!(".spec | select({start} as $v0 | {names}$v{} == 1) | .x", NESTED_WORDS - 1)
    };
    let doubled = twice(&|at| format!("($v{at} + $v{at})"), ".text");
    let squared = twice(&|at| format!("($v{at} * $v{at})"), "9007199254740991");
    let objects = twice(&|at| format!("{{a: $v{at}, b: $v{at}}}"), "{}");
    let products = format!(
        "select({{{}}} == 1) | .x",
        (0..12).map(|at| format!("a{at}: (1, 2, ..)")).collect::<Vec<_>>().join(", ")
    );
    let deep = format!("{}.spec{}", "(".repeat(DEPTH), ")".repeat(DEPTH));
    let tried = (0..11).fold(".spec".to_owned(), |inner, _| format!("((.,.)|{inner})?"));
    let lists = format!("select({} == 1)", vec!["[.,.]"; 24].join("|"));
    let compared = format!("select(({0}) == ({0}))", ["[.,.]"; 12].join("|"));
    let expressions = [
        &*both,
        &format!(".spec|{}", vec![".."; OPERATORS].join("|")),
        &nested,
        &doubled,
        &squared,
        &deep,
        &tried,
        &lists,
        &compared,
        &format!("{} | .x", ["(..,..)"; 12].join("|")),
        ".. as $a | .. as $b | .. as $c | .. as $d | select($a == $b and $c == $d) | .x",
        "select((..) == (..) and (..) == (..)) | .x",
        "select([..] | contains([..])) | .x",
        "select((.spec.text,.spec.text) | test(\"(a?){200}b\")) | .x",
        ".. | strings | select(test(\"(x+x+)+y\")) | empty",
        &format!(".spec{}", "[(\"a\",\"b\")]".repeat(OPERATORS)),
        &format!(".spec{}", "[(\"a\",\"b\")]?".repeat(OPERATORS / 2)),
        &format!("select([[{}]] == 1) | .x", "..,".repeat(40) + ".."),
        &format!("select({}) | .x", vec![".a"; 40].join(" // ")),
        &format!("{}.spec", "try ".repeat(NESTED_WORDS)),
        &(vec!["."; OPERATORS].join("|") + "|.spec"),
        &vec![".a"; OPERATORS].join("//"),
        &vec![".a"; OPERATORS].join(","),
        &format!("select({}) | .x", vec![".a"; OPERATORS / 2].join(" or not and ")),
        &format!("{}.spec{}", "if . then ".repeat(NESTED_WORDS), " end".repeat(NESTED_WORDS)),
        &format!("{}.spec{}", "select(".repeat(DEPTH), ")".repeat(DEPTH)),
        &format!("{}.spec{}", "first(".repeat(DEPTH), ")".repeat(DEPTH)),
        &format!("{}.x", ". as $x | ".repeat(NESTED_WORDS)),
        &format!("{}.spec{}", "(.|".repeat(DEPTH), "|try .)".repeat(DEPTH / 2) + &")".repeat(DEPTH / 2)),
    ];
    let items: Vec<Value> = (0..2_000).map(|index| json!({"name": format!("n{index}"), "v": [1, 2, 3]})).collect();
    let text = "x".repeat(200_000);
    let large = json!({"kind": "A", "spec": {"items": items, "text": text, "a": {"b": {"a": 1}}}});
    for expression in expressions {
        let started = Instant::now();
        let filter = Filter::new(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        // Failed or done: both are right, as long as they come soon. A debug build is ten times slower.
        let failed = [&pod(), &large].map(|object| filter.places(object).err());
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{expression}: {took:?}");
        if std::env::var_os("SHOW").is_some() {
            eprintln!("{took:>12?} {} {failed:?}", &expression[..expression.len().min(80)]);
        }
    }
    // Refused for their length, or done: either way soon.
    for expression in [&objects, &products] {
        let started = Instant::now();
        let _ = Filter::new(expression).map(|filter| filter.places(&large));
        assert!(started.elapsed() < Duration::from_secs(20), "{expression}");
    }
    for endless in [&both, &nested, &compared, &doubled] {
        let error = Filter::new(endless).unwrap().places(&large).expect_err(endless);
        assert!(error.contains("too many steps"), "{endless}: {error}");
    }
}

#[test]
fn many_threads_share_a_filter() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Filter::new(".. | .caBundle?").unwrap());
}

fn any_expression() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        ".",
        ".a",
        ".name",
        ".[]",
        ".a[]?",
        ".[0]",
        ".[-1]",
        ".[-0]",
        ".[1:]",
        ".[:-2]",
        ".[-1:1e9]",
        ".[1.5]",
        "..",
        ".[keys[]]",
        ".[\"a\", 0]",
        "\"x\"",
        "1",
        "-1",
        "1e1000",
        "99999999999999999999",
        "null",
        "true",
        "[.[]?]",
        "[]",
        "{}",
        "{a: .}",
        "{name}",
        "null",
        "keys",
        "length",
        "type",
        "tostring",
        "to_entries",
        "ascii_upcase",
        "trim",
        "not",
        "any",
        "all",
        "empty",
        "first",
        "last",
        "strings",
        "values",
        "test(\"a|x+\")",
        "$v",
    ]);
    let atom = atom.prop_map(str::to_owned);
    atom.prop_recursive(5, 16, 2, |inner| {
        let two = prop::sample::select(vec![
            "|",
            ",",
            "//",
            "and",
            "or",
            "==",
            "!=",
            "<",
            ">=",
            "+",
            "-",
            "*",
            "/",
            "%",
            "as $v | select($v != ",
            "then",
            ".[",
            "any",
            "contains",
            "[:",
        ]);
        let one = prop::sample::select(vec![
            "select",
            "first",
            "last",
            "any",
            "all",
            "isempty",
            "has",
            "contains",
            "inside",
            "in",
            "IN",
            "startswith",
            "endswith",
            "ltrimstr",
            "map",
            "try ",
            "",
        ]);
        prop_oneof![
            (inner.clone(), two, inner.clone()).prop_map(|(left, with, right)| match with {
                "as $v | select($v != " => format!("({left}) as $v | select($v != ({right}))"),
                "then" => format!("if {left} then {right} else . end"),
                ".[" => format!("({left})[{right}]"),
                "[:" => format!("({left})[{right}:]"),
                "any" | "contains" => format!("any({left}; {right})"),
                with => format!("({left} {with} {right})"),
            }),
            (one, inner).prop_map(|(name, inner)| format!("{name}({inner})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written, on whatever object: an answer or a reason.
    #[test]
    fn any_expression_is_answered(expression in any_expression(), object in any_object()) {
        if let Ok(filter) = Filter::new(&expression)
            && let Ok(places) = filter.places(&object.0)
        {
            let left = places.removed_from(&object.0);
            prop_assert!(left.is_object());
        }
        let condition = format!(".spec | select({expression})");
        if let Ok(filter) = Filter::new(&condition) {
            let _ = filter.places(&object.0);
        }
    }
}
