//! `jqPathExpressions` that are more than a plain path, run by jaq.
//!
//! An expression may come from anybody who may write an Application, so it must end soon and stay small. Three things see to that:
//! only what ends by itself is allowed, and nothing that defines, loops, or asks the world outside; of what remains, each step that
//! can yield more than one value, or whose cost depends on a value's size, is counted with that size against a budget in proportion
//! to the object; and regular expressions are those of the `regex` crate, which take linear time.
//!
//! jaq itself knows no budget: what an expression defines, and all that its library defines by recursion, calls itself on the stack
//! of the thread, as deep as it likes, and a thread without stack ends the process. So there is a list of what may be called, and
//! the counters are put into the expression before it is compiled; evaluating it, with its paths, is jaq's.
//!
//! In two things this is kinder than jq: where an object does not have the shape that the expression walks through (`.a[]` where
//! there is no `.a`), nothing is selected, and that is no error; and where a new value stands in the place of a path that is not
//! there (`.a // {}`, `else null`), nothing is selected either.

mod run;

use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, Parser};
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};
use jaq_core::{Compiler, Ctx, Error, Vars};
use jaq_json::Val;
use regex::{Regex, RegexBuilder};
use serde::Deserialize as _;
use serde_json::Value;

use self::run::{Counted, Run, natives, weigh};
use super::places::Places;

/// What an expression may be: longer ones, and deeper ones, are refused before they are read.
const LENGTH: usize = 1_000;
const DEPTH: usize = 24;
const OPERATORS: usize = 50;
const NESTED_WORDS: usize = 16;
const PARTS: usize = 64;
/// So many regular expressions, each at most so large when compiled.
const REGEXES: usize = 10;
const REGEX_BYTES: usize = 1 << 17;
/// The budget of one run: so much for any object, more for each value in it, and never more than the most.
const STEPS: usize = 20_000;
const STEPS_EACH: usize = 25;
const MOST_STEPS: usize = 500_000;
/// A step costs one more for so many operators, since a value goes through all of them.
const OPERATORS_PER_STEP: usize = 10;

/// How the functions below are called inside a compiled expression; nobody can write these names.
const TICK: &str = "lockstep_tick";
const WEIGH: &str = "lockstep_weigh";
const KEY: &str = "lockstep_key";
const NUMBER: &str = "lockstep_number";
const SUMMAND: &str = "lockstep_summand";
const TEST: &str = "lockstep_test";
const SELECTED: &str = "lockstep_selected";

/// What a function does to its arguments.
#[derive(Clone, Copy, PartialEq)]
enum Gives {
    /// Some of its input, so that it can stand in a path; arguments of it are paths if it is one.
    Places,
    /// The same, but its arguments are conditions.
    PlacesIf,
    /// A new value.
    Value,
}

/// All that may be called, with the number of arguments.
const FUNCTIONS: &[(&str, usize, Gives)] = &[
    ("empty", 0, Gives::Places),
    ("select", 1, Gives::PlacesIf),
    ("recurse", 0, Gives::Places),
    ("first", 0, Gives::Places),
    ("first", 1, Gives::Places),
    ("last", 0, Gives::Places),
    ("last", 1, Gives::Places),
    ("values", 0, Gives::Places),
    ("nulls", 0, Gives::Places),
    ("booleans", 0, Gives::Places),
    ("numbers", 0, Gives::Places),
    ("strings", 0, Gives::Places),
    ("arrays", 0, Gives::Places),
    ("objects", 0, Gives::Places),
    ("iterables", 0, Gives::Places),
    ("scalars", 0, Gives::Places),
    ("true", 0, Gives::Value),
    ("false", 0, Gives::Value),
    ("null", 0, Gives::Value),
    ("not", 0, Gives::Value),
    ("any", 0, Gives::Value),
    ("any", 1, Gives::Value),
    ("any", 2, Gives::Value),
    ("all", 0, Gives::Value),
    ("all", 1, Gives::Value),
    ("all", 2, Gives::Value),
    ("isempty", 1, Gives::Value),
    ("IN", 1, Gives::Value),
    ("in", 1, Gives::Value),
    ("inside", 1, Gives::Value),
    ("has", 1, Gives::Value),
    ("contains", 1, Gives::Value),
    ("startswith", 1, Gives::Value),
    ("endswith", 1, Gives::Value),
    ("ltrimstr", 1, Gives::Value),
    ("rtrimstr", 1, Gives::Value),
    ("trim", 0, Gives::Value),
    ("ascii_downcase", 0, Gives::Value),
    ("ascii_upcase", 0, Gives::Value),
    ("length", 0, Gives::Value),
    ("type", 0, Gives::Value),
    ("tostring", 0, Gives::Value),
    ("keys", 0, Gives::Value),
    ("map", 1, Gives::Value),
    ("to_entries", 0, Gives::Value),
];

