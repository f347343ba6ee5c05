//! What a project permits, and the sentence that says what it does not.

use address::{comparable, without_user};
use resources::{AppProject, Application, Destination, GroupKind};
use serde::Serialize;

use crate::glob::{Pattern, matches};
use crate::plan::Plan;

/// The names under which one cluster is known: addresses (`https://kubernetes.default.svc`, its real one) and names (`in-cluster`,
/// the one that its worker was given).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Addresses.
    pub servers: Vec<String>,
    /// Names.
    pub names: Vec<String>,
}

impl Target {
    /// The cluster that an Application's destination names, and nothing more.
    pub fn of(destination: &Destination) -> Self {
        let some = |text: &String| if text.is_empty() { vec![] } else { vec![text.clone()] };
        Self { servers: some(&destination.server), names: some(&destination.name) }
    }

    /// With the other names of the same cluster.
    pub fn with(mut self, servers: &[&str], names: &[&str]) -> Self {
        let add = |list: &mut Vec<String>, more: &[&str]| {
            for text in more {
                if !text.is_empty() && !list.iter().any(|known| known == text) {
                    list.push((*text).to_owned());
                }
            }
        };
        add(&mut self.servers, servers);
        add(&mut self.names, names);
        self
    }

    /// The name for people.
    pub(crate) fn shown(&self) -> &str {
        self.names.first().or(self.servers.first()).map_or("?", String::as_str)
    }
}

/// A rule of a project that an application breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The project's name.
    pub project: String,
    /// The field of the project that would permit it.
    pub field: &'static str,
    /// What is not permitted, and what to change.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

pub(crate) fn violation(project: &AppProject, field: &'static str, what: &str, fix: &str) -> Violation {
    let name = project.name();
    Violation { project: name.into(), field, message: format!("project {name} does not permit {what}: {fix}") }
}

/// Whether the project's applications may come from a repository. The patterns are held against the normalized address, which
/// is also what is fetched ([`address`]); of one that cannot be read only the pattern `*` can speak.
///
/// ```
/// # let project = resources::AppProject::parse(serde_json::json!({
/// #     "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"},
/// #     "spec": {"sourceRepos": ["https://git.example.com/allowed/*"]},
/// # })).unwrap();
/// use engine::project::source_permitted;
/// assert!(source_permitted(&project, "https://git.example.com:443/allowed/shop.git").is_ok());
/// assert!(source_permitted(&project, "https://git.example.com/allowed/../private.git").is_err());
/// ```
pub fn source_permitted(project: &AppProject, repository: &str) -> Result<(), Violation> {
    let address = comparable(repository);
    let (mut permitted, mut denied_by) = (false, None);
    for pattern in &project.spec.source_repos {
        let (pattern, deny) = negated(pattern);
        let hit = match &address {
            Some(address) => Pattern::for_path(&address::pattern(pattern)).matches(address),
            None => pattern.trim() == "*",
        };
        if hit && deny {
            denied_by = Some(pattern);
        }
        permitted |= hit && !deny;
    }
    let fix = match denied_by {
        Some(pattern) => format!("its spec.sourceRepos excludes !{pattern}"),
        None if permitted => return Ok(()),
        None => "add it to the project's spec.sourceRepos, or choose another project".into(),
    };
    let what = format!("the repository {}", without_user(repository));
    Err(violation(project, "spec.sourceRepos", &what, &fix))
}

/// Whether the project's applications may write to a namespace of a cluster.
pub fn destination_permitted(project: &AppProject, target: &Target, namespace: &str) -> Result<(), Violation> {
    let what = format!("namespace {:?} in cluster {}", namespace, target.shown());
    let field = "spec.destinations";
    let mut permitted = false;
    for item in &project.spec.destinations {
        let server = permits_any(&item.server, &target.servers);
        let name = permits_any(&item.name, &target.names);
        let inside = permits(&item.namespace, namespace);
        if (server || name) && inside {
            permitted = true;
            continue;
        }
        let denies = |pattern: &str, permitted: bool| !permitted && negated(pattern).1;
        if denies(&item.server, server) || denies(&item.name, name) || denies(&item.namespace, inside) {
            let shown = [&item.server, &item.name, &item.namespace].into_iter().find(|text| negated(text).1);
            let fix = format!("its spec.destinations excludes {}", shown.map_or("", String::as_str));
            return Err(violation(project, field, &what, &fix));
        }
    }
    if permitted {
        return Ok(());
    }
    Err(violation(
        project,
        field,
        &what,
        "add the destination to the project's spec.destinations, or choose another project",
    ))
}

