//! The REST calls the double knows, named by the path templates of GitHub's description.

use std::collections::HashMap;

/// One REST call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetRepository,
    ListBranches,
    GetBranch,
    GetCommit,
    GetRef,
    MatchingRefs,
    CreateStatus,
    ListStatuses,
    CombinedStatus,
    ListDeployments,
    CreateDeployment,
    GetDeployment,
    DeleteDeployment,
    ListDeploymentStatuses,
    CreateDeploymentStatus,
    GetDeploymentStatus,
    ListPulls,
    CreatePull,
    GetPull,
    UpdatePull,
    IsMerged,
    MergePull,
    ListLabels,
    AddLabels,
    SetLabels,
    ClearLabels,
    RemoveLabel,
    ListComments,
    CreateComment,
    GetComment,
    UpdateComment,
    DeleteComment,
    ListHooks,
    CreateHook,
    GetHook,
    UpdateHook,
    DeleteHook,
    PingHook,
    ListDeliveries,
    GetDelivery,
    Redeliver,
    ListOrganizationHooks,
    ListOrganizationDeliveries,
    RedeliverOrganization,
    GetAppHookConfig,
    ListAppDeliveries,
    RedeliverApp,
    GetInstallation,
    CreateInstallationToken,
}

impl Operation {
    /// Whether a token needs the permission for webhooks.
    pub(crate) fn is_about_hooks(self) -> bool {
        matches!(
            self,
            Self::ListHooks
                | Self::CreateHook
                | Self::GetHook
                | Self::UpdateHook
                | Self::DeleteHook
                | Self::PingHook
                | Self::ListDeliveries
                | Self::GetDelivery
                | Self::Redeliver
                | Self::ListOrganizationHooks
                | Self::ListOrganizationDeliveries
                | Self::RedeliverOrganization
        )
    }

    /// Whether a GitHub App makes it as itself, not as an installation.
    pub(crate) fn is_of_the_app(self) -> bool {
        matches!(
            self,
            Self::GetInstallation
                | Self::CreateInstallationToken
                | Self::GetAppHookConfig
                | Self::ListAppDeliveries
                | Self::RedeliverApp
        )
    }
}

use Operation as O;