/// Definitions of jaq that those above are, or are made of.
const DEFINITIONS: [&str; 30] = [
    "empty",
    "select",
    "first",
    "last",
    "values",
    "nulls",
    "booleans",
    "numbers",
    "strings",
    "arrays",
    "objects",
    "iterables",
    "scalars",
    "true",
    "false",
    "null",
    "not",
    "any",
    "all",
    "isempty",
    "type",
    "tostring",
    "keys",
    "map",
    "to_entries",
    "isboolean",
    "isnumber",
    "isstring",
    "isarray",
    "isobject",
];

/// Natives of jaq's libraries likewise.
const NATIVES: [&str; 9] =
    ["startswith", "endswith", "ltrimstr", "rtrimstr", "trim", "ascii_downcase", "ascii_upcase", "sort", "length"];

/// Definitions of our own.
const OWN: &str = "
    def IN(candidates): . as $value | any(candidates; . == $value);
    def in(containers): . as $key | containers | has($key);
    def inside(containers): . as $part | containers | contains($part);
";

/// All definitions, read once.
static LIBRARY: LazyLock<Vec<Def>> = LazyLock::new(|| {
    let libraries = jaq_core::defs().chain(jaq_std::defs());
    let own = jaq_core::load::parse(OWN, |parser| parser.defs()).unwrap_or_default();
    libraries.filter(|definition| DEFINITIONS.contains(&definition.name)).chain(own).collect()
});

/// An expression, ready to run on many objects.
pub(super) struct Filter {
    expression: String,
    program: jaq_core::Filter<Counted>,
    regexes: Vec<Regex>,
    /// What a step costs.
    pace: usize,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.expression).finish()
    }
}

impl Filter {
    /// Compiles an expression. The error is the reason, to stand behind "is not applied:".
    pub(super) fn new(expression: &str) -> Result<Self, String> {
        let operators = check_size(expression)?;
        let tokens = Lexer::new(expression).lex().map_err(|errors| {
            let error = errors.first().map(|(expected, at)| format!(": expected {} at {at:?}", expected.as_str()));
            format!("it is not jq{}", error.unwrap_or_default())
        })?;
        let term = Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| {
            let error = errors.first().map(|(expected, found)| {
                let found = found.map_or_else(|| "the end".to_owned(), |token| format!("{:?}", token.0));
                format!(": expected {} at {found}", expected.as_str())
            });
            format!("it is not jq{}", error.unwrap_or_default())
        })?;
        let mut checked = Checked::default();
        let body = checked.term(term, true)?;
        let program = compile(body).ok_or("it cannot be compiled")?;
        Ok(Self {
            expression: expression.to_owned(),
            program,
            regexes: checked.regexes,
            pace: 1 + operators / OPERATORS_PER_STEP,
        })
    }

    /// The expression as it was written.
    pub(super) fn expression(&self) -> &str {
        &self.expression
    }

    /// What the expression selects in an object.
    pub(super) fn places(&self, object: &Value) -> Result<Places, String> {
        let input = Val::deserialize(object).map_err(|error| error.to_string())?;
        let mut size = MOST_STEPS;
        weigh(&input, &mut size);
        let budget = (MOST_STEPS - size).saturating_mul(STEPS_EACH).saturating_add(STEPS).min(MOST_STEPS);
        let left = Cell::new(budget / self.pace);
        let run = Run { lut: &self.program.lut, left: &left, regexes: &self.regexes };
        let mut places = Places::default();
        for found in self.program.id.run((Ctx::<Counted>::new(run.clone(), Vars::new([])), input)) {
            match found {
                Ok(Val::Arr(path)) if path.is_empty() => return Err("it selects the object as a whole".to_owned()),
                Ok(Val::Arr(path)) => {
                    run.spend(path.len())?;
                    places.add(&path, object);
                }
                Ok(_) => {}
                Err(error) => {
                    run.spend(1)?;
                    return Err(error.get_err().map_or_else(|_| "it fails".to_owned(), |error| brief(&error)));
                }
            }
        }
        // What `?` and `//` swallowed is an error all the same.
        run.spend(1)?;
        Ok(places)
    }
}

