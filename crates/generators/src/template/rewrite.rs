//! Parsing, and what has to be changed in a parsed template so that it does what Go does.
//!
//! - Values of the engine cannot change, but `{{ $_ := set $d "a" 1 }}` changes `$d` in Go. So `set $d …` becomes an assignment
//!   to `$d`, followed by what was done with the result.
//! - A value is written as Go writes it (`1e+06`).
//! - A function that does not exist is an error even where it would not be reached.

use gotmpl::{
    MissingKey, Template,
    parse::{ActionNode, BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, Parser, PipeNode, Pos, SmolStr},
};

use super::{LEFT_OUT, MAX_ROUNDS, functions};

/// Functions that change their first argument.
const CHANGING: &[&str] = &["set", "unset", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite"];
/// Functions of the template language itself.
const BUILT_IN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// Put at the end of a text before it is parsed. The parser stops without an error at an `{{end}}` too many and at the end of
/// a text with one too few; if this is not where it belongs, that is what happened.
const END_MARK: &str = "\u{1}end\u{1}";

pub(super) fn parse(text: &str, missing_key: MissingKey) -> Result<Template, String> {
    let marked = format!("{text}{END_MARK}");
    let (mut main, mut defines) =
        Parser::new(&marked, "{{", "}}").and_then(Parser::parse).map_err(|error| error.to_string())?;
    remove_end_mark(&mut main)?;
    rewrite_list(&mut main)?;
    let mut template = Template::new("").missing_key(missing_key).max_range_iters(MAX_ROUNDS).funcs(functions::all());
    // The engine runs only what it has parsed itself, so that is a call of the rewritten tree.
    template = template.parse("{{template \"(main)\" .}}").map_err(|error| error.to_string())?;
    for DefineNode { name, body, .. } in &mut defines {
        rewrite_list(body)?;
        template = template.add_parse_tree(name, std::mem::replace(body, empty_list()));
    }
    Ok(template.add_parse_tree("(main)", main))
}

fn remove_end_mark(main: &mut ListNode) -> Result<(), String> {
    match main.nodes.last_mut() {
        Some(Node::Text(last)) if last.text.ends_with(END_MARK) => {
            last.text = last.text.trim_end_matches(END_MARK).into();
            Ok(())
        }
        _ => Err("an {{end}} is missing, or there is one too many".into()),
    }
}

fn empty_list() -> ListNode {
    ListNode { pos: Pos::new(0, 1), nodes: Vec::new() }
}

fn rewrite_list(list: &mut ListNode) -> Result<(), String> {
    let mut nodes = Vec::with_capacity(list.nodes.len());
    for mut node in std::mem::take(&mut list.nodes) {
        match &mut node {
            Node::Action(action) => {
                check_functions(&action.pipe)?;
                hoist(&mut action.pipe, &mut nodes);
                if action.pipe.decl.is_empty() {
                    let (pos, write) = (action.pos, SmolStr::new(functions::WRITE));
                    action.pipe.commands.push(CommandNode { pos, args: vec![Expr::Identifier(pos, write)] });
                }
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                check_functions(&branch.pipe)?;
                hoist(&mut branch.pipe, &mut nodes);
                rewrite_branch(branch)?;
            }
            Node::Template(call) => {
                if let Some(pipe) = &mut call.pipe {
                    check_functions(pipe)?;
                    hoist(pipe, &mut nodes);
                }
            }
            Node::List(list) => rewrite_list(list)?,
            Node::Define(define) => rewrite_list(&mut define.body)?,
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
        nodes.push(node);
    }
    list.nodes = nodes;
    Ok(())
}

fn rewrite_branch(branch: &mut BranchNode) -> Result<(), String> {
    rewrite_list(&mut branch.body)?;
    branch.else_body.as_mut().map_or(Ok(()), rewrite_list)
}

/// Moves `a | set $d …` out of a pipeline into `{{ $d = a | set $d … }}` before it; the pipeline goes on with `$d`.
fn hoist(pipe: &mut PipeNode, before: &mut Vec<Node>) {
    while let Some((index, target)) =
        pipe.commands.iter().enumerate().find_map(|(index, it)| Some((index, changed_by(it)?)))
    {
        let rest = pipe.commands.split_off(index + 1);
        let mut commands = std::mem::take(&mut pipe.commands);
        let (pos, (variable, fields)) = (pipe.pos, target);
        if let (false, Some(command)) = (fields.is_empty(), commands.last_mut()) {
            change_inside(command, &variable, &fields);
        }
        let change = PipeNode { pos, decl: vec![variable.clone()], commands, is_assign: true };
        before.push(Node::Action(ActionNode { pos, pipe: change }));
        pipe.commands.push(CommandNode { pos, args: vec![Expr::Variable(pos, variable, fields)] });
        pipe.commands.extend(rest);
    }
}

/// The variable that a command changes, and the fields in it.
fn changed_by(command: &CommandNode) -> Option<(SmolStr, Vec<SmolStr>)> {
    match command.args.as_slice() {
        [Expr::Identifier(_, name), Expr::Variable(_, variable, fields), ..]
            if CHANGING.contains(&name.as_str()) && variable != "$" =>
        {
            Some((variable.clone(), fields.clone()))
        }
        _ => None,
    }
}

/// `set $d.a "x" 1` becomes `(inside) "set" $d (list "a") "x" 1`, which gives all of `$d`.
fn change_inside(command: &mut CommandNode, variable: &SmolStr, fields: &[SmolStr]) {
    let pos = command.pos;
    let mut rest = command.args.split_off(2);
    let name = match command.args.first() {
        Some(Expr::Identifier(_, name)) => name.as_str().into(),
        _ => return,
    };
    let mut path = vec![Expr::Identifier(pos, SmolStr::new("list"))];
    path.extend(fields.iter().map(|field| Expr::String(pos, field.as_str().into())));
    let path = PipeNode { pos, decl: Vec::new(), commands: vec![CommandNode { pos, args: path }], is_assign: false };
    command.args = vec![
        Expr::Identifier(pos, SmolStr::new(functions::INSIDE)),
        Expr::String(pos, name),
        Expr::Variable(pos, variable.clone(), Vec::new()),
        Expr::Pipe(pos, path),
    ];
    command.args.append(&mut rest);
}

fn check_functions(pipe: &PipeNode) -> Result<(), String> {
    pipe.commands.iter().flat_map(|command| &command.args).try_for_each(check_expression)
}

fn check_expression(expression: &Expr) -> Result<(), String> {
    match expression {
        Expr::Pipe(_, pipe) => check_functions(pipe),
        Expr::Chain(_, inner, _) => check_expression(inner),
        Expr::Identifier(_, name) if !functions::exists(name) && !BUILT_IN.contains(&name.as_str()) => {
            match LEFT_OUT.iter().find(|(left_out, _)| left_out == name) {
                Some((_, reason)) => Err(format!("the function {name} is left out on purpose: {reason}")),
                None => Err(format!("there is no function {name}")),
            }
        }
        _ => Ok(()),
    }
}