/// More literal templates stand before those with more parameters.
const ROUTES: &[(&str, &str, Operation)] = &[
    ("GET", "/repos/{owner}/{repo}", O::GetRepository),
    ("GET", "/repos/{owner}/{repo}/installation", O::GetInstallation),
    ("POST", "/app/installations/{installation_id}/access_tokens", O::CreateInstallationToken),
    ("GET", "/repos/{owner}/{repo}/branches", O::ListBranches),
    ("GET", "/repos/{owner}/{repo}/branches/{branch}", O::GetBranch),
    ("GET", "/repos/{owner}/{repo}/git/ref/{ref}", O::GetRef),
    ("GET", "/repos/{owner}/{repo}/git/matching-refs/{ref}", O::MatchingRefs),
    ("POST", "/repos/{owner}/{repo}/statuses/{sha}", O::CreateStatus),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}/statuses", O::ListStatuses),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}/status", O::CombinedStatus),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}", O::GetCommit),
    ("GET", "/repos/{owner}/{repo}/deployments", O::ListDeployments),
    ("POST", "/repos/{owner}/{repo}/deployments", O::CreateDeployment),
    ("GET", "/repos/{owner}/{repo}/deployments/{deployment_id}", O::GetDeployment),
    ("DELETE", "/repos/{owner}/{repo}/deployments/{deployment_id}", O::DeleteDeployment),
    ("GET", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", O::ListDeploymentStatuses),
    ("POST", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", O::CreateDeploymentStatus),
    ("GET", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses/{status_id}", O::GetDeploymentStatus),
    ("GET", "/repos/{owner}/{repo}/pulls", O::ListPulls),
    ("POST", "/repos/{owner}/{repo}/pulls", O::CreatePull),
    ("GET", "/repos/{owner}/{repo}/pulls/{pull_number}", O::GetPull),
    ("PATCH", "/repos/{owner}/{repo}/pulls/{pull_number}", O::UpdatePull),
    ("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", O::IsMerged),
    ("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", O::MergePull),
    ("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}", O::GetComment),
    ("PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}", O::UpdateComment),
    ("DELETE", "/repos/{owner}/{repo}/issues/comments/{comment_id}", O::DeleteComment),
    ("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", O::ListComments),
    ("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", O::CreateComment),
    ("GET", "/repos/{owner}/{repo}/issues/{issue_number}/labels", O::ListLabels),
    ("POST", "/repos/{owner}/{repo}/issues/{issue_number}/labels", O::AddLabels),
    ("PUT", "/repos/{owner}/{repo}/issues/{issue_number}/labels", O::SetLabels),
    ("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/labels", O::ClearLabels),
    ("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}", O::RemoveLabel),
    ("GET", "/repos/{owner}/{repo}/hooks", O::ListHooks),
    ("POST", "/repos/{owner}/{repo}/hooks", O::CreateHook),
    ("GET", "/repos/{owner}/{repo}/hooks/{hook_id}", O::GetHook),
    ("PATCH", "/repos/{owner}/{repo}/hooks/{hook_id}", O::UpdateHook),
    ("DELETE", "/repos/{owner}/{repo}/hooks/{hook_id}", O::DeleteHook),
    ("POST", "/repos/{owner}/{repo}/hooks/{hook_id}/pings", O::PingHook),
    ("GET", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries", O::ListDeliveries),
    ("GET", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}", O::GetDelivery),
    ("POST", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts", O::Redeliver),
    ("GET", "/orgs/{org}/hooks", O::ListOrganizationHooks),
    ("GET", "/orgs/{org}/hooks/{hook_id}/deliveries", O::ListOrganizationDeliveries),
    ("POST", "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}/attempts", O::RedeliverOrganization),
    ("GET", "/app/hook/config", O::GetAppHookConfig),
    ("GET", "/app/hook/deliveries", O::ListAppDeliveries),
    ("POST", "/app/hook/deliveries/{delivery_id}/attempts", O::RedeliverApp),
];

/// A call that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub operation: Operation,
    pub template: &'static str,
    pub parameters: HashMap<&'static str, String>,
}

/// Method and template of each known call.
pub(crate) fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|(method, template, _)| (*method, *template))
}

/// Finds the call of a method and a path. Branches and refs may have slashes in them, escaped or not.
pub(crate) fn find(method: &str, path: &str) -> Option<Route> {
    let segments: Vec<&str> = path.split('/').collect();
    ROUTES.iter().filter(|(m, _, _)| *m == method).find_map(|(_, template, operation)| {
        let template_segments: Vec<&'static str> = template.split('/').collect();
        let mut parameters = HashMap::new();
        matches(&template_segments, &segments, &mut parameters).then_some(Route {
            operation: *operation,
            template,
            parameters,
        })
    })
}

fn matches(template: &[&'static str], path: &[&str], parameters: &mut HashMap<&'static str, String>) -> bool {
    let (Some((first, template_rest)), Some((segment, path_rest))) = (template.split_first(), path.split_first())
    else {
        return template.is_empty() && path.is_empty();
    };
    let Some(name) = first.strip_prefix('{').and_then(|n| n.strip_suffix('}')) else {
        return first == segment && matches(template_rest, path_rest, parameters);
    };
    let longest = if matches!(name, "ref" | "branch" | "name") { path.len() } else { 1 };
    for length in 1..=longest {
        let value = path[..length].join("/");
        if !value.is_empty() && matches(template_rest, &path[length..], parameters) {
            parameters.insert(name, decode(&value));
            return true;
        }
    }
    false
}

/// Undoes the percent-encoding of a path.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escaped {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_call_and_its_parameters() {
        for (method, path, operation, parameter, value) in [
            ("GET", "/repos/acme/app", O::GetRepository, "repo", "app"),
            ("GET", "/repos/acme/app/commits/main/status", O::CombinedStatus, "ref", "main"),
            ("GET", "/repos/acme/app/commits/feature/x/statuses", O::ListStatuses, "ref", "feature/x"),
            ("GET", "/repos/acme/app/commits/feature%2Fx", O::GetCommit, "ref", "feature/x"),
            ("GET", "/repos/acme/app/git/ref/heads/main", O::GetRef, "ref", "heads/main"),
            ("GET", "/repos/acme/app/branches/a/b", O::GetBranch, "branch", "a/b"),
            ("DELETE", "/repos/acme/app/issues/3/labels/preview", O::RemoveLabel, "name", "preview"),
            ("PATCH", "/repos/acme/app/issues/comments/7", O::UpdateComment, "comment_id", "7"),
            ("POST", "/repos/acme/app/hooks/1/deliveries/2/attempts", O::Redeliver, "delivery_id", "2"),
            ("GET", "/orgs/acme/hooks/1/deliveries", O::ListOrganizationDeliveries, "org", "acme"),
            ("POST", "/app/hook/deliveries/2/attempts", O::RedeliverApp, "delivery_id", "2"),
        ] {
            let route = find(method, path).unwrap_or_else(|| panic!("{method} {path}"));
            assert_eq!((route.operation, route.parameters[parameter].as_str()), (operation, value), "{path}");
        }
    }

    #[test]
    fn does_not_know_other_calls() {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/repos/acme"),
            ("GET", "/repos//app"),
            ("DELETE", "/repos/acme/app"),
            ("GET", "/repos/acme/app/pulls/1/2/3"),
        ] {
            assert_eq!(find(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn decodes_what_was_escaped_and_nothing_else() {
        for (text, decoded) in [("a%2Fb", "a/b"), ("100%", "100%"), ("%zz", "%zz"), ("%C3%BC", "ü"), ("a+b", "a+b")] {
            assert_eq!(decode(text), decoded);
        }
    }
}