fn brief(error: &Error<Val>) -> String {
    const LIMIT: usize = 120;
    let text = error.to_string();
    text.char_indices().nth(LIMIT).map_or_else(|| text.clone(), |(cut, _)| format!("{}…", &text[..cut]))
}

/// Reads no more of an expression than is safe for a parser that calls itself, and counts its operators.
fn check_size(expression: &str) -> Result<usize, String> {
    let too_long = || Err("it is too long or too deep; split it into several expressions".to_owned());
    if expression.len() > LENGTH {
        return too_long();
    }
    let (mut depth, mut operators, mut words) = (0_usize, 0_usize, 0_usize);
    let mut chars = expression.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => loop {
                match chars.next() {
                    None | Some('"') => break,
                    Some('\\') if chars.next() == Some('(') => {
                        return Err("it builds text, by \\(…); put it together with + instead".to_owned());
                    }
                    Some(_) => {}
                }
            },
            '#' => return Err("comments are not allowed".to_owned()),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '|' | ',' | '/' | '<' | '>' | '=' | '!' | '+' | '-' | '*' | '%' | '?' => {
                operators += 1;
                while c != '-' && chars.next_if(|next| matches!(next, '/' | '=' | '|')).is_some() {}
            }
            c if c.is_ascii_lowercase() => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                match &*word {
                    "and" | "or" => operators += 1,
                    "as" | "if" | "elif" | "try" | "catch" | "def" | "label" | "reduce" | "foreach" => words += 1,
                    _ => {}
                }
            }
            _ => {}
        }
        if depth > DEPTH || operators > OPERATORS || words > NESTED_WORDS {
            return too_long();
        }
    }
    Ok(operators)
}

/// Goes through an expression, refuses what is not allowed and puts counters where a step yields several values or is as dear as
/// its input is large. All others cost as much as the expression is long, for each value that was counted.
#[derive(Default)]
struct Checked<'s> {
    regexes: Vec<Regex>,
    variables: Vec<&'s str>,
}

type Checks<'s> = Result<Term<&'s str>, String>;

