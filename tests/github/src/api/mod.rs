//! The REST calls. Each handler takes the call and answers it; limits and messages are GitHub's.

mod apps;
mod deployments;
mod hooks;
mod issues;
mod pulls;
mod repositories;
mod statuses;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::core::Core;
use crate::reply::Reply;
use crate::routes::{Operation as O, Route};

pub(crate) use apps::is_app_token;
pub(crate) use pulls::set_draft;

/// A call with everything its handler needs.
#[derive(Debug)]
pub(crate) struct Call {
    pub route: Route,
    pub query: HashMap<String, String>,
    /// `Null` without a body.
    pub body: Value,
    /// The `Accept` header.
    pub accept: String,
    /// The call's address without its query, for links to other pages.
    pub address: String,
    /// Who calls.
    pub login: String,
}

impl Call {
    fn parameter(&self, name: &str) -> &str {
        self.route.parameters.get(name).map_or("", String::as_str)
    }

    fn owner(&self) -> &str {
        self.parameter("owner")
    }

    fn repository(&self) -> &str {
        self.parameter("repo")
    }

    /// A number in the path; 404 when it is none.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Reply> {
        self.parameter(name).parse().map_err(|_| Reply::not_found())
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field).and_then(Value::as_str)
    }

    fn required(&self, field: &str) -> Result<&str, Reply> {
        self.text(field).filter(|t| !t.is_empty()).ok_or_else(|| Reply::missing(field))
    }

    fn flag(&self, field: &str, default: bool) -> bool {
        self.body.get(field).and_then(Value::as_bool).unwrap_or(default)
    }

    /// One page of a list, with links to the others.
    fn page<T>(&self, items: Vec<T>, view: impl Fn(T) -> Value) -> Reply {
        let total = items.len();
        let (page, size) = self.page_bounds();
        let shown: Vec<Value> = items.into_iter().skip((page - 1) * size).take(size).map(view).collect();
        let reply = Reply::ok(shown.into());
        match self.page_links(page, size, total) {
            Some(links) => reply.header("Link", links),
            None => reply,
        }
    }

    /// Page (from 1) and its size (30 unless asked for, at most 100).
    fn page_bounds(&self) -> (usize, usize) {
        let number = |name: &str| self.query(name).and_then(|n| n.parse::<usize>().ok());
        let size = number("per_page").filter(|n| *n > 0).unwrap_or(30).min(100);
        (number("page").unwrap_or(1).max(1), size)
    }

    fn page_links(&self, page: usize, size: usize, total: usize) -> Option<String> {
        let last = total.div_ceil(size).max(1);
        let mut links = Vec::new();
        if page > 1 {
            links.push(("prev", page - 1));
        }
        if page < last {
            links.push(("next", page + 1));
            links.push(("last", last));
        }
        if page > 1 {
            links.push(("first", 1));
        }
        let links: Vec<String> =
            links.iter().map(|(name, page)| self.link(&[("page", &page.to_string())], name)).collect();
        (!links.is_empty()).then(|| links.join(", "))
    }

    /// A link to this call with other query parameters.
    fn link(&self, replaced: &[(&str, &str)], relation: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut kept: Vec<_> = self.query.iter().filter(|(n, _)| replaced.iter().all(|(r, _)| r != n)).collect();
        kept.sort();
        query.extend_pairs(kept).extend_pairs(replaced);
        format!("<{}?{}>; rel=\"{relation}\"", self.address, query.finish())
    }
}

/// Longer texts than this are refused by the field's name.
fn at_most(resource: &str, field: &str, text: &str, limit: usize) -> Result<(), Reply> {
    if text.chars().count() <= limit {
        return Ok(());
    }
    Err(Reply::invalid(resource, field, &format!("{field} is too long (maximum is {limit} characters)")))
}