/// Whether the project's applications may have objects of a kind. `namespaced` tells which of the two pairs of lists counts.
pub fn kind_permitted(
    project: &AppProject,
    group: &str,
    kind: &str,
    name: &str,
    namespaced: bool,
) -> Result<(), Violation> {
    let spec = &project.spec;
    let shown = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
    if !namespaced {
        let hit = |list: &[resources::GroupKindName]| {
            list.iter().any(|item| {
                matches(&item.group, group)
                    && matches(&item.kind, kind)
                    && (item.name.is_empty() || matches(&item.name, name))
            })
        };
        let what = format!("the cluster-scoped {shown} {name}");
        if hit(&spec.cluster_resource_blacklist) {
            let field = "spec.clusterResourceBlacklist";
            return Err(violation(project, field, &what, "remove it from the project's spec.clusterResourceBlacklist"));
        }
        if !hit(&spec.cluster_resource_whitelist) {
            let field = "spec.clusterResourceWhitelist";
            return Err(violation(project, field, &what, "add it to the project's spec.clusterResourceWhitelist"));
        }
        return Ok(());
    }
    let hit = |list: &[GroupKind]| list.iter().any(|item| matches(&item.group, group) && matches(&item.kind, kind));
    let what = format!("objects of kind {shown}");
    if hit(&spec.namespace_resource_blacklist) {
        let field = "spec.namespaceResourceBlacklist";
        return Err(violation(
            project,
            field,
            &what,
            "remove the kind from the project's spec.namespaceResourceBlacklist",
        ));
    }
    if spec.namespace_resource_whitelist.as_deref().is_some_and(|list| !hit(list)) {
        let field = "spec.namespaceResourceWhitelist";
        return Err(violation(project, field, &what, "add the kind to the project's spec.namespaceResourceWhitelist"));
    }
    Ok(())
}

/// Whether an Application in this namespace may use the project. In the control namespace it always may.
pub fn source_namespace_permitted(
    project: &AppProject,
    namespace: &str,
    control_namespace: &str,
) -> Result<(), Violation> {
    let permits = |pattern: &String| match pattern.strip_prefix('/').and_then(|pattern| pattern.strip_suffix('/')) {
        // Between slashes it is a regular expression; one that cannot be read permits nothing.
        Some(expression) => regex::Regex::new(expression).is_ok_and(|expression| expression.is_match(namespace)),
        None => matches(pattern, namespace),
    };
    if namespace == control_namespace || project.spec.source_namespaces.iter().any(permits) {
        return Ok(());
    }
    Err(violation(
        project,
        "spec.sourceNamespaces",
        &format!("Applications in namespace {namespace}"),
        "add the namespace to the project's spec.sourceNamespaces",
    ))
}

/// Whether the project's applications may write to a cluster that is of this project, of another, or of none
/// (`permitOnlyProjectScopedClusters`): the field `project` of the cluster's Secret says so.
///
/// ```
/// # let project = resources::AppProject::parse(serde_json::json!({
/// #     "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"},
/// #     "spec": {"permitOnlyProjectScopedClusters": true},
/// # })).unwrap();
/// # let target = engine::project::Target::default().with(&[], &["prod"]);
/// use engine::project::cluster_permitted;
/// assert!(cluster_permitted(&project, &target, Some("team")).is_ok());
/// assert!(cluster_permitted(&project, &target, None).is_err());
/// ```
pub fn cluster_permitted(
    project: &AppProject,
    target: &Target,
    project_of_cluster: Option<&str>,
) -> Result<(), Violation> {
    let own = project_of_cluster.filter(|name| !name.is_empty());
    if !project.spec.permit_only_project_scoped_clusters || own == Some(project.name()) {
        return Ok(());
    }
    let whose = own.map_or("of no project".into(), |name| format!("of project {name}"));
    Err(violation(
        project,
        "spec.permitOnlyProjectScopedClusters",
        &format!("cluster {}, which is {whose}", target.shown()),
        &format!(
            "set project: {} in the cluster's Secret, or clear spec.permitOnlyProjectScopedClusters",
            project.name()
        ),
    ))
}

