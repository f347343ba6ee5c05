//! Labels and comments of pull requests.

use serde_json::{Value, json};

use super::Call;
use crate::core::Core;
use crate::model::{Comment, Label};
use crate::pulls::{announce, edit, fields};
use crate::reply::Reply;
use crate::time::now_us;

const LONGEST_COMMENT: usize = 65_536;

fn id(call: &Call) -> Result<(String, String, u64), Reply> {
    Ok((call.owner().to_owned(), call.repository().to_owned(), call.number("issue_number")?))
}

fn labels(core: &Core, call: &Call) -> Result<Vec<String>, Reply> {
    let number: u64 = call.number("issue_number")?;
    core.read(call.owner(), call.repository(), |r| r.pulls.get(&number).map(|p| p.labels.clone()))?
        .ok_or_else(Reply::not_found)
}

fn answer(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let names = labels(core, call)?;
    core.read(call.owner(), call.repository(), |r| Reply::ok(core.links.labels(r, &names)))
}

pub(super) fn list_labels(core: &Core, call: &Call) -> Result<Reply, Reply> {
    answer(core, call)
}

/// `{"labels": [..]}`, `[..]`, or objects with a name, as GitHub takes them.
fn wanted(call: &Call) -> Vec<String> {
    let list = call.body.get("labels").unwrap_or(&call.body).as_array().cloned().unwrap_or_default();
    let name = |v: &Value| v.as_str().or_else(|| v.get("name").and_then(Value::as_str)).map(str::to_owned);
    list.iter().filter_map(name).collect()
}

fn add(core: &Core, call: &Call, names: &[String]) -> Result<(), Reply> {
    let id = id(call)?;
    for name in names {
        let key = name.to_lowercase();
        let new = core.id();
        let label = core.write(&id.0, &id.1, |r| {
            let label = r.labels.entry(key).or_insert_with(|| Label { id: new, name: name.clone() }).clone();
            (core.links.label(r, &label), label.name)
        })?;
        let added = edit(core, &id, |p| {
            let has = p.labels.iter().any(|l| l.eq_ignore_ascii_case(&label.1));
            if !has {
                p.labels.push(label.1.clone());
            }
            !has
        })?;
        if added {
            announce(core, &id, "labeled", &call.login, fields(json!({"label": label.0})))?;
        }
    }
    Ok(())
}

fn remove(core: &Core, call: &Call, names: &[String]) -> Result<(), Reply> {
    let id = id(call)?;
    for name in names {
        edit(core, &id, |p| p.labels.retain(|l| !l.eq_ignore_ascii_case(name)))?;
        let label = core.read(&id.0, &id.1, |r| r.labels.get(&name.to_lowercase()).map(|l| core.links.label(r, l)))?;
        announce(core, &id, "unlabeled", &call.login, fields(json!({"label": label})))?;
    }
    Ok(())
}

pub(super) fn add_labels(core: &Core, call: &Call) -> Result<Reply, Reply> {
    labels(core, call)?;
    add(core, call, &wanted(call))?;
    answer(core, call)
}

pub(super) fn set_labels(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let wanted = wanted(call);
    let surplus: Vec<String> =
        labels(core, call)?.into_iter().filter(|l| !wanted.iter().any(|w| w.eq_ignore_ascii_case(l))).collect();
    remove(core, call, &surplus)?;
    add(core, call, &wanted)?;
    answer(core, call)
}

pub(super) fn clear_labels(core: &Core, call: &Call) -> Result<Reply, Reply> {
    remove(core, call, &labels(core, call)?)?;
    Ok(Reply::no_content())
}

pub(super) fn remove_label(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let name = call.parameter("name");
    let present = labels(core, call)?.into_iter().find(|l| l.eq_ignore_ascii_case(name));
    let present = present.ok_or_else(|| Reply::error(404, "Label does not exist"))?;
    remove(core, call, &[present])?;
    answer(core, call)
}

pub(super) fn list_comments(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let number = id(call)?.2;
    labels(core, call)?;
    core.read(call.owner(), call.repository(), |r| {
        let comments: Vec<&Comment> = r.comments.iter().filter(|c| c.number == number).collect();
        call.page(comments, |c| core.links.comment(r, c))
    })
}

fn comment_body(call: &Call) -> Result<String, Reply> {
    let body = call.required("body")?;
    if body.chars().count() > LONGEST_COMMENT {
        let message = format!("Body is too long (maximum is {LONGEST_COMMENT} characters)");
        let errors =
            json!([{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}]);
        return Err(Reply::validation("Validation Failed", errors));
    }
    Ok(body.to_owned())
}

pub(super) fn create_comment(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let body = comment_body(call)?;
    labels(core, call)?;
    let now = now_us();
    let comment = Comment {
        id: core.id(),
        number: id(call)?.2,
        body,
        author: call.login.clone(),
        created_at_us: now,
        updated_at_us: now,
    };
    core.write(call.owner(), call.repository(), |r| {
        let reply = Reply::created(core.links.comment(r, &comment));
        r.comments.push(comment);
        reply
    })
}

pub(super) fn get_comment(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let id: i64 = call.number("comment_id")?;
    core.read(call.owner(), call.repository(), |r| {
        let comment = r.comments.iter().find(|c| c.id == id).ok_or_else(Reply::not_found)?;
        Ok(Reply::ok(core.links.comment(r, comment)))
    })?
}

pub(super) fn update_comment(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let id: i64 = call.number("comment_id")?;
    let body = comment_body(call)?;
    core.write(call.owner(), call.repository(), |r| {
        let comment = r.comments.iter_mut().find(|c| c.id == id).ok_or_else(Reply::not_found)?;
        comment.body = body;
        comment.updated_at_us = now_us();
        let comment = comment.clone();
        Ok(Reply::ok(core.links.comment(r, &comment)))
    })?
}

pub(super) fn delete_comment(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let id: i64 = call.number("comment_id")?;
    core.write(call.owner(), call.repository(), |r| {
        let before = r.comments.len();
        r.comments.retain(|c| c.id != id);
        if r.comments.len() == before { Err(Reply::not_found()) } else { Ok(Reply::no_content()) }
    })?
}