impl<'s> Checked<'s> {
    /// `path`: what comes out must be a place in the object, not a new value.
    fn term(&mut self, term: Term<&'s str>, path: bool) -> Checks<'s> {
        match term {
            Term::Id => Ok(Term::Id),
            Term::Recurse => Ok(counted_out(Term::Recurse)),
            Term::Num(number) => value(path, "a number", Term::Num(number)),
            Term::Str(None, parts) if parts.iter().all(|part| !matches!(part, StrPart::Term(_))) => {
                value(path, "a text", Term::Str(None, parts))
            }
            Term::Str(..) => Err("it builds text".to_owned()),
            Term::Arr(items) => {
                let items = items.map(|items| self.term(*items, false)).transpose()?;
                value(path, "a list", counted_out(Term::Arr(items.map(Box::new))))
            }
            Term::Neg(number) if matches!(*number, Term::Num(_)) => value(path, "a number", Term::Neg(number)),
            Term::Neg(number) => {
                let number = pipe(self.term(*number, false)?, call(NUMBER));
                value(path, "a number", Term::Neg(number.into()))
            }
            Term::BinOp(left, operator, right) => self.operation(*left, operator, *right, path),
            Term::TryCatch(body, catch) => {
                let body = self.term(*body, path)?;
                let catch = catch.map(|catch| self.term(*catch, false)).transpose()?;
                Ok(Term::TryCatch(body.into(), catch.map(Box::new)))
            }
            Term::IfThenElse(branches, other) => {
                // Where some branch is a path, those that are none select nothing.
                let selects =
                    branches.iter().any(|(_, then)| !is_new(then)) || other.as_deref().is_none_or(|o| !is_new(o));
                let branches = branches
                    .into_iter()
                    .map(|(condition, then)| Ok((self.term(condition, false)?, self.alternative(then, path, selects)?)))
                    .collect::<Result<_, String>>()?;
                let other = other.map(|other| self.alternative(*other, path, selects)).transpose()?;
                Ok(Term::IfThenElse(branches, other.map(Box::new)))
            }
            Term::Var(name) if self.variables.contains(&name) => value(path, name, counted_out(Term::Var(name))),
            Term::Var(name) => Err(format!("{name} is not known")),
            Term::Path(head, parts) => {
                let head = self.term(*head, path)?;
                if parts.0.len() > PARTS {
                    return Err("it is too long; split it into several expressions".to_owned());
                }
                let one = parts.0.iter().all(|(part, _)| matches!(part, Part::Index(index) if is_literal(index)));
                let parts = parts.0.into_iter().map(|(part, _)| Ok((self.part(part)?, Opt::Optional)));
                let term = Term::Path(head.into(), Path(parts.collect::<Result<_, String>>()?));
                Ok(if one { term } else { counted_out(term) })
            }
            Term::Call(name, args) => self.call(name, args, path),
            Term::Obj(fields) => {
                let fields = fields.into_iter().map(|(name, field)| self.field(name, field));
                value(path, "an object", counted_out(Term::Obj(fields.collect::<Result<_, String>>()?)))
            }
            Term::Fold(name, ..) => Err(format!("{name} is not allowed")),
            Term::Label(..) | Term::Break(_) => Err("label and break are not allowed".to_owned()),
            Term::Def(..) => Err("def is not allowed".to_owned()),
        }
    }

    /// What stands in for something else in a path: a path, or a new value, which is no place and so selects nothing.
    fn alternative(&mut self, term: Term<&'s str>, path: bool, selects: bool) -> Checks<'s> {
        if path && selects && is_new(&term) {
            self.term(term, false)?;
            return Ok(call("empty"));
        }
        self.term(term, path)
    }

    /// A field of a new object: `{a}`, `{$a}`, `{a: …}`, `{(…): …}`.
    fn field(
        &mut self,
        name: Term<&'s str>,
        field: Option<Term<&'s str>>,
    ) -> Result<(Term<&'s str>, Option<Term<&'s str>>), String> {
        match (&name, field) {
            (Term::Str(None, parts), None) if parts.iter().all(|part| !matches!(part, StrPart::Term(_))) => {
                Ok((name, None))
            }
            (Term::Var(variable), None) if self.variables.contains(variable) => Ok((name, None)),
            (Term::Var(variable), None) => Err(format!("{variable} is not known")),
            (_, None) => Err("it builds an object of what is neither a name nor a variable".to_owned()),
            (_, Some(field)) => Ok((self.index(name)?, Some(self.term(field, false)?))),
        }
    }

    fn operation(
        &mut self,
        left: Term<&'s str>,
        operator: BinaryOp<&'s str>,
        right: Term<&'s str>,
        path: bool,
    ) -> Checks<'s> {
        let piped = matches!(operator, BinaryOp::Pipe(_));
        let (left, right) = match &operator {
            BinaryOp::Alt => (self.term(left, path)?, self.alternative(right, path, true)?),
            BinaryOp::Pipe(None) | BinaryOp::Comma => (self.term(left, path)?, self.term(right, path)?),
            BinaryOp::Pipe(Some(Pattern::Var(name))) => {
                let left = self.term(left, false)?;
                self.variables.push(name);
                let right = self.term(right, path)?;
                self.variables.pop();
                (left, right)
            }
            BinaryOp::Or | BinaryOp::And => {
                value(path, CONDITION, Term::Id)?;
                (self.term(left, false)?, self.term(right, false)?)
            }
            BinaryOp::Cmp(_) => {
                value(path, CONDITION, Term::Id)?;
                let short = is_literal(&left) || is_literal(&right);
                let (left, right) = (self.term(left, false)?, self.term(right, false)?);
                if short { (left, right) } else { (weighed(left), weighed(right)) }
            }
            BinaryOp::Pipe(Some(_)) => return Err("it takes values apart; name one variable behind as".to_owned()),
            BinaryOp::Math(how) => {
                value(path, "what it calculates", Term::Id)?;
                // What + puts together is as long as both.
                let operand = call(if *how == Math::Add { SUMMAND } else { NUMBER });
                (pipe(self.term(left, false)?, operand.clone()), pipe(self.term(right, false)?, operand))
            }
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                return Err("it changes values, and what is to be ignored must be a path".to_owned());
            }
        };
        let term = Term::BinOp(left.into(), operator, right.into());
        Ok(if piped { term } else { counted_in(term) })
    }

