//! As whom objects are written: the service account that a project names for a destination.

use resources::{AppProject, Application};

use crate::glob::matches;
use crate::project::{Target, Violation, violation};

/// The user to act as in the destination, as Kubernetes names service accounts; `None`: the project names no accounts, so the
/// worker acts as itself. The first entry that fits the destination counts. Where the project names accounts and none fits,
/// nothing may be written.
///
/// ```
/// use engine::accounts::acting_as;
/// use engine::project::Target;
/// # let json = |kind: &str, name: &str, spec| serde_json::json!({
/// #     "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "argocd"}, "spec": spec,
/// # });
/// # let project = resources::AppProject::parse(json("AppProject", "team", serde_json::json!({"destinationServiceAccounts": [
/// #     {"server": "*", "namespace": "team-*", "defaultServiceAccount": "deployer"},
/// # ]}))).unwrap();
/// # let application = resources::Application::parse(json("Application", "a", serde_json::json!({
/// #     "destination": {"server": "https://kubernetes.default.svc", "namespace": "team-a"},
/// # }))).unwrap();
/// let target = Target::of(&application.spec.destination);
/// let user = acting_as(&project, &application, &target).unwrap();
/// assert_eq!(user.as_deref(), Some("system:serviceaccount:team-a:deployer"));
/// ```
pub fn acting_as(
    project: &AppProject,
    application: &Application,
    target: &Target,
) -> Result<Option<String>, Violation> {
    let accounts = &project.spec.destination_service_accounts;
    if accounts.is_empty() {
        return Ok(None);
    }
    const FIELD: &str = "spec.destinationServiceAccounts";
    let namespace = application.spec.destination.namespace.as_str();
    let found = accounts.iter().find(|account| {
        target.servers.iter().any(|server| matches(&account.server, server)) && matches(&account.namespace, namespace)
    });
    let what = || format!("writing to namespace {namespace:?} in cluster {}", target.shown());
    let Some(account) = found else {
        let fix = format!("name a service account for it in the project's {FIELD}");
        return Err(violation(project, FIELD, &what(), &fix));
    };
    let name = account.default_service_account.trim();
    let parts: Vec<&str> = name.split(':').collect();
    let valid = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    // Without a destination namespace the objects name their own; the account is then where the Application is.
    let home = if namespace.is_empty() { application.namespace() } else { namespace };
    match parts.as_slice() {
        [account] if valid(account) => Ok(Some(format!("system:serviceaccount:{home}:{account}"))),
        [home, account] if valid(home) && valid(account) => Ok(Some(format!("system:serviceaccount:{home}:{account}"))),
        _ => {
            let fix = format!("{name:?} in its {FIELD} is no service account; write NAME or NAMESPACE:NAME");
            Err(violation(project, FIELD, &what(), &fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(accounts: Value, server: &str, namespace: &str) -> String {
        let manifest = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": "team", "namespace": "home"}, "spec": spec,
            })
        };
        let project = json!({"destinationServiceAccounts": accounts});
        let project = AppProject::parse(manifest("AppProject", project)).unwrap();
        let spec = json!({"destination": {"server": server, "namespace": namespace}});
        let application = Application::parse(manifest("Application", spec)).unwrap();
        let target = Target::of(&application.spec.destination).with(&["https://10.0.0.1:6443"], &["prod"]);
        match acting_as(&project, &application, &target) {
            Ok(user) => user.unwrap_or_else(|| "itself".into()),
            Err(violation) => violation.message,
        }
    }

    #[test]
    fn whom_the_project_names() {
        let account = |server: &str, namespace: &str, name: &str| json!({"server": server, "namespace": namespace, "defaultServiceAccount": name});
        let server = "https://kubernetes.default.svc";
        for (accounts, namespace, want) in [
            (json!([]), "dev", "itself"),
            (json!([account("*", "*", "deployer")]), "dev", "system:serviceaccount:dev:deployer"),
            (json!([account("*", "*", "ops:deployer")]), "dev", "system:serviceaccount:ops:deployer"),
            (
                json!([account(server, "team-*", "a"), account("*", "*", "b")]),
                "team-1",
                "system:serviceaccount:team-1:a",
            ),
            (json!([account(server, "team-*", "a"), account("*", "*", "b")]), "dev", "system:serviceaccount:dev:b"),
            // The first that fits, not the closest.
            (
                json!([account("*", "*", "b"), account(server, "team-*", "a")]),
                "team-1",
                "system:serviceaccount:team-1:b",
            ),
            (json!([account("https://10.0.0.1:6443", "*", "a")]), "dev", "system:serviceaccount:dev:a"),
            (json!([account("*", "*", " a ")]), "", "system:serviceaccount:home:a"),
            (json!([account("*", "", "a")]), "", "system:serviceaccount:home:a"),
            (json!([account("https://other", "*", "a")]), "dev", {
                "project team does not permit writing to namespace \"dev\" in cluster prod: name a service account for it in the \
                 project's spec.destinationServiceAccounts"
            }),
            (json!([account("*", "", "a")]), "dev", "project team does not permit writing to namespace \"dev\""),
            (
                json!([account("*", "*", "")]),
                "dev",
                "project team does not permit writing to namespace \"dev\" in cluster prod: \"\" in",
            ),
            (json!([account("*", "*", "*")]), "dev", "project team does not permit"),
            (json!([account("*", "*", "a:b:c")]), "dev", "project team does not permit"),
            (json!([account("*", "*", "a/b")]), "dev", "project team does not permit"),
        ] {
            let got = ask(accounts.clone(), server, namespace);
            assert!(got.starts_with(want), "{accounts} {namespace}\n{got}\n{want}");
            assert!(!got.starts_with("system") || got == want, "{got}");
        }
    }
}