/// Every rule that the application itself breaks, whatever it renders to.
pub fn application_violations(
    project: &AppProject,
    application: &Application,
    target: &Target,
    control_namespace: &str,
) -> Vec<Violation> {
    let mut found: Vec<Violation> =
        source_namespace_permitted(project, application.namespace(), control_namespace).err().into_iter().collect();
    for source in application.sources() {
        found.extend(source_permitted(project, &source.repo_url).err());
    }
    found.extend(destination_permitted(project, target, &application.spec.destination.namespace).err());
    distinct(found)
}

/// Every rule that the plan's objects break.
pub fn plan_violations(project: &AppProject, target: &Target, plan: &Plan) -> Vec<Violation> {
    let keys = plan.waves.iter().flat_map(|wave| {
        let steps = wave.prune.iter().chain(&wave.apply).filter(|step| !step.implicit);
        steps.map(|step| &step.key).chain(&wave.unchanged)
    });
    let mut found = Vec::new();
    for key in keys {
        let namespaced = !key.namespace.is_empty();
        found.extend(kind_permitted(project, &key.group, &key.kind, &key.name, namespaced).err());
        if namespaced {
            found.extend(destination_permitted(project, target, &key.namespace).err());
        }
    }
    distinct(found)
}

fn distinct(mut found: Vec<Violation>) -> Vec<Violation> {
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|violation| seen.insert(violation.message.clone()));
    found
}

fn negated(pattern: &str) -> (&str, bool) {
    pattern.strip_prefix('!').map_or((pattern, false), |pattern| (pattern, true))
}

fn permits(pattern: &str, text: &str) -> bool {
    let (pattern, deny) = negated(pattern);
    matches(pattern, text) != deny
}