    fn part(&mut self, part: Part<Term<&'s str>>) -> Result<Part<Term<&'s str>>, String> {
        Ok(match part {
            Part::Index(index) => Part::Index(self.index(index)?),
            Part::Range(from, to) => {
                Part::Range(from.map(|from| self.index(from)).transpose()?, to.map(|to| self.index(to)).transpose()?)
            }
        })
    }

    fn index(&mut self, index: Term<&'s str>) -> Checks<'s> {
        let literal = is_literal(&index);
        let index = self.term(index, false)?;
        Ok(if literal { index } else { pipe(index, call(KEY)) })
    }

    fn call(&mut self, name: &'s str, args: Vec<Term<&'s str>>, path: bool) -> Checks<'s> {
        if name == "getpath" {
            return self.getpath(args, path);
        }
        if name == "test" {
            value(path, CONDITION, Term::Id)?;
            return self.test(&args);
        }
        let known = FUNCTIONS.iter().find(|(known, arity, _)| *known == name && *arity == args.len());
        let Some((_, _, gives)) = known else {
            return Err(match name {
                "with_entries" | "from_entries" | "del" | "delpaths" | "setpath" | "map_values" | "walk" | "add" => {
                    format!("{name} makes a new value, and what is to be ignored must be a path")
                }
                _ => format!("{name} with {} argument(s) is not known or not allowed", args.len()),
            });
        };
        if *gives == Gives::Value {
            value(path, &format!("what {name} makes"), Term::Id)?;
        }
        if name == "recurse" {
            return Ok(counted_out(Term::Recurse));
        }
        let paths = path && *gives == Gives::Places;
        let deep = matches!(name, "IN" | "tostring");
        let args =
            args.into_iter().map(|arg| Ok(if deep { weighed(self.term(arg, paths)?) } else { self.term(arg, paths)? }));
        let term = Term::Call(name, args.collect::<Result<_, String>>()?);
        Ok(match gives {
            Gives::Value if deep => pipe(call(WEIGH), counted_out(term)),
            Gives::Value => counted_in(counted_out(term)),
            Gives::Places | Gives::PlacesIf => term,
        })
    }

    /// `getpath(["a", 0])` is `.a[0]`, for a path that is written out.
    fn getpath(&mut self, args: Vec<Term<&'s str>>, path: bool) -> Checks<'s> {
        let unknown = || "getpath takes one list of names and numbers".to_owned();
        let Ok([Term::Arr(items)]) = <[Term<&str>; 1]>::try_from(args) else { return Err(unknown()) };
        let (mut parts, mut left) = (Vec::new(), Vec::from_iter(items.map(|items| *items)));
        while let Some(item) = left.pop() {
            match item {
                Term::BinOp(first, BinaryOp::Comma, second) => left.extend([*second, *first]),
                item if is_literal(&item) => parts.push((Part::Index(item), Opt::Optional)),
                _ => return Err(unknown()),
            }
        }
        if parts.is_empty() { Ok(Term::Id) } else { self.term(Term::Path(Term::Id.into(), Path(parts)), path) }
    }

    /// `test("…")` and `test("…"; "i")`: compiled now, so that no expression is taken from the object.
    fn test(&mut self, args: &[Term<&'s str>]) -> Checks<'s> {
        const NUMBERS: &str = "0123456789";
        let literal = |term: &Term<&'s str>| match term {
            Term::Str(None, parts) => parts.iter().try_fold(String::new(), |mut text, part| {
                match part {
                    StrPart::Str(part) => text.push_str(part),
                    StrPart::Char(c) => text.push(*c),
                    StrPart::Term(_) => return None,
                }
                Some(text)
            }),
            _ => None,
        };
        let (pattern, flags) = match args {
            [pattern] => (literal(pattern), Some(String::new())),
            [pattern, flags] => (literal(pattern), literal(flags)),
            _ => (None, None),
        };
        let (Some(pattern), Some(flags)) = (pattern, flags) else {
            return Err("test takes one regular expression in quotes, and flags in quotes".to_owned());
        };
        if let Some(flag) = flags.chars().find(|flag| !matches!(flag, 'g' | 'i' | 'x' | 's' | 'n')) {
            return Err(format!("test does not know the flag {flag}"));
        }
        let number = self.regexes.len();
        if number == REGEXES {
            return Err(format!("it has more than {REGEXES} regular expressions; split it into several expressions"));
        }
        let regex = RegexBuilder::new(&pattern)
            .case_insensitive(flags.contains('i'))
            .ignore_whitespace(flags.contains('x'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .nest_limit(DEPTH as u32)
            .build();
        self.regexes.push(regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "its regular expression is too large".to_owned(),
            _ => "its regular expression is not one".to_owned(),
        })?);
        Ok(Term::Call(TEST, vec![Term::Num(&NUMBERS[number..=number])]))
    }
}

const CONDITION: &str = "a condition; put it into select(…)";

/// A value where a value may stand.
fn value<'s>(path: bool, what: &str, term: Term<&'s str>) -> Checks<'s> {
    if path { Err(format!("what is to be ignored must be a path, and {what} is none")) } else { Ok(term) }
}

fn call<'s>(name: &'static str) -> Term<&'s str> {
    Term::Call(name, Vec::new())
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