pub(crate) async fn handle(core: &Arc<Core>, call: &Call) -> Reply {
    let result = match call.route.operation {
        O::GetRepository => repositories::get(core, call),
        O::ListBranches => repositories::list_branches(core, call).await,
        O::GetBranch => repositories::get_branch(core, call).await,
        O::GetCommit => repositories::get_commit(core, call).await,
        O::GetRef => repositories::get_ref(core, call).await,
        O::MatchingRefs => repositories::matching_refs(core, call).await,
        O::CreateStatus => statuses::create(core, call).await,
        O::ListStatuses => statuses::list(core, call).await,
        O::CombinedStatus => statuses::combined(core, call).await,
        O::ListDeployments => deployments::list(core, call),
        O::CreateDeployment => deployments::create(core, call).await,
        O::GetDeployment => deployments::get(core, call),
        O::DeleteDeployment => deployments::delete(core, call),
        O::ListDeploymentStatuses => deployments::list_statuses(core, call),
        O::CreateDeploymentStatus => deployments::create_status(core, call),
        O::GetDeploymentStatus => deployments::get_status(core, call),
        O::ListPulls => pulls::list(core, call),
        O::CreatePull => pulls::create(core, call).await,
        O::GetPull => pulls::get(core, call),
        O::UpdatePull => pulls::update(core, call).await,
        O::IsMerged => pulls::is_merged(core, call),
        O::MergePull => pulls::merge(core, call).await,
        O::ListLabels => issues::list_labels(core, call),
        O::AddLabels => issues::add_labels(core, call),
        O::SetLabels => issues::set_labels(core, call),
        O::ClearLabels => issues::clear_labels(core, call),
        O::RemoveLabel => issues::remove_label(core, call),
        O::ListComments => issues::list_comments(core, call),
        O::CreateComment => issues::create_comment(core, call),
        O::GetComment => issues::get_comment(core, call),
        O::UpdateComment => issues::update_comment(core, call),
        O::DeleteComment => issues::delete_comment(core, call),
        O::ListHooks => hooks::list(core, call),
        O::CreateHook => hooks::create(core, call),
        O::GetHook => hooks::get(core, call),
        O::UpdateHook => hooks::update(core, call),
        O::DeleteHook => hooks::delete(core, call),
        O::PingHook => hooks::ping(core, call),
        O::ListDeliveries | O::ListOrganizationDeliveries | O::ListAppDeliveries => hooks::list_deliveries(core, call),
        O::GetDelivery => hooks::get_delivery(core, call),
        O::Redeliver | O::RedeliverOrganization | O::RedeliverApp => hooks::redeliver(core, call),
        O::ListOrganizationHooks => hooks::list_of_organization(core, call),
        O::GetAppHookConfig => hooks::app_config(core, call),
        O::GetInstallation => apps::get_installation(core, call),
        O::CreateInstallationToken => apps::create_token(core, call),
    };
    result.unwrap_or_else(|error| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(query: &[(&str, &str)]) -> Call {
        Call {
            route: crate::routes::find("GET", "/repos/a/b/pulls").unwrap(),
            query: query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: Value::Null,
            accept: String::new(),
            address: "http://h/repos/a/b/pulls".to_owned(),
            login: "ada".to_owned(),
        }
    }

    #[test]
    fn pages_and_their_links() {
        let shown = |query: &[(&str, &str)]| {
            let reply = call(query).page((0..70).collect(), |n: i32| n.into());
            let crate::reply::Body::Json(Value::Array(items)) = reply.body else { panic!() };
            let links = reply.headers.into_iter().map(|(_, l)| l).collect::<String>();
            (items.first().and_then(Value::as_i64), items.len(), links)
        };
        let (first, length, links) = shown(&[]);
        assert_eq!((first, length), (Some(0), 30));
        assert_eq!(
            links,
            "<http://h/repos/a/b/pulls?page=2>; rel=\"next\", <http://h/repos/a/b/pulls?page=3>; rel=\"last\""
        );
        let (first, length, links) = shown(&[("per_page", "50"), ("page", "2"), ("state", "open")]);
        assert_eq!((first, length), (Some(50), 20));
        assert!(links.starts_with("<http://h/repos/a/b/pulls?per_page=50&state=open&page=1>; rel=\"prev\""), "{links}");
        assert_eq!(shown(&[("per_page", "1000")]), (Some(0), 70, String::new()));
    }
}
