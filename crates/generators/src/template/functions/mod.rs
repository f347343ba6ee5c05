//! sprig's functions and Argo CD's own, a file for each group. To add one is to add a line to the table of its file.

mod dictionaries;
mod encodings;
mod json;
mod lists;
mod logic;
mod names;
mod numbers;
mod paths;
mod regexes;
mod strings;
mod versions;
mod yaml;

use std::sync::{Arc, LazyLock};

use gotmpl::{FuncMap, TemplateError, Value};

use super::value::{self, text};

pub(crate) use self::yaml::parse as parse_yaml;
pub(crate) use paths::{base as base_name, dir as dir_name};

/// Functions of sprig that Lockstep does not have, each with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("now", TIME),
    ("ago", TIME),
    ("date", TIME),
    ("dateInZone", TIME),
    ("date_in_zone", TIME),
    ("dateModify", TIME),
    ("date_modify", TIME),
    ("mustDateModify", TIME),
    ("must_date_modify", TIME),
    ("duration", TIME),
    ("durationRound", TIME),
    ("htmlDate", TIME),
    ("htmlDateInZone", TIME),
    ("toDate", TIME),
    ("mustToDate", TIME),
    ("unixEpoch", TIME),
    ("randAlpha", RANDOM),
    ("randAlphaNum", RANDOM),
    ("randAscii", RANDOM),
    ("randBytes", RANDOM),
    ("randInt", RANDOM),
    ("randNumeric", RANDOM),
    ("shuffle", RANDOM),
    ("uuidv4", RANDOM),
    ("bcrypt", SECRET),
    ("htpasswd", SECRET),
    ("derivePassword", SECRET),
    ("encryptAES", SECRET),
    ("decryptAES", SECRET),
    ("genPrivateKey", SECRET),
    ("genCA", SECRET),
    ("genCAWithKey", SECRET),
    ("genSelfSignedCert", SECRET),
    ("genSelfSignedCertWithKey", SECRET),
    ("genSignedCert", SECRET),
    ("genSignedCertWithKey", SECRET),
    ("buildCustomCert", SECRET),
    ("env", ENVIRONMENT),
    ("expandenv", ENVIRONMENT),
    ("getHostByName", ENVIRONMENT),
];

const TIME: &str = "the same input must always give the same Applications, whatever the time";
const RANDOM: &str =
    "the same input must always give the same Applications, and chance would change them at every look";
const SECRET: &str = "keys and passwords do not belong into Applications; use a Secret";
const ENVIRONMENT: &str = "a template must not look at the machine that it is filled in on";

/// The function that writes a value into the text; no template can name it.
pub(super) const WRITE: &str = "(write)";
/// The function that changes a dictionary inside another one; no template can name it.
pub(super) const INSIDE: &str = "(inside)";

type Result<T> = std::result::Result<T, TemplateError>;
type Function = fn(&Args<'_>) -> Result<Value>;

/// One function: its name, the fewest and the most arguments, what it does.
type Entry = (&'static str, usize, usize, Function);

/// Any number of arguments.
const ANY: usize = usize::MAX;

static ALL: LazyLock<FuncMap> = LazyLock::new(|| {
    let mut all = FuncMap::new();
    let tables = [
        strings::TABLE,
        numbers::TABLE,
        logic::TABLE,
        lists::TABLE,
        dictionaries::TABLE,
        encodings::TABLE,
        json::TABLE,
        yaml::TABLE,
        regexes::TABLE,
        versions::TABLE,
        paths::TABLE,
        names::TABLE,
        WRITING,
    ];
    for &(name, fewest, most, function) in tables.into_iter().flatten() {
        let checked = move |values: &[Value]| {
            let args = Args { name, values };
            if values.len() < fewest || values.len() > most {
                return Err(args.error(format!("takes {}, not {}", count(fewest, most), values.len())));
            }
            function(&args)
        };
        all.insert(name.to_owned(), Arc::new(checked));
    }
    all
});

const WRITING: &[Entry] = &[
    (WRITE, 1, 1, |args| {
        Ok(if args.values[0] == Value::Nil { "<no value>".into() } else { text(&args.values[0]).into() })
    }),
    ("print", 0, ANY, |args| {
        let mut out = String::new();
        for (index, value) in args.values.iter().enumerate() {
            let is_text = |value: &Value| matches!(value, Value::String(_));
            if index > 0 && !is_text(value) && !is_text(&args.values[index - 1]) {
                out.push(' ');
            }
            out.push_str(&text(value));
        }
        Ok(out.into())
    }),
    ("println", 0, ANY, |args| Ok((args.values.iter().map(text).collect::<Vec<_>>().join(" ") + "\n").into())),
];

fn count(fewest: usize, most: usize) -> String {
    match (fewest, most) {
        (1, 1) => "one argument".into(),
        (fewest, most) if fewest == most => format!("{fewest} arguments"),
        (fewest, ANY) => format!("at least {fewest} arguments"),
        (fewest, most) => format!("{fewest} to {most} arguments"),
    }
}

pub(super) fn all() -> FuncMap {
    ALL.clone()
}

pub(super) fn exists(name: &str) -> bool {
    !name.starts_with('(') && ALL.contains_key(name)
}

/// Arguments of a call, read as strictly as Go reads them: a function that wants a string takes nothing else.
struct Args<'a> {
    name: &'static str,
    values: &'a [Value],
}

impl Args<'_> {
    fn error(&self, message: impl std::fmt::Display) -> TemplateError {
        TemplateError::Exec(format!("{} {message}", self.name))
    }

    fn wrong(&self, index: usize, expected: &str) -> TemplateError {
        let found = self.values.get(index).map_or("nothing", Value::type_name);
        self.error(format!("wants {expected} as argument {}, not {found}", index + 1))
    }

    fn text(&self, index: usize) -> Result<&str> {
        match self.values.get(index) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(self.wrong(index, "a string")),
        }
    }

    fn whole(&self, index: usize) -> Result<i64> {
        match self.values.get(index) {
            Some(Value::Int(number)) => Ok(*number),
            Some(Value::Uint(number)) => i64::try_from(*number).map_err(|_| self.wrong(index, "a smaller number")),
            _ => Err(self.wrong(index, "a whole number")),
        }
    }

    fn yes(&self, index: usize) -> Result<bool> {
        match self.values.get(index) {
            Some(Value::Bool(value)) => Ok(*value),
            _ => Err(self.wrong(index, "true or false")),
        }
    }

    fn list(&self, index: usize) -> Result<&[Value]> {
        match self.values.get(index) {
            Some(Value::List(items)) => Ok(items),
            _ => Err(self.wrong(index, "a list")),
        }
    }

    fn map(&self, index: usize) -> Result<&std::collections::BTreeMap<Arc<str>, Value>> {
        match self.values.get(index) {
            Some(Value::Map(fields)) => Ok(fields),
            _ => Err(self.wrong(index, "a dictionary")),
        }
    }

    fn rest(&self, from: usize) -> &[Value] {
        self.values.get(from..).unwrap_or_default()
    }
}

/// A length or a position from a number that may be negative or too large.
fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The texts of a list's items without the missing ones; anything else is a list of one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().filter(|item| **item != Value::Nil).map(text).collect(),
        Value::Nil => Vec::new(),
        other => vec![text(other)],
    }
}

/// A list of strings.
fn strings<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::List(items.into_iter().map(|item| Value::from(item.into())).collect())
}
