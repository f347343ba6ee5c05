//! What our templates make of each case that Go has recorded (`tests/gotemplate`).
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use serde_json::{Map, Value};

/// Where we differ, and mean to.
const DIFFERENCES: &[(&str, &str)] = &[
    ("{{ printf \"%T %T %T\" 1 \"a\" 1.5 }}", "the verb %T is not there; typeOf is"),
    ("{{ $_ := set .map \"a\" \"changed\" }}{{ .map.a }}", "a parameter cannot be changed, only a variable"),
    ("{{ $a := dict }}{{ $b := $a }}{{ $_ := set $b \"x\" 1 }}{{ $a }}", "two variables never share a dictionary"),
    ("{{ printf \"%v\" (list 1.5 1000000.0) }}", "printf writes large numbers without an exponent, in lists as well"),
    (
        "{{ printf \"%v %v\" 1000000.0 1.5 }} {{ print 1000000.0 }} {{ 1000000.0 | toString }} {{ list 1.5 1000000.0 }}",
        "printf writes large numbers without an exponent",
    ),
    ("{{ $x := 1 }}{{ $x }}{{ $y = 2 }}", "an assignment to a variable that does not exist does nothing"),
];

#[test]
fn every_recorded_case_gives_what_go_gives() {
    let folder = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../tests/gotemplate");
    let read = |name: &str| serde_json::from_str::<Value>(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
    let data: Map<String, Value> = read("data.json").as_object().unwrap().clone();
    let cases = read("cases.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 250, "{}", cases.len());
    for (text, reason) in DIFFERENCES {
        assert!(cases.iter().any(|case| case["template"] == *text), "not recorded: {text} ({reason})");
    }
    let mut wrong = Vec::new();
    for case in cases {
        let text = case["template"].as_str().unwrap();
        let options: Vec<String> = case["option"].as_str().map(str::to_owned).into_iter().collect();
        let ours = generators::template(text, &data, true, &options);
        let differs = DIFFERENCES.iter().any(|(known, _)| *known == text);
        let same = ours.as_deref().ok() == case["output"].as_str();
        if same == differs {
            wrong.push(format!("{text}\n  Go:   {}\n  ours: {ours:?}", case["output"].as_str().unwrap_or("an error")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases are not as they should be:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn functions_that_are_left_out_say_why() {
    for (name, reason) in generators::LEFT_OUT {
        let said = generators::template(&format!("{{{{ {name} }}}}"), &Map::new(), true, &[]).unwrap_err();
        assert_eq!(said.reason, format!("the function {name} is left out on purpose: {reason}"));
    }
}

#[test]
fn errors_name_what_is_there() {
    let data = serde_json::json!({ "env": "dev", "path": {} });
    let said = |text: &str| {
        generators::template(text, data.as_object().unwrap(), true, &["missingkey=error".into()])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        said("x-{{ .enw }}"),
        "cannot fill in \"x-{{ .enw }}\": there is no parameter \"enw\"; the parameters are env, path"
    );
    assert!(
        said("{{ upper 1 }}").ends_with("upper wants a string as argument 1, not int"),
        "{}",
        said("{{ upper 1 }}")
    );
    assert!(said("{{ lower }}").ends_with("lower takes one argument, not 0"), "{}", said("{{ lower }}"));
}

#[test]
fn hostile_templates_end() {
    for text in [
        "{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}",
        "{{ repeat 2000000 \"x\" }}",
        "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
        "{{ until 100000000 }}",
        "{{ indent 100000000 \"a\" }}",
        "{{ template \"(main)\" . }}",
        "{{ printf \"%9999999d\" 1 | repeat 100 }}",
    ] {
        assert!(generators::template(text, &Map::new(), true, &[]).is_err(), "{text}");
    }
}