/// Whether a pattern permits one of several names of the same thing; an exclusion excludes under every name.
fn permits_any(pattern: &str, names: &[String]) -> bool {
    if names.is_empty() {
        return false;
    }
    let (pattern, deny) = negated(pattern);
    names.iter().any(|name| matches(pattern, name)) != deny
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn project(spec: Value) -> AppProject {
        AppProject::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"}, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn sources() {
        for (patterns, repository, want) in [
            (json!(["*"]), "https://git.example.com/acme/a", true),
            (json!([]), "https://git.example.com/acme/a", false),
            (json!(["https://git.example.com/acme/*"]), "https://git.example.com/acme/a.git", true),
            (json!(["https://git.example.com/acme/*"]), "https://git.example.com/acme/a/b", false),
            (json!(["https://git.example.com/acme/**"]), "https://git.example.com/acme/a/b", true),
            (json!(["https://git.example.com/acme/a.git"]), "https://GIT.example.com/Acme/A", true),
            (json!(["git@git.example.com:acme/*"]), "ssh://git@git.example.com/acme/a.git", true),
            (json!(["*", "!https://git.example.com/acme/secret"]), "https://git.example.com/acme/secret.git", false),
            (json!(["!https://git.example.com/acme/secret", "*"]), "https://git.example.com/acme/a", true),
            (json!(["!https://git.example.com/acme/secret"]), "https://git.example.com/acme/a", false),
            // What cannot be read is permitted by the star alone, and cannot be fetched.
            (json!(["*"]), "https://git.example.com/../a", true),
            (json!(["https://git.example.com/**"]), "https://git.example.com/../a", false),
            (json!(["**"]), "https://git.example.com/acme%2fa", false),
            // Another way in is another repository.
            (json!(["https://git.example.com/acme/*"]), "http://git.example.com/acme/a", false),
            (json!(["https://git.example.com/acme/*"]), "https://git.example.com:8443/acme/a", false),
            (json!(["https://git.example.com/acme/*"]), "git@git.example.com:acme/a", false),
            (json!(["*", "!git@github.com:acme/*"]), "ssh://git@ssh.github.com:443/acme/a", false),
            (json!(["*", "!ssh://git@git.example.com/acme/*"]), "eve@git.example.com:acme/a.git", false),
            (json!(["*", "!https://git.example.com:443/Acme/a.git/"]), "https://git.example.com/acme/a", false),
            (json!(["https://charts.example.com/*"]), "https://charts.example.com/stable", true),
            (json!(["registry.example.com/charts/*"]), "registry.example.com/charts/x", true),
            (json!(["oci://registry.example.com/charts/*"]), "registry.example.com/private/x", false),
        ] {
            let got = source_permitted(&project(json!({"sourceRepos": patterns})), repository);
            assert_eq!(got.is_ok(), want, "{patterns} {repository}");
        }
        let error = source_permitted(&project(json!({})), "https://git.example.com/a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "project team does not permit the repository https://git.example.com/a: add it to the project's spec.sourceRepos, or \
             choose another project"
        );
    }

    /// Each as an attacker would write it.
    #[test]
    fn sources_in_other_spellings() {
        let host = "git.example.com";
        let private: Vec<String> = [
            "https://git.example.com/private",
            "https://git.example.com/private.git",
            "https://git.example.com/private/",
            "https://x@git.example.com/private",
            "https://git.example.org@git.example.com/private",
            "https://x:y@git.example.com/private",
            "https://git.example.com/./private",
            "https://git.example.com//private",
            "https://git.example.com/allowed/../private",
            "https://git.example.com./private",
            "https://git.example.com:443/private",
            "https://GIT.Example.COM/Private",
            "HTTPS://git.example.com/private",
            "https://git.example.com/%70rivate",
            "https://git.example.com/priv%61te.git",
            "https://g%69t.example.com/private",
            "https://git.example.com/private%2Egit",
            "https://git.example.com/private/.git",
            "https://git.example.com/allowed/..%2fprivate",
            "https://git.example.com/allowed/%2e%2e/private",
            "https://git.example.com\\private",
            "https://git.example.com/../private",
            " https://git.example.com/private ",
        ]
        .map(str::to_owned)
        .into();
        let ssh =
            ["git@H:private", "H:private.git", "git@H:/private", "ssh://git@H/private", "ssh://H:22/x/../private.git"];
        let ssh: Vec<String> = ssh.map(|text| text.replace('H', host)).into();
        let allowed =
            project(json!({"sourceRepos": ["https://git.example.com/allowed/*", "git@git.example.com:allowed/*"]}));
        let denied = |pattern: &str| project(json!({"sourceRepos": ["https://**", "ssh://**", pattern]}));
        for address in private.iter().chain(&ssh) {
            assert!(source_permitted(&allowed, address).is_err(), "{address}");
        }
        for pattern in
            ["!https://git.example.com/private*", "!https://git.example.com/private.git", "!https://*/private"]
        {
            for address in &private {
                assert!(source_permitted(&denied(pattern), address).is_err(), "{pattern} {address}");
            }
        }
        for pattern in [
            "!git@git.example.com:private*",
            "!ssh://git.example.com/private",
            "!ssh://x@git.example.com:22//private.git",
        ] {
            for address in &ssh {
                assert!(source_permitted(&denied(pattern), address).is_err(), "{pattern} {address}");
            }
        }
        let shown = source_permitted(&allowed, "https://joe:hunter2@git.example.com/private").unwrap_err();
        assert!(!shown.message.contains("hunter2"), "{shown}");
    }

    #[test]
    fn destinations() {
        let target = Target {
            servers: vec!["https://kubernetes.default.svc".into()],
            names: vec!["in-cluster".into(), "prod".into()],
        };
        for (destinations, namespace, want) in [
            (json!([{"server": "*", "namespace": "*"}]), "dev", true),
            (json!([]), "dev", false),
            (json!([{"server": "https://kubernetes.default.svc", "namespace": "team-*"}]), "team-a", true),
            (json!([{"server": "https://kubernetes.default.svc", "namespace": "team-*"}]), "dev", false),
            (json!([{"name": "prod", "namespace": "*"}]), "dev", true),
            (json!([{"name": "nonprod", "namespace": "*"}]), "dev", false),
            (
                json!([{"server": "*", "namespace": "!kube-system"}, {"server": "*", "namespace": "*"}]),
                "kube-system",
                false,
            ),
            (json!([{"server": "*", "namespace": "!kube-system"}, {"server": "*", "namespace": "*"}]), "dev", true),
            (json!([{"server": "*", "namespace": "!kube-*"}]), "dev", true),
            (json!([{"name": "!prod", "namespace": "*"}, {"name": "*", "namespace": "*"}]), "dev", false),
            (json!([{"name": "!other", "namespace": "*"}]), "dev", true),
            (json!([{"server": "*", "namespace": "dev"}]), "", false),
        ] {
            let got = destination_permitted(&project(json!({"destinations": destinations})), &target, namespace);
            assert_eq!(got.is_ok(), want, "{destinations} {namespace:?} {got:?}");
        }
    }

    #[test]
    fn kinds() {
        let (role, map) = (("rbac.authorization.k8s.io", "ClusterRole", false), ("", "ConfigMap", true));
        for (spec, (group, kind, namespaced), want) in [
            (json!({}), map, true),
            (json!({}), role, false),
            (json!({"clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}), role, true),
            (json!({"clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}]}), role, false),
            (json!({"clusterResourceWhitelist": [{"group": "*", "kind": "Cluster*", "name": "x"}]}), role, true),
            (json!({"clusterResourceWhitelist": [{"group": "*", "kind": "*", "name": "y"}]}), role, false),
            (
                json!({"clusterResourceWhitelist": [{"group": "*", "kind": "*"}], "clusterResourceBlacklist": [{"group": "*", "kind": "ClusterRole"}]}),
                role,
                false,
            ),
            (json!({"namespaceResourceWhitelist": []}), map, false),
            (json!({"namespaceResourceWhitelist": [{"group": "", "kind": "ConfigMap"}]}), map, true),
            (json!({"namespaceResourceWhitelist": [{"group": "apps", "kind": "*"}]}), map, false),
            (json!({"namespaceResourceBlacklist": [{"group": "", "kind": "ConfigMap"}]}), map, false),
            (json!({"namespaceResourceBlacklist": [{"group": "", "kind": "Secret"}]}), map, true),
        ] {
            let got = kind_permitted(&project(spec.clone()), group, kind, "x", namespaced);
            assert_eq!(got.is_ok(), want, "{spec} {kind} {got:?}");
        }
    }

    #[test]
    fn namespaces_of_applications() {
        for (patterns, namespace, want) in [
            (json!([]), "argocd", true),
            (json!([]), "team-a", false),
            (json!(["team-*"]), "team-a", true),
            (json!(["team-*"]), "other", false),
            (json!(["/^team-[0-9]+$/"]), "team-12", true),
            (json!(["/^team-[0-9]+$/"]), "team-a", false),
            (json!(["/team/"]), "my-team", true),
            (json!(["/(/", "team-a"]), "team-a", true),
            (json!(["/(/"]), "team-a", false),
        ] {
            let project = project(json!({"sourceNamespaces": patterns}));
            assert_eq!(
                source_namespace_permitted(&project, namespace, "argocd").is_ok(),
                want,
                "{patterns} {namespace}"
            );
        }
    }

    #[test]
    fn clusters_of_projects() {
        let target = Target::default().with(&["https://kubernetes.default.svc"], &["prod"]);
        for (only, of_cluster, want) in [
            (false, None, ""),
            (false, Some("other"), ""),
            (true, Some("team"), ""),
            (
                true,
                None,
                "project team does not permit cluster prod, which is of no project: set project: team in the cluster's",
            ),
            (true, Some(""), "project team does not permit cluster prod, which is of no project"),
            (true, Some("other"), "project team does not permit cluster prod, which is of project other"),
        ] {
            let project = project(json!({"permitOnlyProjectScopedClusters": only}));
            let got =
                cluster_permitted(&project, &target, of_cluster).err().map(|error| error.message).unwrap_or_default();
            assert!(got.starts_with(want) && got.is_empty() == want.is_empty(), "{only} {of_cluster:?} {got}");
        }
    }
}