/// A step that is counted each time it is taken.
fn counted_in(term: Term<&str>) -> Term<&str> {
    pipe(call(TICK), term)
}

/// A step of which each output is counted with all that is in it, because it is looked at as a whole.
fn weighed(term: Term<&str>) -> Term<&str> {
    pipe(term, call(WEIGH))
}

/// Whether a term makes a new value and is no path in whatever it looks at.
fn is_new(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) | Term::Neg(_) | Term::Str(..) | Term::Arr(_) | Term::Obj(_) => true,
        Term::Call(name, args) => args.is_empty() && matches!(*name, "true" | "false" | "null"),
        Term::BinOp(left, BinaryOp::Alt | BinaryOp::Comma, right) => is_new(left) && is_new(right),
        _ => false,
    }
}

fn is_literal(term: &Term<&str>) -> bool {
    matches!(term, Term::Num(_) | Term::Neg(_) | Term::Str(..))
}

/// A step of which each output is counted.
fn counted_out(term: Term<&str>) -> Term<&str> {
    pipe(term, call(TICK))
}

fn compile(body: Term<&str>) -> Option<jaq_core::Filter<Counted>> {
    let mut definitions: Vec<Def<&str>> = LIBRARY.clone();
    definitions.push(Def { name: SELECTED, args: Vec::new(), body });
    let allowed = jaq_std::base_funs().chain(jaq_json::funs()).filter(|(name, ..)| NATIVES.contains(name));
    let natives = jaq_core::funs().chain(allowed).chain(natives());
    let program = format!("path({SELECTED})");
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code: &*program, path: () }).ok()?;
    Compiler::default().with_funs(natives).compile(modules).ok()
}

#[cfg(test)]
mod tests;
